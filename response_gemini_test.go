package chatcompletion

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

// geminiCall returns the record of a response to an endpoint of a kind that arrives in pieces, broken off or not.
func geminiCall(k kind, contentType string, isBroken bool, pieces ...string) *Call {
	call := &Call{Start: time.Now()}
	rec := httptest.NewRecorder()
	w := &responseWriter{
		ResponseWriter: rec, client: rec, registry: newRegistry(), call: call, start: call.Start, streamRequested: k == streamGenerateContent,
		reader: &responseReader{record: &call.Response, kind: k, wantsDetails: true, wantsParts: true},
	}
	rec.Header().Set("Content-Type", contentType)
	w.WriteHeader(http.StatusOK)
	for _, piece := range pieces {
		_, _ = w.Write([]byte(piece))
	}
	if !isBroken {
		endResponse(w)
	}
	if w.needsCleanup {
		cleanup(w)
	}
	finishWindow(w)
	fillDetails([]*Call{call})
	takeParts(w.reader)
	if !isBroken && rec.Body.String() != strings.Join(pieces, "") {
		panic("the client gets another response")
	}
	if isFinished := w.complete && !w.reader.stream; !isFinished || w.reader.failed {
		call.ErrorType = endedBy(&exchange{response: w, call: call}, context.Background())
	}
	return call
}

// describeGemini returns what a record says: model, id, counts (? is unknown), parts, finish reasons, tier and error.type.
func describeGemini(c *Call) string {
	u := &c.Response.Usage
	count := func(known bool, n int64) string {
		if !known {
			return "?"
		}
		return fmt.Sprint(n)
	}
	text := c.Response.Model + " " + c.Response.ID + " " + count(u.InputKnown, u.InputTokens) + "/" + count(u.OutputKnown, u.OutputTokens)
	for _, part := range []struct {
		name  string
		count int64
	}{{"cached", u.CacheReadInputTokens}, {"reasoning", u.ReasoningOutputTokens}, {"audio", u.InputAudioTokens}, {"spoken", u.OutputAudioTokens}} {
		if part.count > 0 {
			text += fmt.Sprintf(" %s %d", part.name, part.count)
		}
	}
	return strings.TrimSpace(strings.Join(append([]string{text, fmt.Sprint(c.Response.FinishReasons), c.Response.ServiceTier}, c.ErrorType), " "))
}

// Parts of Gemini's responses, as they are sent: a candidate with a text, one that ends, and what follows them.
const (
	geminiPiece  = `"candidates": [{"content": {"parts": [{"text": "%s"}],"role": "model"},"index": 0}]`
	geminiEnd    = `"candidates": [{"content": {"parts": [{"text": "%s"}],"role": "model"},"finishReason": "STOP","index": 0}]`
	geminiAfter  = `"modelVersion": "gemini-2.5-flash","responseId": "r-1"`
	promptDetail = `"promptTokensDetails": [{"modality": "TEXT","tokenCount": 8}]`
	isEvents     = "text/event-stream"
	isJSON       = "application/json; charset=UTF-8"
)

// asEvents returns parts of a streamed response as Gemini's events.
func asEvents(parts ...string) string {
	text := ""
	for _, part := range parts {
		text += "data: {" + part + "}\r\n\r\n"
	}
	return text
}

// asElements returns parts of a streamed response as Gemini's array, each element in lines of its own.
func asElements(parts ...string) string {
	var elements []string
	for _, part := range parts {
		var text bytes.Buffer
		if err := json.Indent(&text, []byte("{"+part+"}"), "", "  "); err != nil {
			panic(err)
		}
		elements = append(elements, text.String())
	}
	return "[" + strings.Join(elements, "\n,\r\n") + "\n]\n"
}

// geminiShape is a response as it was seen, and what its record says.
type geminiShape struct {
	name  string
	parts []string // of a streamed response; else the one of a whole one
	want  string
}

