package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// Secrets that rules match, and what is left of them.
const (
	card       = "4111 1111 1111 1111"
	maskedCard = "***************1111"
	secret     = "sk-abcdefghij0123456789abcd"
)

var maskedSecret = strings.Repeat("*", len(secret))

// masked returns a text as the rules mask it.
func masked(text string) string {
	return strings.NewReplacer(card, maskedCard, secret, maskedSecret).Replace(text)
}

// The system prompts of the gateway and of the clients.
const (
	houseRule    = "Answer in German."
	clientSystem = "Be brief."
)

// speeches are what the provider responds with.
var speeches = map[string]spoken{
	"secrets": {
		thought:   "The card " + card + " and \"" + secret + "\"\nare the customer’s.",
		text:      "Überweise – <b>" + card + "</b>, mit\t`" + secret + "` 🔑\\n.",
		arguments: `{"card":"` + card + `","note":"say \"` + secret + `\"\nand \\ 4111 é 🔑"}`,
	},
	"early":    {hello: secret, thought: secret + " is the key.", text: "I have said it.", arguments: "{}"},
	"late":     {thought: "Nothing is secret.", text: lateText + secret + ", and more.", arguments: "{}"},
	"plain":    {thought: "Nothing is secret.", text: "All is well.", arguments: `{"card":"none","note":""}`},
	"numbered": {thought: "Not " + card + ".", text: "Response IDENTIFIER with " + secret + ".", arguments: `{"card":"` + card + `","note":""}`},
}

// lateText precedes what is blocked in the midst of a stream, and lateEnd is its end, in pieces of four characters.
const (
	lateText = "All is well so far: "
	lateEnd  = "ar: "
)

// contentClient is a client of a protocol, in the programs that make calls.
type contentClient struct {
	name, protocol string
	refused        string // the error for a response that is one
	broken         string // the error for an event that is one; empty: the client takes the stream for a complete one
	brokenStatus   int    // of that error
	isThoughtless  bool   // it does not read the reasoning of a chat completion
	systemIsInput  bool   // it sends a system prompt to the Responses API as an element of the input
}

var contentClients = []contentClient{
	{name: "openai chat", protocol: "chat", refused: "BadRequestError", broken: "APIError"},
	{name: "openai responses", protocol: "responses", refused: "BadRequestError", broken: "APIError"},
	{name: "anthropic messages", protocol: "messages", refused: "BadRequestError", broken: "APIError"},
	{name: "google gemini", protocol: "gemini", refused: "ApiError", broken: "ApiError", brokenStatus: 400},
	{name: "ai chat", protocol: "chat", refused: "AI_APICallError", broken: "Object", isThoughtless: true},
	{name: "ai responses", protocol: "responses", refused: "AI_APICallError", broken: "Object", brokenStatus: 400, systemIsInput: true},
	{name: "ai messages", protocol: "messages", refused: "AI_APICallError", broken: "Object"},
	{name: "ai gemini", protocol: "gemini", refused: "AI_APICallError", broken: "AI_APICallError", brokenStatus: 400},
	{name: "langchain chat", protocol: "chat", refused: "BadRequestError", broken: "APIError", isThoughtless: true},
	{name: "langchain responses", protocol: "responses", refused: "BadRequestError", broken: "APIError", systemIsInput: true},
	{name: "langchain messages", protocol: "messages", refused: "BadRequestError", broken: "APIError"},
	{name: "langchain gemini", protocol: "gemini", refused: "GoogleGenerativeAIFetchError"},
	{name: "openai-go chat", protocol: "chat", refused: "*apierror.Error", broken: "*ssestream.StreamError"},
	{name: "openai-go responses", protocol: "responses", refused: "*apierror.Error", broken: "*ssestream.StreamError"},
	{name: "anthropic-go messages", protocol: "messages", refused: "*apierror.Error", broken: "*apierror.Error", brokenStatus: 200},
	{name: "genai-go gemini", protocol: "gemini", refused: "genai.APIError", broken: "genai.APIError", brokenStatus: 400},
}

// contentCall is a call that a program makes with a client.
type contentCall struct {
	Name   string `json:"name"`
	Client string `json:"client"`
	Route  string `json:"route"`
	Key    string `json:"key"`
	System string `json:"system,omitempty"`
	Prompt string `json:"prompt"`
	Stream bool   `json:"stream"`
	After  string `json:"after,omitempty"` // the client calls Resume after this part of the response
	Resume string `json:"resume,omitempty"`
}

