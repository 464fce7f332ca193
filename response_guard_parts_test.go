package chatcompletion

import (
	"fmt"
	"math/rand"
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// partedDocument is a form of documents with texts in several parts, which clients join.
type partedDocument struct {
	name, path string
	part       string // with %s for the text as JSON
	between    string // what may be between two parts, and is none of the text
	document   string // with %s for the parts
	expression string // of the texts, for the oracle
}

var partedDocuments = []partedDocument{
	{"chat", "/v1/chat/completions", `{"type":"text","text":%s}`, `{"type":"reference","reference_ids":[1]}`,
		`{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":[%s]},"finish_reason":"stop"}]}`, "choices.0.message.content.#.text"},
	{"messages", "/v1/messages", `{"citations":[{"cited_text":"A","type":"char_location"}],"type":"text","text":%s}`, `{"type":"thinking","thinking":"Well.","signature":"c2ln"}`,
		`{"id":"m","type":"message","role":"assistant","content":[%s],"stop_reason":"end_turn"}`, "content.#.text"},
	{"responses", "/v1/responses", `{"type":"message","role":"assistant","content":[{"type":"output_text","annotations":[],"text":%s}]}`, `{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}`,
		`{"id":"r","object":"response","status":"completed","output":[%s]}`, "output.#.content.#.text|@flatten"},
	{"response in one item", "/v1/responses", `{"type": "output_text", "text": %s, "annotations": []}`, `{"type":"refusal","refusal":"No."}`,
		`{"id":"r","object":"response","status":"completed","output":[{"type":"message","role":"assistant","content":[%s]}]}`, "output.0.content.#.text"},
	{"contents", "/v1beta/models/m:generateContent", `{"text":%s}`, `{"functionCall":{"name":"f","args":{}}}`,
		`{"candidates":[{"index":0,"content":{"role":"model","parts":[%s]},"finishReason":"STOP"}]}`, "candidates.0.content.parts.#.text"},
}

// with returns the document with parts, given as the insides of JSON strings.
func (d *partedDocument) with(hasBetween bool, texts ...string) string {
	var parts []string
	for i, text := range texts {
		if i > 0 && hasBetween {
			parts = append(parts, d.between)
		}
		parts = append(parts, fmt.Sprintf(d.part, `"`+text+`"`))
	}
	return fmt.Sprintf(d.document, strings.Join(parts, ","))
}

func TestGuardMasksPartsOfDocumentsAtEveryCut(t *testing.T) {
	h := newGuardedProvider(t, guardConfig(maskCards, blockKeys))
	text, masked := "Pay 4111 1111 1111 1111 now", "Pay ***************1111 now"
	for _, d := range partedDocuments {
		for cut := 0; cut <= len(text); cut++ {
			for _, hasBetween := range []bool{false, true} {
				call := callGuarded(t, h, d.path, "application/json", d.with(hasBetween, text[:cut], text[cut:]))
				if want := d.with(hasBetween, masked[:cut], masked[cut:]); call.body != want {
					t.Fatalf("%s: got %s, want %s", d.name, call.body, want)
				}
			}
		}
		if got := callGuarded(t, h, d.path, "application/json", d.with(true, strings.Split(text, "")...)).body; got != d.with(true, strings.Split(masked, "")...) {
			t.Errorf("%s: got %s", d.name, got)
		}
	}
}

func TestGuardBlocksPartsOfDocuments(t *testing.T) {
	h := newGuardedProvider(t, guardConfig(maskCards, blockKeys))
	for _, d := range partedDocuments {
		call := callGuarded(t, h, d.path, "application/json", d.with(true, "Use sk-abcdef", "ghij0123456789abcd"))
		if call.status != http.StatusBadRequest || strings.Contains(call.body, "sk-") || !strings.Contains(call.body, "keys") {
			t.Errorf("%s: got %d %s", d.name, call.status, call.body)
		}
		if got, want := call.header.Get(policyHeader), "guard_response_block=keys"; got != want {
			t.Errorf("%s: %s is %q, want %q", d.name, policyHeader, got, want)
		}
	}
}

// Texts that no client joins are no match, and the document stays as it is.
func TestGuardKeepsPartsThatNoClientJoins(t *testing.T) {
	h := newGuardedProvider(t, guardConfig(maskCards, blockKeys))
	for _, c := range []struct{ name, path, body string }{
		{"choices", "/v1/chat/completions", `{"choices":[{"index":0,"message":{"content":[{"type":"text","text":"4111 1111 "}]}},{"index":1,"message":{"content":[{"type":"text","text":"1111 1111"}]}}]}`},
		{"thoughts", "/v1beta/models/m:generateContent", `{"candidates":[{"content":{"parts":[{"text":"4111 1111 ","thought":true},{"text":"1111 1111"}]}}]}`},
		{"candidates", "/v1beta/models/m:generateContent", `{"candidates":[{"content":{"parts":[{"text":"4111 1111 "}]}},{"content":{"parts":[{"text":"1111 1111"}]}}]}`},
		{"citations", "/v1/messages", `{"content":[{"type":"text","text":"4111 1111 ","citations":[{"cited_text":"1111 1111"}]}]}`},
	} {
		if call := callGuarded(t, h, c.path, "application/json", c.body); call.body != c.body {
			t.Errorf("%s: got %d %s, want %s", c.name, call.status, call.body, c.body)
		}
	}
}

// FuzzGuardedParts plants what rules match in texts whose parts end anywhere: the client gets what it would get of one
// text, but for what is masked since a part alone matches.
func FuzzGuardedParts(f *testing.F) {
	for seed := int64(0); seed < 40; seed++ {
		f.Add(seed)
	}
	h := newGuardedProvider(f, guardConfig(maskCards, maskMails, maskWord, blockKeys))
	f.Fuzz(func(t *testing.T, seed int64) {
		random := rand.New(rand.NewSource(seed))
		d := &partedDocuments[random.Intn(len(partedDocuments))]
		text, matches, want := plantedMatches(random, h.rules)
		body := d.with(random.Intn(2) == 0, escapedPieces(random, text)...)
		call := callGuarded(t, h, d.path, "application/json", body)
		if blockingRule(matches) != nil {
			if call.status != http.StatusBadRequest {
				t.Fatalf("%s: got %d %s of %s", d.name, call.status, call.body, body)
			}
			return
		}
		got := joinedTextsOf(d, call.body)
		if call.status != http.StatusOK || !isMaskedAs(got, want) {
			t.Fatalf("%s: got %d %q, want %q of %s", d.name, call.status, got, want, body)
		}
	})
}

// joinedTextsOf returns the texts of a document, joined.
func joinedTextsOf(d *partedDocument, body string) string {
	joined := ""
	for _, text := range gjson.Get(body, d.expression).Array() {
		joined += text.String()
	}
	return joined
}

// isMaskedAs reports whether a text is another one, in which more may be masked.
func isMaskedAs(got, want string) bool {
	characters, wanted := []rune(got), []rune(want)
	if len(characters) != len(wanted) {
		return false
	}
	for i, char := range characters {
		if char != wanted[i] && char != '*' && char != '#' {
			return false
		}
	}
	return true
}
