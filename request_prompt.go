package chatcompletion

import (
	"strings"
	"sync"
)

// promptSettings are what a configuration says about system prompts.
type promptSettings struct {
	mode    string      // of its own text
	forbids bool        // clients may not send a system prompt
	fixed   *promptText // nil: there is none, or it is in a file
	source  *secretSource
	secret  *secret // for source; set by New
}

// promptText is the text of a system prompt.
type promptText struct {
	text string
}

// Values of SystemPrompt.Mode.
const (
	promptPrepend  = "prepend"
	promptAppend   = "append"
	promptReplace  = "replace"
	promptIfAbsent = "ifAbsent"
)

// promptMaxBytes is the maximum size of a system prompt.
const promptMaxBytes = 64 << 10

// insertedPrompts are the system prompts that instances have inserted into a request.
type insertedPrompts struct {
	before []string // the client's system prompt
	after  []string
}

// promptForm is how a protocol has the system prompt.
type promptForm int

// The forms of system prompts.
const (
	noPrompt      promptForm = iota
	promptMessage            // a message of chat completions
	promptString             // a text
	promptBlocks             // a text, or an array of content blocks
	promptParts              // an object with an array of parts
)

// promptPlace is where the requests to a kind of endpoint have the system prompt.
type promptPlace struct {
	form     promptForm
	name     string // of the parameter that holds it; empty: elements of the conversation do
	elements string // of the parameter that holds the conversation
	stored   string // of a parameter that refers to a stored system prompt; empty: there is none
}

// promptPlaces are the kinds of endpoints whose requests have a system prompt.
var promptPlaces = map[kind]promptPlace{
	completions:           {promptMessage, "", "messages", ""},
	responses:             {promptString, "instructions", "input", ""},
	countResponses:        {promptString, "instructions", "input", ""},
	messages:              {promptBlocks, "system", "messages", ""},
	countMessages:         {promptBlocks, "system", "messages", ""},
	generateContent:       {promptParts, "systemInstruction", "contents", "cachedContent"},
	streamGenerateContent: {promptParts, "systemInstruction", "contents", "cachedContent"},
	countContents:         {promptParts, "systemInstruction", "contents", ""},
}

// systemPrompt is what a policy says about the system prompts of requests to an endpoint.
type systemPrompt struct {
	settings   *promptSettings // nil: the policy says nothing, and only instances before have inserted prompts
	place      promptPlace
	parameters *parameterSet
	wrapsCount bool             // counts of contents take a system prompt only as part of a whole request
	own        *promptText      // nil: none is inserted
	prior      *insertedPrompts // by the instances before; nil: there are none
	with       *insertedPrompts // those and its own
}

// newSystemPrompt returns what settings, which may be nil, say about an endpoint; nil: its requests have
// no system prompt.
func newSystemPrompt(settings *promptSettings, ep *endpoint) *systemPrompt {
	place, has := promptPlaces[ep.kind]
	if !has {
		return nil
	}
	sp := &systemPrompt{settings: settings, place: place, parameters: ep.parameters, wrapsCount: ep.kind == countContents}
	if settings != nil && settings.fixed != nil {
		setPrompts(sp, settings.fixed, nil)
	}
	return sp
}

// publisherPath is in the paths of Vertex AI, which counts a system prompt beside the contents.
const publisherPath = "/publishers/"

// promptAtPath returns what a policy says about the system prompts of requests to a path with a model.
func promptAtPath(sp *systemPrompt, path string) *systemPrompt {
	if sp == nil || !strings.Contains(path, publisherPath) {
		return sp
	}
	own := *sp
	own.wrapsCount = false
	return &own
}

// setPrompts sets the text of a policy, and the prompts that the instances before have inserted.
func setPrompts(sp *systemPrompt, own *promptText, prior *insertedPrompts) {
	sp.own = own
	sp.prior = prior
	sp.with = prior
	if own == nil {
		return
	}
	both := &insertedPrompts{}
	if prior != nil {
		both.before = append(both.before, prior.before...)
		both.after = append(both.after, prior.after...)
	}
	if sp.settings.mode == promptAppend {
		both.after = append(both.after, own.text)
	} else {
		both.before = append([]string{own.text}, both.before...)
	}
	sp.with = both
}

// promptVersions are the copies of an endpoint for system prompts that change: those of a file, and of
// the instances before.
type promptVersions struct {
	mu   sync.RWMutex
	list []*promptVersion // never modified, but replaced
}

type promptVersion struct {
	own   *promptText
	prior *insertedPrompts
	ep    any // *endpoint; see configOf
}

// maxPromptVersions bounds the copies of an endpoint.
const maxPromptVersions = 8

// promptEndpoint returns the endpoint for a request with the current text of its policy, and with the
// prompts that the instances before have inserted.
func promptEndpoint(ep *endpoint, own *promptText, prior *insertedPrompts) *endpoint {
	if prior == nil && (ep.prompt == nil || ep.prompt.own == own) {
		return ep
	}
	all := ep.versions
	if all == nil {
		return ep // it takes no bodies
	}
	all.mu.RLock()
	list := all.list
	all.mu.RUnlock()
	for _, v := range list {
		if v.own == own && v.prior == prior {
			return v.ep.(*endpoint)
		}
	}
	return newPromptEndpoint(ep, own, prior)
}

// newPromptEndpoint makes and remembers a copy of an endpoint. It has its own decisions and its own
// conversations, since both depend on the prompts.
func newPromptEndpoint(ep *endpoint, own *promptText, prior *insertedPrompts) *endpoint {
	copied := *ep
	sp := newSystemPrompt(nil, ep)
	if sp == nil {
		return ep
	}
	if ep.prompt != nil {
		*sp = *ep.prompt
	}
	setPrompts(sp, own, prior)
	copied.prompt = sp
	copied.cache = newDecisionCache(ep.cache.maxBytes)
	copied.memory = forgetfulCopy(ep.memory)
	all := ep.versions
	version := &promptVersion{own: own, prior: prior, ep: &copied}
	all.mu.Lock()
	list := append([]*promptVersion{version}, all.list...)
	if len(list) > maxPromptVersions {
		list = list[:maxPromptVersions]
	}
	all.list = list
	all.mu.Unlock()
	return &copied
}

// promptOf returns the current text of settings; the error: there is none so far.
func promptOf(settings *promptSettings) (*promptText, *apiError) {
	if settings == nil {
		return nil, nil
	}
	if settings.source == nil {
		return settings.fixed, nil
	}
	text, has := currentDocument(settings.secret).(*promptText)
	if !has {
		return nil, promptUnavailable()
	}
	return text, nil
}