func geminiStreams() []geminiShape {
	usage := func(counts string) string { return `"usageMetadata": {` + counts + `}` }
	piece := func(text, counts string) string {
		return strings.Join([]string{fmt.Sprintf(geminiPiece, text), usage(counts), geminiAfter}, ",")
	}
	end := func(text, counts string) string {
		return strings.Join([]string{fmt.Sprintf(geminiEnd, text), usage(counts), geminiAfter}, ",")
	}
	return []geminiShape{
		{"counts so far in each part", []string{
			piece("One", `"promptTokenCount": 8,"candidatesTokenCount": 4,"totalTokenCount": 12,`+promptDetail),
			piece(" two", `"promptTokenCount": 8,"candidatesTokenCount": 9,"totalTokenCount": 17,`+promptDetail),
			end(" three.", `"promptTokenCount": 8,"candidatesTokenCount": 14,"totalTokenCount": 22,`+promptDetail),
		}, "gemini-2.5-flash r-1 8/14 [STOP]"},
		{"thinking and a cache", []string{
			piece("", `"promptTokenCount": 2100,"cachedContentTokenCount": 2048,"thoughtsTokenCount": 60,"totalTokenCount": 2160`),
			piece("A", `"promptTokenCount": 2100,"cachedContentTokenCount": 2048,"candidatesTokenCount": 3,"thoughtsTokenCount": 98,"totalTokenCount": 2201`),
			end("B", `"promptTokenCount": 2100,"cachedContentTokenCount": 2048,"candidatesTokenCount": 7,"thoughtsTokenCount": 98,"totalTokenCount": 2205,"serviceTier": "flex"`),
		}, "gemini-2.5-flash r-1 2100/105 cached 2048 reasoning 98 [STOP] flex"},
		{"Vertex AI: counts at the end only", []string{
			piece("A", `"trafficType": "ON_DEMAND"`), piece("B", `"trafficType": "ON_DEMAND"`),
			end("C", `"promptTokenCount": 8,"candidatesTokenCount": 14,"totalTokenCount": 22,"trafficType": "ON_DEMAND",`+promptDetail+`,"candidatesTokensDetails": [{"modality": "TEXT","tokenCount": 14}]`),
		}, "gemini-2.5-flash r-1 8/14 [STOP] ON_DEMAND"},
		{"a finish reason in each part", []string{
			end("A", `"promptTokenCount": 8,"candidatesTokenCount": 1,"totalTokenCount": 9`), end("B", `"promptTokenCount": 8,"candidatesTokenCount": 2,"totalTokenCount": 10`),
			end("C", `"promptTokenCount": 8,"candidatesTokenCount": 3,"totalTokenCount": 11`),
		}, "gemini-2.5-flash r-1 8/3 [STOP]"},
		{"two candidates", []string{
			`"candidates": [{"content": {"parts": [{"text": "A"}],"role": "model"},"index": 0}],` + geminiAfter,
			`"candidates": [{"content": {"parts": [{"text": "B"}],"role": "model"},"index": 1}],` + geminiAfter,
			`"candidates": [{"content": {"parts": [{"text": ""}],"role": "model"},"finishReason": "MAX_TOKENS","index": 1}],` + geminiAfter,
			end("", `"promptTokenCount": 8,"candidatesTokenCount": 14,"totalTokenCount": 22`),
		}, "gemini-2.5-flash r-1 8/14 [MAX_TOKENS STOP]"},
		{"one of two candidates has not ended", []string{
			`"candidates": [{"content": {"parts": [{"text": "B"}],"role": "model"},"index": 1}],` + geminiAfter,
			end("", `"promptTokenCount": 8,"candidatesTokenCount": 14,"totalTokenCount": 22`),
		}, "gemini-2.5-flash r-1 8/14 [STOP]  provider_cut"},
		{"a call of a function that imitates a response", []string{
			`"candidates": [{"content": {"parts": [{"functionCall": {"name": "f","args": {"list": [{"candidates": 1},{"candidates": [{"index": 3}],"usageMetadata": {"promptTokenCount": 999},"finishReason": "SAFETY","error": {"code": 3},"modelVersion": "x"}]}},"thoughtSignature": "AAAA"}],"role": "model"},"index": 0}],` +
				usage(`"promptTokenCount": 8,"candidatesTokenCount": 12,"totalTokenCount": 20`) + "," + geminiAfter,
			end("", `"promptTokenCount": 8,"candidatesTokenCount": 14,"totalTokenCount": 22`),
		}, "gemini-2.5-flash r-1 8/14 [STOP]"},
		{"a text that imitates a response", []string{
			piece(`},{\"candidates\":[{\"index\":3}],\"error\":{\"code\":1}\n\ndata: {\"usageMetadata\":{\"promptTokenCount\":999}},{\"finishReason\":\"SAFETY\"}]`, `"promptTokenCount": 8,"candidatesTokenCount": 12,"totalTokenCount": 20`),
			end("", `"promptTokenCount": 8,"candidatesTokenCount": 14,"totalTokenCount": 22`),
		}, "gemini-2.5-flash r-1 8/14 [STOP]"},
		{"a blocked prompt", []string{
			`"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},` + usage(`"promptTokenCount": 8,"totalTokenCount": 8,`+promptDetail) + "," + geminiAfter,
		}, "gemini-2.5-flash r-1 8/0 [PROHIBITED_CONTENT]"},
		{"an error after two parts", []string{
			piece("A", `"promptTokenCount": 8,"candidatesTokenCount": 1,"totalTokenCount": 9`), piece("B", `"promptTokenCount": 8,"candidatesTokenCount": 2,"totalTokenCount": 10`),
			`"error": {"code": 503,"message": "The model is overloaded.","status": "UNAVAILABLE"}`,
		}, "gemini-2.5-flash r-1 8/2 []  error_event"},
		{"no end", []string{piece("A", `"promptTokenCount": 8,"candidatesTokenCount": 1,"totalTokenCount": 9`)}, "gemini-2.5-flash r-1 8/1 []  provider_cut"},
		{"an unspecified finish reason", []string{
			strings.Replace(end("A", `"promptTokenCount": 8,"candidatesTokenCount": 1,"totalTokenCount": 9`), "STOP", noReason, 1),
		}, "gemini-2.5-flash r-1 8/1 []  provider_cut"},
		{"audio", []string{
			piece("A", `"promptTokenCount": 100,"candidatesTokenCount": 5,"totalTokenCount": 105`),
			end("B", `"promptTokenCount": 100,"cachedContentTokenCount": 40,"candidatesTokenCount": 30,"totalTokenCount": 130,"promptTokensDetails": [{"modality": "TEXT","tokenCount": 20},{"modality": "AUDIO","tokenCount": 80}],`+
				`"cacheTokensDetails": [{"modality": "AUDIO","tokenCount": 30},{"modality": "TEXT","tokenCount": 10}],"candidatesTokensDetails": [{"modality": "AUDIO","tokenCount": 25}]`),
		}, "gemini-2.5-flash r-1 100/30 cached 40 audio 50 spoken 25 [STOP]"},
	}
}

