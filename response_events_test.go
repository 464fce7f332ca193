package chatcompletion

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// readResponse reads a response in pieces, each in its own window.
func readResponse(kind kind, stream bool, pieces ...string) *responseReader {
	reader := &responseReader{record: &Response{}, kind: kind, stream: stream, wantsDetails: true}
	readPieces(reader, pieces...)
	return reader
}

// readPieces has a reader read a response in pieces, each in its own window.
func readPieces(reader *responseReader, pieces ...string) {
	window := []byte{}
	if reader.stream && !reader.array {
		window = []byte("\n")
	}
	for _, piece := range pieces {
		window = append(window, piece...)
		window = append([]byte{}, scanWindow(reader, window, false)...)
	}
	scanWindow(reader, window, true)
}

// splitText splits a text into pieces of a size.
func splitText(text string, size int) []string {
	var pieces []string
	for len(text) > size {
		pieces = append(pieces, text[:size])
		text = text[size:]
	}
	return append(pieces, text)
}

// knownUsage returns a usage of input, cached input, output and reasoning tokens.
func knownUsage(input, cached, output, reasoning int64) Usage {
	return Usage{InputKnown: true, OutputKnown: true, InputTokens: input, CacheReadInputTokens: cached, OutputTokens: output, ReasoningOutputTokens: reasoning}
}

// Parts of responses. The names in the client's tools imitate the members that the reader scans for.
const (
	responseTools = `"tools":[{"type":"function","name":"report","parameters":{"type":"object","properties":{"error":{"type":"string"},"model":{"type":"string"},` +
		`"usage":{"input_tokens":999,"output_tokens":999}},"x":{"type":"response.completed"}}}]`
	responseHead  = `"id":"resp_1","object":"response","created_at":1760000000,"status":"%s","background":false,"error":%s,"incomplete_details":null,"instructions":null,"model":"gpt-5-2025-08-07",`
	responseText  = `"output":[{"id":"msg_1","type":"message","status":"completed","content":[{"type":"output_text","text":"event: response.failed\n\n\"usage\":{\"output_tokens\":7}\nevent: error\ndata: {\"error\":{}}","annotations":[]}],"role":"assistant"}],`
	responseUsage = `{"input_tokens":75,"input_tokens_details":{"cached_tokens":11},"output_tokens":1186,"output_tokens_details":{"reasoning_tokens":1024},"total_tokens":1261}`
)

func responseObject(status, failure, usage string) string {
	return "{" + fmt.Sprintf(responseHead, status, failure) + responseText + responseTools + `,"usage":` + usage + `,"metadata":{"error":"usage"}}`
}

// responseEvents returns the events of a stream, each with its name and its data.
func responseEvents(last string) [][2]string {
	events := [][2]string{
		{"response.created", `"response":` + responseObject("in_progress", "null", "null")},
		{"response.in_progress", `"response":` + responseObject("in_progress", "null", "null")},
		{"response.output_text.delta", `"item_id":"msg_1","delta":"\n\nevent: response.completed\ndata: {\"type\":\"response.completed\""`},
		{"response.output_item.done", `"item":{"error":{"message":"a tool failed"}}`},
	}
	switch last {
	case "response.completed", "response.done":
		events = append(events, [2]string{last, `"response":` + responseObject("completed", "null", responseUsage)})
	case "response.incomplete":
		events = append(events, [2]string{last, `"response":` + responseObject("incomplete", "null", responseUsage)})
	case "response.failed":
		events = append(events, [2]string{last, `"response":` + responseObject("failed", `{"code":"server_error","message":"m"}`, "null")})
	case "error":
		events = append(events, [2]string{last, `"code":"server_error","message":"m","param":null`})
	}
	return events
}

// spellings are ways to write an event: %[1]s is its type, %[2]s is the rest of its data.
var spellings = map[string]string{
	"OpenAI":           "event: %[1]s\ndata: {\"type\":\"%[1]s\",\"sequence_number\":1,%[2]s}\n\n",
	"type at the end":  "event: %[1]s\ndata: {\"sequence_number\":1,%[2]s,\"type\":\"%[1]s\"}\n\n",
	"without spaces":   "event:%[1]s\ndata:{\"type\":\"%[1]s\",%[2]s}\n\n",
	"data only":        "data: {\"type\":\"%[1]s\",%[2]s}\n\n",
	"data with spaces": "data: { \"type\" : \"%[1]s\" , %[2]s }\n\n",
	"several lines":    "event: %[1]s\ndata: {\ndata: \"type\": \"%[1]s\",\ndata: %[2]s\ndata: }\n\n",
	"carriage returns": "event: %[1]s\r\ndata: {\"type\": \"%[1]s\", %[2]s}\r\n\r\n",
}

