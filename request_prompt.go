package chatcompletion

import (
	"bytes"
	"sort"
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
	if settings == nil || settings.source == nil {
		if settings == nil {
			return nil, nil
		}
		return settings.fixed, nil
	}
	text, has := currentDocument(settings.secret).(*promptText)
	if !has {
		return nil, promptUnavailable()
	}
	return text, nil
}

// promptDraft is what is decided about the system prompt of a request.
type promptDraft struct {
	edits    []edit           // with the values that they have without the inserted prompts
	inserted *insertedPrompts // nil: none
	elements *systemElements

	counted   []byte // a whole request whose tokens are counted, without the inserted prompts; nil: there is none
	countedAt int    // where it begins
}

// addEdit adds an edit of a body, and the value that it has without the inserted prompts.
func addEdit(draft *promptDraft, from, to int, value, bare []byte) {
	draft.edits = append(draft.edits, edit{from: from, to: to, value: value, bare: bare})
}

// decidePrompt decides on the system prompt of a request: it refuses that of the client, or inserts
// those of the policy and of the instances before. The edits are in the draft.
func decidePrompt(ep *endpoint, obj *jsonObject, draft *decisionDraft) *apiError {
	sp := ep.prompt
	if ep.kind == countContents {
		if isWhole, apiErr := decideCountedPrompt(sp, obj, draft); isWhole || apiErr != nil {
			return apiErr
		}
	}
	return decidePromptIn(sp, obj, draft)
}

// decidePromptIn is decidePrompt for an object that holds a conversation.
func decidePromptIn(sp *systemPrompt, obj *jsonObject, draft *decisionDraft) *apiError {
	mode, forbids := "", false
	if sp.settings != nil {
		mode = sp.settings.mode
		forbids = sp.settings.forbids
	}
	own, parts, apiErr := clientPrompt(sp, obj)
	if apiErr != nil {
		return apiErr
	}
	elements, apiErr := conversationPrompts(sp, obj, mode, forbids)
	if apiErr != nil {
		return apiErr
	}
	if forbids || mode == promptReplace {
		if apiErr = checkPromptAllowed(sp, obj, own, elements, forbids); apiErr != nil {
			return apiErr
		}
	}
	pd := &promptDraft{inserted: sp.with, elements: elements}
	draft.prompt = pd
	replaces := false
	switch {
	case mode == promptIfAbsent && (own != nil || elements.leading > 0):
		pd.inserted = sp.prior
	case mode == promptReplace:
		replaces = own != nil || elements.runs != nil
	}
	if sp.own != nil && pd.inserted != sp.prior {
		reason := promptInserted
		if replaces {
			reason = promptReplaced
		}
		draft.reasons = append(draft.reasons, reason)
	}
	if pd.inserted == nil {
		return nil
	}
	if sp.place.form == promptMessage {
		insertMessages(pd)
		return nil
	}
	insertPrompt(sp, obj, draft, own, parts, replaces)
	for _, run := range elements.runs {
		addEdit(pd, run.from, run.to, nil, nil)
	}
	return nil
}

// Elements of X-Ai-Policy.
const (
	promptInserted = "system=inserted"
	promptReplaced = "system=replaced"
)

// promptMember returns the member for a parameter that is not null; nil: there is none.
func promptMember(sp *systemPrompt, obj *jsonObject, name string) *member {
	if name == "" {
		return nil
	}
	id, known := sp.parameters.ids[name]
	if !known || obj.found[id] == 0 {
		return nil
	}
	m := &obj.members[obj.found[id]-1]
	if obj.skeleton[m.start] == 'n' {
		return nil
	}
	return m
}

// clientPrompt returns the member that holds the client's system prompt, and the parts in it; nil: there
// is none. Texts count even if they are empty, arrays do not.
func clientPrompt(sp *systemPrompt, obj *jsonObject) (own, parts *member, apiErr *apiError) {
	own = promptMember(sp, obj, sp.place.name)
	parts = nil
	apiErr = nil
	if own == nil {
		return own, parts, apiErr
	}
	value := skeletonValue(obj, own)
	switch sp.place.form {
	case promptBlocks:
		if isEmptyArray(value) {
			own = nil
		} else if value[0] != '"' && value[0] != '[' {
			apiErr = wrongType(own.name, "a string or an array of content blocks", value)
		}
	case promptParts:
		parts, apiErr = partsOf(own, value)
		if apiErr == nil && (parts == nil || value[parts.start] == 'n' || isEmptyArray(value[parts.start:parts.end])) {
			own = nil
		}
	}
	return own, parts, apiErr
}

func isEmptyArray(value []byte) bool {
	return value[0] == '[' && len(bytes.Trim(value[1:len(value)-1], jsonSpace)) == 0
}