func TestGeminiStreams(t *testing.T) {
	for _, shape := range geminiStreams() {
		elements := asElements(shape.parts...)
		for what, body := range map[string]string{
			"events": asEvents(shape.parts...), "events without carriage returns": strings.ReplaceAll(asEvents(shape.parts...), "\r", ""),
			"array": elements, "array in one line": "[{" + strings.Join(shape.parts, "},{") + "}]",
		} {
			contentType := isEvents
			if strings.HasPrefix(what, "array") {
				contentType = isJSON
			}
			t.Run(shape.name+", "+what, func(t *testing.T) {
				for _, size := range []int{1, 7, 100, 1000, len(body)} {
					call := geminiCall(streamGenerateContent, contentType, false, splitText(body, size)...)
					if got := describeGemini(call); got != shape.want {
						t.Errorf("in pieces of %d bytes: %q, want %q", size, got, shape.want)
					}
					if call.FirstChunk == 0 {
						t.Errorf("in pieces of %d bytes: there is no first chunk", size)
					}
				}
				if contentType == isEvents {
					call := geminiCall(streamGenerateContent, isJSON, false, splitText(body, 50)...)
					if got := describeGemini(call); got != shape.want {
						t.Errorf("declared as JSON: %q, want %q", got, shape.want)
					}
				}
			})
		}
	}
}