// contentOutcome is what a call came to.
type contentOutcome struct {
	Text, Thought, Arguments string
	Object                   json.RawMessage // all of it
	Error                    string          // the type of the client's error
	Status                   int
	Message                  string
	Requests                 int    // that the client has made
	Cache                    string // X-Ai-Cache
}

// contentTest is a call that every client makes, for a response and for a stream, and what it should come to.
type contentTest struct {
	name     string
	route    string
	say      string
	more     string // in the prompt
	system   string
	consumer string
	again    string // the test whose prompt this one repeats
	want     spoken // masked; else there is an error
	message  string // in that
	cache    string // X-Ai-Cache
	provided int    // requests that the provider gets with this prompt
	prompts  string // the system prompts that the provider gets
	gets     string // what else the provider gets
}

// contentTests are the calls of each client, in this order.
var contentTests = func() []contentTest {
	const blockedResponse, blockedRequest = "The response was blocked by the content rule `keys`. Change the request, and try again.",
		"The request was blocked by the content rule `keys`. Remove what the rule matches, and try again."
	secrets, plain := speeches["secrets"].masked(), speeches["plain"]
	return []contentTest{
		{name: "masked, by character", route: "mask", say: "secrets by 1", want: secrets, provided: 1},
		{name: "masked, by five", route: "mask", say: "secrets by 5", want: secrets, provided: 1},
		{name: "masked, at once", route: "mask", say: "secrets by 1000", want: secrets, provided: 1},
		{name: "blocked at the beginning", route: "block", say: "early by 1000", message: blockedResponse, provided: 1},
		{name: "blocked in the midst", route: "block", say: "late by 4", message: blockedResponse, provided: 1},
		{name: "blocked in the request", route: "refuse", say: "plain by 4", more: secret, message: blockedRequest},
		{name: "masked in the request", route: "hide", say: "plain by 4", more: card + " <é> " + secret, want: plain, provided: 1, gets: maskedCard + " <é> " + maskedSecret},
		{name: "prompt before", route: "prepend", say: "plain by 4", system: clientSystem, want: plain, provided: 1, prompts: houseRule + "\n\n" + clientSystem},
		{name: "prompt alone", route: "prepend", say: "plain by 4", want: plain, provided: 1, prompts: houseRule},
		{name: "prompt after", route: "append", say: "plain by 4", system: clientSystem, want: plain, provided: 1, prompts: clientSystem + "\n\n" + houseRule},
		{name: "prompt instead", route: "replace", say: "plain by 4", system: clientSystem, want: plain, provided: 1, prompts: houseRule},
		{name: "prompt not needed", route: "ifabsent", say: "plain by 4", system: clientSystem, want: plain, provided: 1, prompts: clientSystem},
		{name: "prompt needed", route: "ifabsent", say: "plain by 4", want: plain, provided: 1, prompts: houseRule},
		{name: "prompt refused", route: "forbid", say: "plain by 4", system: clientSystem, message: "Clients may not set the system prompt here. Remove '"},
		{name: "prompt not refused", route: "forbid", say: "plain by 4", want: plain, provided: 1, prompts: houseRule},
		{name: "stored", route: "cache", say: "numbered by 4", want: speeches["numbered"].masked(), provided: 2, cache: "miss"},
		{name: "served again", route: "cache", say: "numbered by 4", again: "stored", want: speeches["numbered"].masked(), provided: 2, cache: "hit"},
		{name: "not served to others", route: "cache", say: "numbered by 4", again: "stored", consumer: "green", want: speeches["numbered"].masked(), provided: 2, cache: "miss"},
	}
}()

// masked returns what is left of a response.
func (s spoken) masked() spoken {
	return spoken{text: masked(s.text), thought: masked(s.thought), arguments: masked(s.arguments)}
}

// call returns the test's call with a client.
func (test contentTest) call(client contentClient, isStream bool, resume string) contentCall {
	form := map[bool]string{false: "response", true: "stream"}[isStream]
	title := func(name string) string { return client.name + ", " + form + ": " + name }
	repeated := test.name
	if test.again != "" {
		repeated = test.again
	}
	call := contentCall{
		Name: title(test.name), Client: client.name, Route: "/" + test.route, Key: consumerKey("blue"), System: test.system, Stream: isStream,
		Prompt: "say " + test.say + " #" + title(repeated) + "# " + test.more,
	}
	if test.consumer != "" {
		call.Key = consumerKey(test.consumer)
	}
	if isStream && strings.HasPrefix(test.say, "late") {
		call.After, call.Resume = lateEnd, resume
	}
	return call
}