// partsOf returns the member with the parts of a content, whose offsets are those in the content; nil:
// it has none.
func partsOf(holder *member, content []byte) (*member, *apiError) {
	inner := wholeJSONObject(content)
	if apiErr := readMembers(inner); apiErr != nil {
		return nil, wrongType(holder.name, "an object", content)
	}
	var found *member
	for i := range inner.members {
		m := &inner.members[i]
		if fold(m.name) != "parts" {
			continue
		}
		if m.name != "parts" { // some parsers take it for the name
			return nil, ambiguousName(holder.name+"."+m.name, holder.name+".parts")
		}
		if found != nil {
			return nil, ambiguousName(holder.name+".parts", holder.name+".parts")
		}
		found = m
	}
	if found != nil && strings.IndexByte("[{n", content[found.start]) < 0 {
		return nil, wrongType(holder.name+".parts", "an array", content[found.start:found.end])
	}
	return found, nil
}

// checkPromptAllowed returns the error for a system prompt of the client that is forbidden, or cannot be
// replaced.
func checkPromptAllowed(sp *systemPrompt, obj *jsonObject, own *member, elements *systemElements, forbids bool) *apiError {
	if stored := promptMember(sp, obj, sp.place.stored); stored != nil {
		return systemNotAllowed(stored.name)
	}
	if elements.only != "" || (forbids && elements.first != "") {
		return systemNotAllowed(elements.first)
	}
	if forbids && own != nil {
		return systemNotAllowed(own.name)
	}
	return nil
}

func systemNotAllowed(param string) *apiError {
	return invalidRequest("system_not_allowed", param, "Clients may not set the system prompt here. Remove '"+param+"'.")
}

// insertMessages inserts prompts into the messages of chat completions: those before the client's as the
// first messages, and the others after the leading system messages of the client.
func insertMessages(pd *promptDraft) {
	e, first, last := pd.elements, chatPrompts(pd.inserted.before), chatPrompts(pd.inserted.after)
	isEmpty := e.isAll && e.runs != nil
	if e.runs != nil || e.leading == 0 { // no system message of the client stays at the beginning
		if len(pd.inserted.before) > 0 && len(pd.inserted.after) > 0 {
			first = append(append(first, ','), last...)
		} else {
			first = append(first, last...)
		}
		last = nil
	}
	if len(first) > 0 {
		if !isEmpty {
			first = append(first, ',')
		}
		addEdit(pd, e.start, e.start, first, nil)
	}
	for _, run := range e.runs {
		addEdit(pd, run.from, run.to, nil, nil)
	}
	switch {
	case len(last) == 0:
	case e.isAll:
		addEdit(pd, e.leadingEnd, e.leadingEnd, append([]byte{','}, last...), nil)
	default:
		addEdit(pd, e.afterLeading, e.afterLeading, append(last, ','), nil)
	}
}

// chatPrompts returns messages of chat completions with prompts, separated by commas. All providers
// know the role system, and OpenAI treats it as developer where a model has that one.
func chatPrompts(texts []string) []byte {
	return joinedPrompts(texts, `{"role":"system","content":`)
}

// joinedPrompts returns objects with prompts, separated by commas. Each begins as given, up to its text.
func joinedPrompts(texts []string, beginning string) []byte {
	var all [][]byte
	for _, text := range texts {
		all = append(all, append(append([]byte(beginning), marshal(text)...), '}'))
	}
	return bytes.Join(all, comma)
}

// Beginnings of the objects that hold a prompt.
const (
	promptBlock = `{"type":"text","text":`
	promptPart  = `{"text":`
)

// insertPrompt inserts prompts into the parameter that holds the system prompt, or adds that.
func insertPrompt(sp *systemPrompt, obj *jsonObject, draft *decisionDraft, own, parts *member, replaces bool) {
	pd := draft.prompt
	given := obj.found[sp.parameters.ids[sp.place.name]]
	switch {
	case given == 0:
		addPrompt(sp, obj, draft)
	case parts != nil && !replaces:
		insertParts(pd, obj.members[given-1].start, parts, skeletonValue(obj, &obj.members[given-1]))
	case own == nil && sp.place.form == promptParts && obj.skeleton[obj.members[given-1].start] == '{' && !replaces:
		m := &obj.members[given-1]
		member := append([]byte(`"parts":`), partsValue(pd.inserted)...)
		if len(bytes.Trim(obj.skeleton[m.start+1:m.end-1], jsonSpace)) > 0 {
			member = append(member, ',')
		}
		addEdit(pd, m.start+1, m.start+1, member, nil)
	case own == nil || replaces:
		m := &obj.members[given-1]
		addEdit(pd, m.start, m.end, promptValue(sp.place.form, pd.inserted), jsonNull)
	case obj.skeleton[own.start] == '"':
		insertAround(pd, own.start+1, own.end-1, escaped(pd.inserted.before, "", blankText), escaped(pd.inserted.after, blankText, ""))
	default:
		insertElements(pd, own.start, own.end, promptBlock)
	}
}