func TestGeminiResponses(t *testing.T) {
	const text = `"candidates": [{"content": {"parts": [{"text": "Hello"}],"role": "model"},"finishReason": "STOP","index": 0}],`
	usage := func(counts string) string { return text + `"usageMetadata": {` + counts + `},` + geminiAfter }
	tests := []struct {
		name string
		kind kind
		body string
		want string
	}{
		{"a text", generateContent, usage(`"promptTokenCount": 8,"candidatesTokenCount": 14,"totalTokenCount": 22,` + promptDetail), "gemini-2.5-flash r-1 8/14 [STOP]"},
		{"thinking", generateContent, usage(`"promptTokenCount": 8,"candidatesTokenCount": 14,"thoughtsTokenCount": 500,"totalTokenCount": 522`), "gemini-2.5-flash r-1 8/514 reasoning 500 [STOP]"},
		{"nothing but thinking", generateContent, usage(`"promptTokenCount": 8,"thoughtsTokenCount": 500,"totalTokenCount": 508`), "gemini-2.5-flash r-1 8/500 reasoning 500 [STOP]"},
		{"thinking that the candidates include", generateContent, usage(`"promptTokenCount": 8,"candidatesTokenCount": 514,"thoughtsTokenCount": 500,"totalTokenCount": 522`), "gemini-2.5-flash r-1 8/514 reasoning 500 [STOP]"},
		{"thinking in the total only", generateContent, usage(`"promptTokenCount": 8,"candidatesTokenCount": 14,"totalTokenCount": 522`), "gemini-2.5-flash r-1 8/514 [STOP]"},
		{"a cache", generateContent, usage(`"promptTokenCount": 2100,"cachedContentTokenCount": 2048,"candidatesTokenCount": 14,"totalTokenCount": 2114`), "gemini-2.5-flash r-1 2100/14 cached 2048 [STOP]"},
		{"results of tools", generateContent, usage(`"promptTokenCount": 8,"toolUsePromptTokenCount": 300,"candidatesTokenCount": 14,"totalTokenCount": 322,"toolUsePromptTokensDetails": [{"modality": "TEXT","tokenCount": 300}]`),
			"gemini-2.5-flash r-1 308/14 [STOP]"},
		{"an image", generateContent, `"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/png","data": "` + strings.Repeat("iVBO", 2000) + `"}}],"role": "model"},"finishReason": "STOP","index": 0}],` +
			`"usageMetadata": {"promptTokenCount": 8,"candidatesTokenCount": 1290,"totalTokenCount": 1298,"candidatesTokensDetails": [{"modality": "IMAGE","tokenCount": 1290}]},` + geminiAfter, "gemini-2.5-flash r-1 8/1290 [STOP]"},
		{"an image of 2 MB", generateContent, `"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/png","data": "` + strings.Repeat("iVBO", 500000) + `"}}],"role": "model"},"finishReason": "STOP","index": 0}],` +
			`"usageMetadata": {"promptTokenCount": 8,"candidatesTokenCount": 1290,"totalTokenCount": 1298},` + geminiAfter, "gemini-2.5-flash r-1 8/1290 [STOP]"},
		{"a finish reason within an image of 2 MB", generateContent, `"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/png","data": "` + strings.Repeat("iVBO", 500000) + `"},"x": [{"finishReason": "SAFETY"}]}],"role": "model"},"index": 0}],` +
			`"usageMetadata": {"promptTokenCount": 8,"candidatesTokenCount": 1290,"totalTokenCount": 1298},` + geminiAfter, "gemini-2.5-flash r-1 8/1290 []"},
		{"a blocked prompt", generateContent, `"promptFeedback": {"blockReason": "SAFETY"},"usageMetadata": {"promptTokenCount": 8,"totalTokenCount": 8},` + geminiAfter, "gemini-2.5-flash r-1 8/0 [SAFETY]"},
		{"an error", generateContent, `"error": {"code": 503,"message": "no","status": "UNAVAILABLE"}`, "?/? []  error_event"},
		{"no error", generateContent, usage(`"promptTokenCount": 8,"candidatesTokenCount": 14`) + `,"error": null`, "gemini-2.5-flash r-1 8/14 [STOP]"},
		{"no usage", generateContent, text + geminiAfter, "gemini-2.5-flash r-1 ?/? [STOP]"},
		{"no output", generateContent, usage(`"promptTokenCount": 8`), "gemini-2.5-flash r-1 8/? [STOP]"},
		{"no input", generateContent, usage(`"candidatesTokenCount": 14`), "gemini-2.5-flash r-1 ?/14 [STOP]"},
		{"counts of text", generateContent, usage(`"promptTokenCount": "8","candidatesTokenCount": 14`), "gemini-2.5-flash r-1 ?/? [STOP]"},
		{"counts below 0", generateContent, usage(`"promptTokenCount": 8,"candidatesTokenCount": -14`), "gemini-2.5-flash r-1 ?/? [STOP]"},
		{"counts that no model reads", generateContent, usage(`"promptTokenCount": 8,"candidatesTokenCount": 1e13`), "gemini-2.5-flash r-1 ?/? [STOP]"},
		{"a total below the sum", generateContent, usage(`"promptTokenCount": 8,"candidatesTokenCount": 14,"totalTokenCount": 3`), "gemini-2.5-flash r-1 8/14 [STOP]"},
		{"parts beyond the whole", generateContent, usage(`"promptTokenCount": 8,"cachedContentTokenCount": 9,"candidatesTokenCount": 14`), "gemini-2.5-flash r-1 8/14 [STOP]"},
		{"Vertex AI", generateContent, usage(`"promptTokenCount": 8,"candidatesTokenCount": 14,"totalTokenCount": 22,"trafficType": "ON_DEMAND_PRIORITY"`), "gemini-2.5-flash r-1 8/14 [STOP] ON_DEMAND_PRIORITY"},
		{"an embedding", embedContent, `"embedding": {"values": [0.1,0.2]}`, "?/? []"},
		{"an embedding with counts", embedContent, `"embedding": {"values": [` + strings.Repeat("0.1,", 3000) + `0.2]},"usageMetadata": {"promptTokenCount": 8,"totalTokenCount": 8}`, "8/? []"},
		{"embeddings with counts", batchEmbedContents, `"embeddings": [` + strings.Repeat(`{"values": [`+strings.Repeat("0.1,", 3000)+`0.2]},`, 100) + `{"values": [1]}],"usageMetadata": {"promptTokenCount": 800}`, "800/? []"},
		{"counted tokens", countContents, `"totalTokens": 31,"cachedContentTokenCount": 3,"promptTokensDetails": [{"modality": "TEXT","tokenCount": 31}]`, "?/? []"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			body := "{" + test.body + "}\n"
			for _, size := range []int{len(body), 32 << 10} {
				if got := describeGemini(geminiCall(test.kind, isJSON, false, splitText(body, size)...)); got != test.want {
					t.Errorf("in pieces of %d bytes: %q, want %q", size, got, test.want)
				}
			}
		})
	}
}