// TestContentForClients has clients meet what the gateway does with content: it masks, blocks, inserts system prompts
// and serves stored responses. Each call makes one request: no client tries again what would be blocked again.
func TestContentForClients(t *testing.T) {
	provider := newFake(t, "provider", &contentProvider{speeches: speeches, resumed: make(chan struct{})})
	g := start(t, gateway.Options{})
	configure(t, g, contentRoutes(t, provider))
	var calls []contentCall
	for _, client := range contentClients {
		for _, test := range contentTests {
			calls = append(calls, test.call(client, false, ""), test.call(client, true, provider.URL+resumePath))
		}
	}
	outcomes := makeCalls(t, g.URL, calls)
	received := map[string][]string{}
	for _, request := range provider.saw() {
		if title := titled.FindStringSubmatch(request.body); title != nil {
			received[title[1]] = append(received[title[1]], request.body)
		}
	}
	for _, client := range contentClients {
		t.Run(client.name, func(t *testing.T) {
			for _, test := range contentTests {
				for _, isStream := range []bool{false, true} {
					call := test.call(client, isStream, "")
					checkContent(t, client, test, call, outcomes[call.Name])
					checkProvided(t, client, test, call, received[titled.FindStringSubmatch(call.Prompt)[1]])
				}
			}
			checkStored(t, client, outcomes)
		})
	}
	checkNoErrors(t, g)
}

// titled matches the title of a call in a prompt.
var titled = regexp.MustCompile(`#([^#]+)#`)

// identifier matches that of a response, in its text.
var identifier = regexp.MustCompile(`id-[0-9]+`)

// checkContent compares what a call came to with what it should.
func checkContent(t *testing.T, client contentClient, test contentTest, call contentCall, got contentOutcome) {
	t.Helper()
	if text := got.Text + got.Thought + got.Arguments + got.Message + string(got.Object); strings.Contains(text, secret[:6]) || strings.Contains(text, card[:8]) {
		t.Errorf("%s: the client gets a secret: %.2000s", call.Name, text)
	}
	want := contentOutcome{Text: test.want.text, Thought: test.want.thought, Arguments: test.want.arguments, Requests: 1, Cache: test.cache}
	isMidst := call.Stream && strings.HasPrefix(test.say, "late")
	switch {
	case isMidst:
		want.Error, want.Status, want.Message, want.Text = client.broken, client.brokenStatus, test.message, lateText
	case test.message != "":
		want.Error, want.Status, want.Message = client.refused, 400, test.message
	}
	if client.isThoughtless {
		want.Thought = ""
	}
	if isMidst || got.Error != "" {
		got.Thought = "" // or what came before
	}
	if isMidst && client.broken == "" {
		want.Message = ""
	}
	if strings.Contains(got.Message, want.Message) && want.Message != "" {
		got.Message = want.Message
	}
	got.Text = identifier.ReplaceAllString(got.Text, "IDENTIFIER")
	got.Object = nil
	if gotten, wanted := jsonText(got), jsonText(want); gotten != wanted {
		t.Errorf("%s:\ngot  %s\nwant %s", call.Name, gotten, wanted)
	}
}

// checkProvided compares what the provider got of a call with what it should get.
func checkProvided(t *testing.T, client contentClient, test contentTest, call contentCall, bodies []string) {
	t.Helper()
	if len(bodies) != test.provided {
		t.Errorf("%s: the provider received %d requests, want %d", call.Name, len(bodies), test.provided)
	}
	want := test.prompts
	if client.systemIsInput && test.route == "append" {
		want = houseRule + "\n\n" + clientSystem // instructions come before the input
	}
	for _, body := range bodies {
		if got := systemPrompts(body); got != want {
			t.Errorf("%s: the provider gets the system prompts %q, want %q: %s", call.Name, got, want, body)
		}
		var whole any
		if err := json.Unmarshal([]byte(body), &whole); err != nil {
			t.Errorf("%s: the provider gets %s: %v", call.Name, body, err)
		}
		if text := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(body); !strings.Contains(text, test.gets) || strings.Contains(text, secret) || strings.Contains(text, card) {
			t.Errorf("%s: the provider gets %s, want %q", call.Name, body, test.gets)
		}
	}
}