// blankText separates two prompts in one text.
const blankText = "\n\n"

// escaped returns prompts as a part of a JSON string, with a text before and after them.
func escaped(texts []string, before, after string) []byte {
	if len(texts) == 0 {
		return nil
	}
	value := marshal(before + strings.Join(texts, blankText) + after)
	return value[1 : len(value)-1]
}

// insertAround inserts values at two places of a body.
func insertAround(pd *promptDraft, from, to int, before, after []byte) {
	if len(before) > 0 {
		addEdit(pd, from, from, before, nil)
	}
	if len(after) > 0 {
		addEdit(pd, to, to, after, nil)
	}
}

// insertElements inserts objects with prompts into an array that is not empty.
func insertElements(pd *promptDraft, from, to int, beginning string) {
	before, after := joinedPrompts(pd.inserted.before, beginning), joinedPrompts(pd.inserted.after, beginning)
	if len(before) > 0 {
		before = append(before, ',')
	}
	if len(after) > 0 {
		after = append([]byte{','}, after...)
	}
	insertAround(pd, from+1, to-1, before, after)
}

// insertParts inserts prompts into the parts of a content that begins at an offset. There may be one
// part in the place of an array.
func insertParts(pd *promptDraft, at int, parts *member, content []byte) {
	from, to := at+parts.start, at+parts.end
	value := content[parts.start:parts.end]
	switch {
	case value[0] == 'n':
		addEdit(pd, from, to, partsValue(pd.inserted), jsonNull)
	case value[0] == '{':
		before, after := joinedPrompts(pd.inserted.before, promptPart), joinedPrompts(pd.inserted.after, promptPart)
		if len(before) > 0 {
			before = append(before, ',')
		}
		if len(after) > 0 {
			after = append([]byte{','}, after...)
		}
		insertAround(pd, from, to, append([]byte{'['}, before...), append(after, ']'))
	case isEmptyArray(value):
		addEdit(pd, from+1, from+1, joinedPrompts(allPrompts(pd.inserted), promptPart), nil)
	default:
		insertElements(pd, from, to, promptPart)
	}
}

// allPrompts returns inserted prompts in their order.
func allPrompts(inserted *insertedPrompts) []string {
	return append(append([]string{}, inserted.before...), inserted.after...)
}

// partsValue returns an array of parts with prompts.
func partsValue(inserted *insertedPrompts) []byte {
	return jsonArray([][]byte{joinedPrompts(allPrompts(inserted), promptPart)})
}

// promptValue returns the value of the parameter that holds the system prompt, with prompts alone.
func promptValue(form promptForm, inserted *insertedPrompts) []byte {
	if form == promptParts {
		return bytes.Join([][]byte{[]byte(`{"parts":`), partsValue(inserted), []byte(`}`)}, nil)
	}
	return marshal(strings.Join(allPrompts(inserted), blankText))
}

// addPrompt adds the parameter that holds the system prompt after the last member, and after what the
// rules add there.
func addPrompt(sp *systemPrompt, obj *jsonObject, draft *decisionDraft) {
	pd := draft.prompt
	value := append([]byte(`,"`+sp.place.name+`":`), promptValue(sp.place.form, pd.inserted)...)
	if sp.wrapsCount && len(obj.members) == 1 && len(draft.additions) == 0 && draft.model != "" {
		at := obj.members[0].end
		model := append([]byte(`"generateContentRequest":{"model":`), marshal(resourceName(draft.model))...)
		start := nameStart(obj, 0)
		addEdit(pd, start, start, append(model, ','), nil)
		addEdit(pd, at, at, append(value, '}'), nil)
		return
	}
	at := bytes.LastIndexByte(obj.skeleton, '}')
	if removesAll(obj) && len(draft.additions) == 0 {
		value = value[1:]
	} else if !removesAll(obj) {
		at = obj.members[len(obj.members)-1].end
	}
	addEdit(pd, at, at, value, nil)
}