// TestLargeGeminiStreams has images of 2 MB in a stream.
func TestLargeGeminiStreams(t *testing.T) {
	parts := []string{
		fmt.Sprintf(geminiPiece, "A") + `,"usageMetadata": {"promptTokenCount": 8,"candidatesTokenCount": 1,"totalTokenCount": 9},` + geminiAfter,
		`"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/png","data": "` + strings.Repeat("iVBO", 500000) + `"}}],"role": "model"},"finishReason": "STOP","index": 0}],` +
			`"usageMetadata": {"promptTokenCount": 8,"candidatesTokenCount": 1290,"totalTokenCount": 1298},` + geminiAfter,
	}
	const want = "gemini-2.5-flash r-1 8/1290 [STOP]"
	for contentType, body := range map[string]string{isEvents: asEvents(parts...), isJSON: asElements(parts...)} {
		for _, size := range []int{5000, 32 << 10, len(body)} {
			if got := describeGemini(geminiCall(streamGenerateContent, contentType, false, splitText(body, size)...)); got != want {
				t.Errorf("%s in pieces of %d bytes: %q, want %q", contentType, size, got, want)
			}
			begun := splitText(body[:len(body)-300], size)
			if got, want := describeGemini(geminiCall(streamGenerateContent, contentType, true, begun...)), "gemini-2.5-flash r-1 8/1 []  provider_cut"; got != want {
				t.Errorf("%s in pieces of %d bytes, cut off: %q, want %q", contentType, size, got, want)
			}
		}
	}
}

// geminiReference reads a streamed response that may be cut off, part by part.
func geminiReference(text string, isArray bool) string {
	var parts []string
	isClosed := false
	if isArray {
		decoder := json.NewDecoder(strings.NewReader(text))
		if _, err := decoder.Token(); err == nil {
			for decoder.More() {
				var part json.RawMessage
				if decoder.Decode(&part) != nil {
					break
				}
				parts = append(parts, string(part))
			}
			token, _ := decoder.Token()
			isClosed = token == json.Delim(']')
		}
	} else {
		for _, event := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n") {
			if strings.Trim(event, "\r\n") != "" {
				parts = append(parts, strings.TrimPrefix(strings.TrimLeft(event, "\n"), "data:"))
			}
		}
	}
	call := &Call{}
	open, ended, failed, isBlocked, isLastEnd := map[int]bool{}, map[int]bool{}, false, false, false
	for _, part := range parts {
		var members struct {
			Candidates []struct {
				Index        int    `json:"index"`
				FinishReason string `json:"finishReason"`
			} `json:"candidates"`
			Usage *struct {
				Prompt     *int64 `json:"promptTokenCount"`
				Candidates int64  `json:"candidatesTokenCount"`
				Thoughts   int64  `json:"thoughtsTokenCount"`
			} `json:"usageMetadata"`
			Feedback struct {
				BlockReason string `json:"blockReason"`
			} `json:"promptFeedback"`
			Error any
		}
		isLastEnd = strings.Contains(part, `Reason"`) && json.Valid([]byte(part))
		if json.Unmarshal([]byte(part), &members) != nil {
			continue
		}
		failed = failed || members.Error != nil
		for _, c := range members.Candidates {
			for i := 0; i <= c.Index; i++ {
				open[i] = true
			}
			ended[c.Index] = ended[c.Index] || (c.FinishReason != "" && c.FinishReason != noReason)
		}
		switch {
		case members.Feedback.BlockReason != "":
			isBlocked = true // no candidate follows, whichever have begun
		case len(members.Candidates) > 0:
			isBlocked = false
		}
		if u := members.Usage; u != nil && u.Prompt != nil {
			call.Response.Usage = Usage{InputKnown: true, OutputKnown: true, InputTokens: *u.Prompt, OutputTokens: u.Candidates + u.Thoughts}
		}
	}
	isFinished := len(open) > 0
	for index := range open {
		isFinished = isFinished && ended[index]
	}
	isFinished = isFinished || isBlocked
	switch {
	case failed:
		call.ErrorType = errorErrorEvent
	case !isFinished || (isArray && !isClosed) || (!isArray && !isLastEnd):
		call.ErrorType = errorProviderCut
	}
	u := call.Response.Usage
	return fmt.Sprint(u.InputKnown, u.InputTokens, u.OutputTokens, call.ErrorType)
}