func writeEvents(spelling string, events [][2]string) string {
	text := ""
	for _, e := range events {
		text += fmt.Sprintf(spelling, e[0], e[1])
	}
	return text
}

func TestResponsesStreamEnding(t *testing.T) {
	type ending struct {
		ended, failed bool
		usage         Usage
		reasons       []string
	}
	tests := map[string]ending{
		"response.completed":  {true, false, knownUsage(75, 11, 1186, 1024), []string{"completed"}},
		"response.incomplete": {true, false, knownUsage(75, 11, 1186, 1024), []string{"incomplete"}},
		"response.done":       {true, false, knownUsage(75, 11, 1186, 1024), []string{"completed"}},
		"response.failed":     {true, true, Usage{}, []string{"failed"}},
		"error":               {true, true, Usage{}, nil},
		"":                    {},
	}
	for name, spelling := range spellings {
		for last, want := range tests {
			stream := writeEvents(spelling, responseEvents(last))
			end := spelling[strings.LastIndex(spelling, "}")+1:]
			step := 17
			if name == "OpenAI" && last == "response.completed" {
				step = 1
			}
			for i := 0; i <= len(stream); i += step {
				reader := readResponse(responses, true, stream[:i], stream[i:])
				if got := (ending{reader.ended, reader.failed, reader.record.Usage, reader.record.FinishReasons}); !reflect.DeepEqual(got, want) {
					t.Fatalf("%s, %q, split at %d: got %+v, want %+v", name, last, i, got, want)
				}
				if reader.record.Model != "gpt-5-2025-08-07" || reader.record.ID != "resp_1" || reader.events != strings.Count("\n"+stream, "\ndata:") {
					t.Fatalf("%s, %q, split at %d: model %q, ID %q, %d events", name, last, i, reader.record.Model, reader.record.ID, reader.events)
				}
				if cut := readResponse(responses, true, stream[:i]); i < len(stream)-len(end) && (cut.ended || cut.record.Usage.InputKnown) {
					t.Fatalf("%s, %q, truncated at %d: got %+v, want no end and no usage", name, last, i, cut)
				}
			}
			if reader := readResponse(responses, true, splitText(stream, 3)...); reader.ended != want.ended || reader.record.Usage != want.usage {
				t.Errorf("%s, %q, in pieces: got %+v, want %+v", name, last, reader, want)
			}
		}
	}
}

func TestResponsesStreamError(t *testing.T) {
	for _, line := range []string{`data: {"error":{"message":"m"}}`, `data: {"error": "m"}`, `data:{"type":"error","message":"m"}`, "event: error"} {
		if reader := readResponse(responses, true, line+"\n\n"); !reader.failed {
			t.Errorf("%q: no failure, want one", line)
		}
	}
	for _, line := range []string{`data: {"error":null}`, `data: {"response":{"error":{}}}`, "event: errors", ": event: error"} {
		if reader := readResponse(responses, true, line+"\n\n"); reader.failed || reader.ended {
			t.Errorf("%q: failure, want none", line)
		}
	}
}

// TestResponsesLongFinalEvent reads the final event in several windows.
func TestResponsesLongFinalEvent(t *testing.T) {
	long := strings.Repeat("Once upon a time. ", 2000)
	stream := writeEvents(spellings["OpenAI"], responseEvents("response.completed"))
	at := strings.LastIndex(stream, `"text":"`) + len(`"text":"`)
	stream = stream[:at] + long + stream[at:]
	for size := 500; size < len(stream); size *= 3 {
		if reader := readResponse(responses, true, splitText(stream, size)...); !reader.ended || reader.failed || reader.record.Usage != knownUsage(75, 11, 1186, 1024) {
			t.Errorf("in pieces of %d: got %+v", size, reader)
		}
	}
}