// decideCountedPrompt decides on the system prompt of a whole request whose tokens are counted, and
// reports whether there is one.
func decideCountedPrompt(sp *systemPrompt, obj *jsonObject, draft *decisionDraft) (bool, *apiError) {
	m := promptMember(sp, obj, nestedModels[countContents])
	if m == nil {
		return false, nil
	}
	value := m.replacement
	if value == nil {
		value = bodyValue(obj, m)
	}
	if value[0] != '{' {
		return true, wrongType(m.name, "an object", value)
	}
	inner := wholeJSONObject(value)
	own := *sp
	own.wrapsCount = false
	own.parameters = newParameterSet(promptParameters())
	if apiErr := readParameters(inner, own.parameters); apiErr != nil {
		return true, apiErr
	}
	nested := &decisionDraft{}
	if apiErr := decidePromptIn(&own, inner, nested); apiErr != nil {
		return true, apiErr
	}
	draft.reasons = append(draft.reasons, nested.reasons...)
	draft.prompt = &promptDraft{elements: &systemElements{}}
	if pd := nested.prompt; pd.inserted != nil {
		sortEdits(pd.edits)
		m.replacement = bytes.Join(splice(inner, countPlaceholders(inner, pd.edits)), nil)
		draft.prompt.inserted = pd.inserted
		draft.prompt.countedAt = m.start
		draft.prompt.counted = value
	}
	return true, nil
}

// insertPrompts returns a body with the prompts of the instances before, which was decided on without
// them.
func insertPrompts(ep *endpoint, body []byte, prior *insertedPrompts, model string) []byte {
	sp := newSystemPrompt(nil, ep)
	if sp == nil || prior == nil {
		return body
	}
	sp.parameters = newParameterSet([]*parameter{modelID: ofString("model"), ofAnyType(sp.place.elements)})
	if sp.place.name != "" {
		addParameter(sp.parameters, inBothSpellings([]*parameter{ofAnyType(sp.place.name)})[0])
	}
	setPrompts(sp, nil, prior)
	obj, draft := newJSONObject(body), &decisionDraft{model: model}
	if readParameters(obj, sp.parameters) != nil || decidePromptIn(sp, obj, draft) != nil {
		return body // not reached: an instance before has decided on it
	}
	sortEdits(draft.prompt.edits)
	return bytes.Join(splice(obj, countPlaceholders(obj, draft.prompt.edits)), nil)
}

// promptParameters returns the parameters of a whole request whose tokens are counted that system prompts
// depend on.
func promptParameters() []*parameter {
	return inBothSpellings([]*parameter{modelID: ofString("model"), ofAnyType("contents"), ofObject("systemInstruction", nil)})
}

// sortEdits sorts edits in the order of the body. Those at one place keep their order.
func sortEdits(list []edit) {
	sort.SliceStable(list, func(i, j int) bool { return list[i].from < list[j].from })
}

// applyPrompt has a decision insert the prompts of a draft.
func applyPrompt(ep *endpoint, obj *jsonObject, d *decision, pd *promptDraft) {
	if d.outline != nil && pd.elements.isRead {
		outlinePrompts(ep, obj, d.outline, pd.elements)
	}
	if pd.inserted == nil {
		return
	}
	list := append([]edit{}, d.edits...)
	for i := range list {
		list[i].bare = list[i].value
		if pd.counted != nil && list[i].from == pd.countedAt {
			list[i].bare = pd.counted
		}
	}
	list = append(list, countPlaceholders(obj, pd.edits)...)
	sortEdits(list)
	d.edits = list
	d.prompts = pd.inserted
	d.promptBytes = len(strings.Join(allPrompts(pd.inserted), ""))
}

// outlinePrompts leaves the system messages at the beginning of a conversation out of the elements that
// the next turn need not read: where prompts are inserted depends on them. A conversation with others is
// not remembered.
func outlinePrompts(ep *endpoint, obj *jsonObject, o *outline, e *systemElements) {
	if e.isInner {
		o.inside = counts{}
		return
	}
	if e.leading == 0 {
		return
	}
	all, to := o.counts, obj.members[obj.found[ep.memory.arrayID]-1].end-1
	from := e.afterLeading
	if e.isAll {
		from = to
	}
	outlineElements(o, obj, from, jsonArray([][]byte{obj.skeleton[from:to]}))
	o.counts = all
}

// barePieces returns the body that a plan sends, in pieces, without the prompts that have been inserted.
func barePieces(pl *plan) [][]byte {
	pieces := append([][]byte{}, pl.pieces...)
	for i := range pl.decision.edits {
		pieces[2*i+1] = pl.decision.edits[i].bare
	}
	return pieces
}

// promptsIn returns the prompts that instances have inserted into the body of a plan; nil: there are
// none.
func promptsIn(pl *plan) *insertedPrompts {
	if !pl.withdrawn && pl.decision != nil && pl.decision.prompts != nil {
		return pl.decision.prompts
	}
	return pl.prompts
}

// bareBody returns the body that a plan sends without the prompts that have been inserted.
func bareBody(pl *plan) []byte {
	if len(pl.pieces) > 1 {
		return bytes.Join(barePieces(pl), nil)
	}
	return pl.decoded // the instance has changed nothing
}