// TestGeminiStreamsCutAtEveryByte cuts each streamed response after every byte: what is recorded is what the complete parts
// say, in any pieces.
func TestGeminiStreamsCutAtEveryByte(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for _, shape := range geminiStreams() {
		for _, isArray := range []bool{false, true} {
			body, contentType := asEvents(shape.parts...), isEvents
			if isArray {
				body, contentType = asElements(shape.parts...), isJSON
			}
			for cut := 0; cut <= len(body); cut++ {
				pieces := splitText(body[:cut], 1+random.Intn(400))
				call := geminiCall(streamGenerateContent, contentType, true, pieces...)
				u := call.Response.Usage
				got := fmt.Sprint(u.InputKnown, u.InputTokens, u.OutputTokens, call.ErrorType)
				if want := geminiReference(body[:cut], isArray); got != want {
					t.Fatalf("%s, array %t: after %d bytes: %s, want %s: %s", shape.name, isArray, cut, got, want, end(body[:cut]))
				}
			}
		}
	}
}

func end(text string) string {
	if len(text) > 200 {
		return text[len(text)-200:]
	}
	return text
}

// FuzzGeminiStream puts parts together, in events or in an array, cut anywhere and in any pieces: the record is that of the
// reference, and that of a response in one piece.
func FuzzGeminiStream(f *testing.F) {
	var all []string
	for _, shape := range geminiStreams() {
		all = append(all, shape.parts...)
	}
	for i := range all {
		f.Add([]byte{byte(i)}, false, uint16(0), []byte{7, 200, 3})
		f.Add([]byte{byte(i + 1), byte(i)}, i%2 == 0, uint16(0), []byte{48})
		f.Add([]byte{byte(i), byte(i + 1), byte(i + 7), byte(i)}, true, uint16(i*10), []byte{255, 255, 1})
	}
	f.Fuzz(func(t *testing.T, order []byte, isArray bool, cut uint16, cuts []byte) {
		if len(order) > 40 || len(cuts) > 100 || len(order) == 0 {
			return
		}
		var parts []string
		for _, b := range order {
			parts = append(parts, all[int(b)%len(all)])
		}
		body, contentType := asEvents(parts...), isEvents
		if isArray {
			body, contentType = asElements(parts...), isJSON
		}
		body = body[:len(body)-int(cut)%(len(body)+1)]
		var pieces []string
		rest := body
		for _, size := range cuts {
			if int(size) < len(rest) {
				pieces = append(pieces, rest[:size])
				rest = rest[size:]
			}
		}
		call := geminiCall(streamGenerateContent, contentType, true, append(pieces, rest)...)
		u := call.Response.Usage
		if got, want := fmt.Sprint(u.InputKnown, u.InputTokens, u.OutputTokens, call.ErrorType), geminiReference(body, isArray); got != want {
			t.Errorf("%s, want %s: array %t, %q", got, want, isArray, body)
		}
		whole := geminiCall(streamGenerateContent, contentType, true, body)
		if !reflect.DeepEqual(call.Response, whole.Response) || call.ErrorType != whole.ErrorType {
			t.Errorf("in pieces %+v %s, want %+v %s", call.Response, call.ErrorType, whole.Response, whole.ErrorType)
		}
	})
}