func TestResponsesWithoutStream(t *testing.T) {
	large := func(text string) string {
		return strings.Replace(text, `"text":"`, `"text":"`+strings.Repeat("x", wholeMaxBytes), 1)
	}
	completed := responseObject("completed", "null", responseUsage)
	tests := []struct {
		name, body string
		failed     bool
		usage      Usage
		reasons    []string
	}{
		{"completed", completed, false, knownUsage(75, 11, 1186, 1024), []string{"completed"}},
		{"incomplete", responseObject("incomplete", "null", responseUsage), false, knownUsage(75, 11, 1186, 1024), []string{"incomplete"}},
		{"queued", responseObject("queued", "null", "null"), false, Usage{}, []string{"queued"}},
		{"failed", responseObject("failed", `{"code":"server_error","message":"m"}`, "null"), true, Usage{}, []string{"failed"}},
		{"failed without an error", responseObject("failed", "null", "null"), true, Usage{}, []string{"failed"}},
		{"an error alone", `{"error":{"message":"m"}}`, true, Usage{}, nil},
		{"usage of no tokens", responseObject("completed", "null", `{"input_tokens":0,"output_tokens":0}`), false, knownUsage(0, 0, 0, 0), []string{"completed"}},
		{"usage of chat completions", responseObject("completed", "null", `{"prompt_tokens":1,"completion_tokens":2}`), false, knownUsage(1, 0, 2, 0), []string{"completed"}},
		{"large", large(completed), false, knownUsage(75, 11, 1186, 1024), []string{"completed"}},
	}
	for _, test := range tests {
		for _, size := range []int{16 << 10, 16 << 20} {
			reader := readResponse(responses, false, splitText(test.body, size)...)
			if reader.failed != test.failed || reader.record.Usage != test.usage || !reflect.DeepEqual(reader.record.FinishReasons, test.reasons) {
				t.Errorf("%s, in pieces of %d: got %+v", test.name, size, reader)
			}
			if strings.Contains(test.body, `"model"`) && (reader.record.Model != "gpt-5-2025-08-07" || reader.record.ID != "resp_1") {
				t.Errorf("%s: model %q, ID %q", test.name, reader.record.Model, reader.record.ID)
			}
		}
	}
}

func TestEmbeddingsUsage(t *testing.T) {
	input := func(tokens int64) Usage { return Usage{InputKnown: true, InputTokens: tokens} }
	floats := strings.Repeat(`{"object":"embedding","index":0,"embedding":[0.0023064255,-0.009327292]},`, 1000)
	tests := []struct {
		name, usage string
		want        Usage
	}{
		{"OpenAI", `{"prompt_tokens":8,"total_tokens":8}`, input(8)},
		{"vLLM", `{"prompt_tokens":8,"total_tokens":8,"completion_tokens":0,"prompt_tokens_details":null}`, input(8)},
		{"Voyage", `{"total_tokens":8}`, input(8)},
		{"total above", `{"prompt_tokens":8,"total_tokens":12}`, input(8)},
		{"output", `{"prompt_tokens":8,"completion_tokens":4,"total_tokens":12}`, input(8)},
		{"zero", `{"prompt_tokens":0,"total_tokens":0}`, input(0)},
		{"input_tokens", `{"input_tokens":8}`, input(8)},
		{"null", `null`, Usage{}},
		{"empty", `{}`, Usage{}},
		{"negative", `{"prompt_tokens":-8}`, Usage{}},
		{"text", `{"prompt_tokens":"8"}`, Usage{}},
	}
	for _, test := range tests {
		for _, body := range []string{
			`{"object":"list","data":[` + strings.TrimSuffix(floats, ",") + `],"model":"m","usage":` + test.usage + `}`,
			`{"usage":` + test.usage + `,"model":"m","object":"list","data":[` + strings.TrimSuffix(floats, ",") + `]}`,
		} {
			if reader := readResponse(embeddings, false, body[:5000], body[5000:]); reader.record.Usage != test.want || reader.record.Model != "m" || reader.failed {
				t.Errorf("%s: got %+v", test.name, reader)
			}
		}
	}
}

// TestEmbeddingsReportNoOutputTokens checks the access-log headers, the log line and the span.
func TestEmbeddingsReportNoOutputTokens(t *testing.T) {
	c := &Call{Target: &Target{}, Request: &Request{}, Trace: &Trace{}, Response: Response{Usage: Usage{InputKnown: true, InputTokens: 8}}}
	header := http.Header{}
	setLogHeaders(header, &decision{}, c)
	if input, output := header.Get(inputTokensHeader), header[outputTokensHeader]; input != "8" || output != nil {
		t.Errorf("input and output tokens %q and %q, want 8 and none", input, output)
	}
	for name, text := range map[string]string{"line": string(newLine(c, semconvBoth)), "span": string(spanPayload(nil, semconvBoth, requestTexts{}, []*Call{c}))} {
		if !strings.Contains(text, "gen_ai.usage.input_tokens") || strings.Contains(text, "output_tokens") {
			t.Errorf("%s: %s, want input tokens and no output tokens", name, text)
		}
	}
}

func BenchmarkResponsesEvents(b *testing.B) {
	event := fmt.Sprintf(spellings["OpenAI"], "response.output_text.delta", `"item_id":"msg_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b","output_index":0,"content_index":0,"delta":"Hello","logprobs":[],"obfuscation":"x9Zt"`)
	window := []byte("\n" + strings.Repeat(event, windowChunks))
	b.SetBytes(int64(len(window)))
	for i := 0; i < b.N; i++ {
		scanWindow(&responseReader{record: &Response{Model: "m"}, kind: responses, stream: true}, window, false)
	}
}