// systemPrompts returns the system prompts in the body of a request, with a blank line between them.
func systemPrompts(body string) string {
	type element struct {
		Role          string
		Content, Text any
	}
	var request struct {
		Instructions, Input, System any
		Messages                    []element
		SystemInstruction           struct{ Parts []any }
	}
	if json.Unmarshal([]byte(body), &request) != nil {
		return body
	}
	var texts []string
	add := func(content any) {
		blocks, isList := content.([]any)
		if !isList {
			blocks = []any{content}
		}
		for _, block := range blocks {
			if object, isObject := block.(map[string]any); isObject {
				block = object["text"]
			}
			if block != nil {
				texts = append(texts, fmt.Sprint(block))
			}
		}
	}
	isSystem := func(role any) bool { return role == "system" || role == "developer" }
	add(request.Instructions)
	if items, isList := request.Input.([]any); isList {
		for _, item := range items {
			if object, _ := item.(map[string]any); isSystem(object["role"]) {
				add(object["content"])
			}
		}
	}
	add(request.System)
	for _, message := range request.Messages {
		if isSystem(message.Role) {
			add(message.Content)
		}
	}
	add(request.SystemInstruction.Parts)
	return strings.Join(texts, "\n\n")
}

// checkStored fails unless a stored response is the same for the client as the one that was stored, and another consumer
// gets another one.
func checkStored(t *testing.T, client contentClient, outcomes map[string]contentOutcome) {
	t.Helper()
	for _, form := range []string{"response", "stream"} {
		outcome := func(name string) contentOutcome { return outcomes[client.name+", "+form+": "+name] }
		first, again, other := outcome("stored"), outcome("served again"), outcome("not served to others")
		if len(first.Object) == 0 || !bytes.Equal(first.Object, again.Object) {
			t.Errorf("%s, %s: the client gets\n%s, and again\n%s", client.name, form, first.Object, again.Object)
		}
		if first.Text == other.Text {
			t.Errorf("%s, %s: another consumer gets the same response: %s", client.name, form, other.Text)
		}
	}
}

// makeCalls makes the calls with the programs that have their clients.
func makeCalls(t *testing.T, address string, calls []contentCall) map[string]contentOutcome {
	t.Helper()
	file := filepath.Join(t.TempDir(), "calls.json")
	write(t, file, jsonText(calls))
	program := exec.CommandContext(t.Context(), "go", "run", "./content", file)
	program.Dir = "clients"
	program.Env = append(os.Environ(), "GATEWAY_URL="+address)
	var logged bytes.Buffer
	program.Stderr = &logged
	printed, err := program.Output()
	if err != nil {
		t.Fatalf("clients/content: %v: %s", err, &logged)
	}
	outcomes := map[string]contentOutcome{}
	for _, text := range [][]byte{printed, runScript(t, address, "content", file)} {
		var some map[string]contentOutcome
		if err := json.Unmarshal(text, &some); err != nil {
			t.Fatalf("a program printed %s: %v", text, err)
		}
		maps.Copy(outcomes, some)
	}
	return outcomes
}

// contentRoutes returns a route for each rule on content.
func contentRoutes(t *testing.T, provider *fake) gateway.Dynamic {
	t.Helper()
	cards := object{"name": "cards", "builtin": "creditCard", "action": "mask", "mask": object{"keepRight": 4}}
	keys := object{"name": "keys", "builtin": "secretKey", "action": "mask"}
	noKeys := object{"name": "keys", "builtin": "secretKey", "action": "block"}
	guard := func(of string, rules ...any) map[string]any {
		return map[string]any{"guard": object{of: object{"rules": rules}}}
	}
	prompt := func(mode string) map[string]any {
		return map[string]any{"prompt": object{"system": object{"text": houseRule, "mode": mode}}}
	}
	cache := guard("response", cards, keys)
	cache["cache"] = object{"ttl": "1h"}
	routes := map[string]map[string]any{
		"mask": guard("response", cards, keys), "block": guard("response", cards, noKeys),
		"hide": guard("request", cards, keys), "refuse": guard("request", noKeys), "cache": cache,
		"prepend": prompt("prepend"), "append": prompt("append"), "replace": prompt("replace"), "ifabsent": prompt("ifAbsent"),
		"forbid": {"prompt": object{"system": object{"text": houseRule}, "forbidClientSystem": true}},
	}
	kinds := map[string]string{
		"/v1/chat/completions": "completions", "/v1/responses": "responses", "/v1/messages": "messages", "/v1beta/models/*": "generateContent",
	}
	for _, keys := range routes {
		keys["token"], keys["consumers"], keys["routes"] = "sk-provider", consumersOf("blue", "green"), kinds
		keys["allowModelOverride"] = true
	}
	for name, keys := range routes {
		routes[name] = at(t, provider.URL, keys)
	}
	return hosted(routes)
}