// discarding is a client that keeps nothing.
type discarding struct{ header http.Header }

func (d *discarding) Header() http.Header         { return d.header }
func (d *discarding) WriteHeader(int)             {}
func (d *discarding) Write(p []byte) (int, error) { return len(p), nil }
func (d *discarding) Flush()                      {}

// TestLargeGeminiStreamsAreReadInBoundedMemory streams 30 MB of events and of elements.
func TestLargeGeminiStreamsAreReadInBoundedMemory(t *testing.T) {
	const most = 6 << 20
	part := fmt.Sprintf(geminiPiece, strings.Repeat("Once upon a time. ", 50)) + `,"usageMetadata": {"promptTokenCount": 8,"candidatesTokenCount": 250},` + geminiAfter
	end := fmt.Sprintf(geminiEnd, "") + `,"usageMetadata": {"promptTokenCount": 8,"candidatesTokenCount": 7000},` + geminiAfter
	for contentType, texts := range map[string][3]string{
		isEvents: {"", asEvents(part), asEvents(end)}, isJSON: {"[", "{" + part + "}\n,\r\n", "{" + end + "}\n]\n"},
	} {
		call := &Call{Start: time.Now()}
		client := &discarding{http.Header{"Content-Type": {contentType}}}
		w := &responseWriter{
			ResponseWriter: client, client: client, registry: newRegistry(), call: call, start: call.Start, streamRequested: true,
			reader: &responseReader{record: &call.Response, kind: streamGenerateContent, wantsDetails: true},
		}
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write([]byte(texts[0]))
		chunk := []byte(strings.Repeat(texts[1], 32<<10/len(texts[1])))
		var begin, now runtime.MemStats
		for i := 0; i < 30<<20/len(chunk); i++ {
			_, _ = w.Write(chunk)
			if i%100 == 50 {
				runtime.GC()
				runtime.ReadMemStats(&now)
				if begin.HeapAlloc == 0 {
					begin = now
				} else if now.HeapAlloc > begin.HeapAlloc+most {
					t.Fatalf("%s: memory in use grows by %d KiB, want at most %d", contentType, (now.HeapAlloc-begin.HeapAlloc)>>10, most>>10)
				}
			}
		}
		_, _ = w.Write([]byte(texts[2]))
		endResponse(w)
		cleanup(w)
		finishWindow(w)
		if got, want := describeGemini(call), "gemini-2.5-flash r-1 8/7000 [STOP]"; got != want || !w.reader.ended {
			t.Errorf("%s: %q, ended: %t, want %q", contentType, got, w.reader.ended, want)
		}
	}
}

// FuzzGeminiUsage compares the usage of a response, of events and of an array with what its counts say.
func FuzzGeminiUsage(f *testing.F) {
	for _, numbers := range [][5]string{
		{"8", "14", "", "", "22"}, {"8", "14", "500", "", "522"}, {"8", "", "500", "", "508"}, {"8", "514", "500", "", "522"}, {"8", "", "", "", "8"}, {"8", "14", "", "300", "322"}, {"", "14", "", "", ""},
		{"8", "", "", "", ""}, {"8", "14", "", "", "522"}, {"-8", "14", "", "", ""}, {`"8"`, "14", "", "", ""}, {"8", "1e13", "", "", ""}, {"8.5", "14", "null", "0", "3"}, {"0", "0", "0", "0", "0"}, {"8", "14", "[]", "", "22"},
	} {
		f.Add(numbers[0], numbers[1], numbers[2], numbers[3], numbers[4])
	}
	f.Fuzz(func(t *testing.T, prompt, candidates, thoughts, toolUse, total string) {
		var members []string
		for i, value := range []string{prompt, candidates, thoughts, toolUse, total} {
			if value != "" && (!json.Valid([]byte(value)) || strings.TrimSpace(value) != value || !isPlainNumber(value)) {
				return
			}
			if value != "" {
				members = append(members, `"`+[]string{"promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "toolUsePromptTokenCount", "totalTokenCount"}[i]+`":`+value)
			}
		}
		part := fmt.Sprintf(geminiEnd, "Hi") + `,"usageMetadata":{` + strings.Join(members, ",") + "}," + geminiAfter
		want := geminiUsageReference(prompt, candidates, thoughts, toolUse, total)
		for what, call := range map[string]*Call{
			"a response":              geminiCall(generateContent, isJSON, false, "{"+part+"}"),
			"a response with details": geminiCall(generateContent, isJSON, false, "{"+part+`,"x":"`+strings.Repeat("x", 5000)+`"}`),
			"events":                  geminiCall(streamGenerateContent, isEvents, false, asEvents(part)),
			"an array":                geminiCall(streamGenerateContent, isJSON, false, "[{"+part+"}]"),
		} {
			u := call.Response.Usage
			if got := fmt.Sprint(u.InputKnown, u.InputTokens, u.OutputKnown, u.OutputTokens); got != want {
				t.Errorf("%s: %s, want %s: %s", what, got, want, part)
			}
		}
	})
}

// geminiUsageReference returns what the counts of a usage say, by the rules of docs/metering.md.
func geminiUsageReference(prompt, candidates, thoughts, toolUse, total string) string {
	in, hasIn, ok1 := referenceTokenCount(prompt)
	tool, _, ok2 := referenceTokenCount(toolUse)
	out, hasOut, ok3 := referenceTokenCount(candidates)
	thought, _, ok4 := referenceTokenCount(thoughts)
	all, hasAll, ok5 := referenceTokenCount(total)
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return fmt.Sprint(false, 0, false, 0)
	}
	if tool > 0 {
		in, hasIn = in+tool, true
	}
	if thought > 0 {
		isInside := hasOut && out >= thought && hasIn && hasAll && ok5 && all == in+out
		hasOut = true
		if !isInside {
			out += thought
		}
	}
	if hasAll && ok5 && hasIn && (all > in+out || (!hasOut && all >= in)) {
		out, hasOut = all-in, true
	}
	if !hasIn {
		in = 0
	}
	if !hasOut {
		out = 0
	}
	return fmt.Sprint(hasIn, in, hasOut, out)
}

// TestSmallContentsAreReadAsAnyOther reads small responses of Gemini's protocol in both ways.
func TestSmallContentsAreReadAsAnyOther(t *testing.T) {
	const usual = `{"modelVersion":"m","responseId":"r","candidates":[{"content":{"parts":[{"text":"Hi"}],"role":"model"},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":20,"candidatesTokenCount":7,` +
		`"thoughtsTokenCount":3,"cachedContentTokenCount":5,"totalTokenCount":30}}`
	read := func(body string, small bool) (*Call, bool) {
		c := &Call{}
		reader := &responseReader{record: &c.Response, kind: generateContent, wantsDetails: true}
		if small {
			if !readSmallContents(reader, []byte(body)) {
				return nil, false
			}
		} else {
			readDocument(reader, []byte(body))
		}
		fillDetails([]*Call{c})
		return c, reader.failed
	}
	if c, _ := read(usual, true); c == nil {
		t.Error("the usual response is not read as a small one")
	}
	compareItems(t, usual, read)
	compareItems(t, strings.Replace(usual, `"index":0`, `"safetyRatings":[]`, 1), read)
	compareItems(t, strings.Replace(usual, `"thoughtsTokenCount":3,`, "", 1), read)
	compareItems(t, strings.Replace(strings.Replace(usual, `"thoughtsTokenCount":3,`, "", 1), ":30}", ":27}", 1), read)
	values := []string{`null`, `0`, `""`, `"x"`, `"STOP"`, `"null"`, `"FINISH_REASON_UNSPECIFIED"`, `"\u0001"`, `1`, `1.5`, `20`, `30`, `-1`, `1e13`, `9e18`, `{}`, `[]`, `[{}]`, `{"blockReason":"x"}`, `{"error":"x"}`}
	for _, name := range []string{"modelVersion", "responseId", "candidates", "usageMetadata", "promptFeedback", "error", "Error", "model"} {
		for _, value := range values {
			compareItems(t, withoutMember(strings.TrimSuffix(usual, "}"), name)+`,"`+name+`":`+value+"}", read)
		}
	}
	for _, name := range []string{"promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "cachedContentTokenCount", "totalTokenCount", "toolUsePromptTokenCount", "serviceTier"} {
		for _, value := range values {
			compareItems(t, withoutMember(strings.TrimSuffix(usual, "}}"), name)+`,"`+name+`":`+value+"}}", read)
		}
	}
	for _, value := range values {
		compareItems(t, strings.Replace(usual, `"index":0`, `"index":`+value, 1), read)
		compareItems(t, strings.Replace(usual, `"STOP"`, value, 1), read)
		compareItems(t, strings.Replace(usual, `"index":0}`, `"index":0},`+value, 1), read)
		compareItems(t, strings.Replace(usual, `"index":0}`, `"index":0},{"index":1,"finishReason":`+value+`}`, 1), read)
	}
}
