package chatcompletion

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// usageNames are the names of the members of a usage, alternating between input and output.
var usageNames = []string{"prompt_tokens", "completion_tokens", "input_tokens", "output_tokens"}

// referenceTokenCount reads a number by the rules of docs/metering.md, without regard to speed. It reports whether there is a
// number, and whether it is plausible.
func referenceTokenCount(value string) (count int64, has, ok bool) {
	if value == "" || value == "null" {
		return 0, false, true
	}
	number, isNumber := new(big.Rat).SetString(value)
	most := new(big.Rat).SetInt64(maxTokenCount)
	if !isNumber || strings.HasPrefix(value, `"`) || number.Sign() < 0 || number.Cmp(most) > 0 {
		return 0, true, false
	}
	return new(big.Int).Quo(number.Num(), number.Denom()).Int64(), true, true
}

// referenceUsage returns a usage as "input/output", either of them "" if it is unknown, or "" if both are. before are the
// counts of the usage before: a count that is absent or 0 leaves them.
func referenceUsage(input, output, total, before string) string {
	in, hasInput, inputOK := referenceTokenCount(input)
	out, hasOutput, outputOK := referenceTokenCount(output)
	if !inputOK || !outputOK || (!hasInput && !hasOutput) {
		return ""
	}
	if all, hasTotal, ok := referenceTokenCount(total); hasTotal && ok {
		switch {
		case hasInput && all > in+out:
			out, hasOutput = all-in, true
		case !hasInput && all > out:
			in, hasInput = all-out, true
		}
	}
	text := func(count int64, has bool) string {
		switch {
		case before != "" && count == 0:
			return before
		case !has:
			return ""
		}
		return fmt.Sprint(count)
	}
	return text(in, hasInput) + "/" + text(out, hasOutput)
}

// isPlainNumber reports whether big.Rat parses a number quickly.
func isPlainNumber(value string) bool {
	_, exponent, _ := strings.Cut(strings.ToLower(value), "e")
	return len(value) <= 40 && len(exponent) <= 3
}

// meteredUsage sends a request and returns the metered usage as referenceUsage does.
func meteredUsage(handler http.Handler, client *httptest.ResponseRecorder, request string) string {
	handler.ServeHTTP(client, httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(request)))
	header := client.Header()
	if header.Get(inputTokensHeader)+header.Get(outputTokensHeader) == "" {
		return ""
	}
	return header.Get(inputTokensHeader) + "/" + header.Get(outputTokensHeader)
}

// writeInPackets writes a response in packets of these sizes, and one with the rest.
func writeInPackets(rw http.ResponseWriter, response, sizes []byte) {
	for _, size := range sizes {
		if int(size) < len(response) {
			_, _ = rw.Write(response[:size])
			response = response[size:]
		}
	}
	_, _ = rw.Write(response)
}

// FuzzUsage compares the metered usage of a small response, a large one and a stream, in arbitrary packets, with the reference.
func FuzzUsage(f *testing.F) {
	for _, numbers := range [][3]string{
		{"6", "4", "10"}, {"6", "4", ""}, {"6", "4", "15"}, {"6", "4", "3"}, {"6", "4", "8"}, {"0", "0", "0"}, {"6", "", ""}, {"", "4", "9"}, {"6.0", "4e0", "15"}, {"6", "-1", "5"}, {"6", `"4"`, "10"},
		{"6", "4", `"15"`}, {"6", "null", "6"}, {"1000000000000", "1000000000000", "1000000000000"}, {"1000000000001", "4", "5"}, {"6", "4", "1000000000001"}, {"1e-400", "1", "2"}, {"[6]", "{}", "true"},
		{"9223372036854775807", "1", "1"}, {"-0", "4", "4"}, {"1.5", "2.9", "9"}, {"", "", "9"}, {"0", "4", "9"}, {"6", "0", "9"},
	} {
		for names := uint8(0); names < 4; names++ {
			f.Add(numbers[0], numbers[1], numbers[2], names, []byte{7, 200, 3})
		}
	}
	var response string
	var packets []byte
	provider := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if strings.HasPrefix(response, "data:") {
			rw.Header().Set("Content-Type", "text/event-stream")
		}
		writeInPackets(rw, []byte(response), packets)
	})
	handler, err := New(context.Background(), provider, CreateConfig(), "fuzz")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, input, output, total string, names uint8, cuts []byte) {
		if len(cuts) > 100 {
			return
		}
		if strings.ContainsAny(total, ".eE") {
			return // it is read only if the other numbers have this form, too
		}
		packets = cuts
		inputName, outputName := usageNames[names&2], usageNames[names&1*2+1]
		var members []string
		for i, value := range []string{input, output, total} {
			if value != "" && (!json.Valid([]byte(value)) || strings.TrimSpace(value) != value || !isPlainNumber(value)) {
				return
			}
			if value != "" {
				members = append(members, `"`+[]string{inputName, outputName, "total_tokens"}[i]+`":`+value)
			}
		}
		usage := `"usage":{` + strings.Join(members, ",") + `}`
		known := referenceUsage(input, output, total, "")
		const choices = `"choices":[{"index":0,"message":{"role":"assistant","content":"%s"},"finish_reason":"stop"}]`
		small, large := fmt.Sprintf(choices, "Hi"), fmt.Sprintf(choices, strings.Repeat("Hi ", 10000))
		for what, text := range map[string]string{
			"small response": `{"id":"c",` + small + "," + usage + "}", "usage first": "{" + usage + "," + small + `,"id":"c"}`,
			"large response": `{"id":"c",` + large + "," + usage + "}", "usage first in a large response": "{" + usage + "," + large + "}",
			"stream": "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}],\"usage\":null}\n\n" +
				"data: {\"choices\":[]," + usage + "}\n\ndata: [DONE]\n\n",
			"stream with usage in every event": strings.Repeat("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n", 40) +
				"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]," + usage + "}\n\ndata: [DONE]\n\n",
		} {
			want := known
			if strings.HasPrefix(what, "stream with usage") {
				want = referenceUsage(input, output, total, "1")
			}
			if strings.HasPrefix(what, "stream with usage") && want == "" {
				want = "1/1" // the previous usage counts then
			}
			response = text
			client := httptest.NewRecorder()
			if got := meteredUsage(handler, client, chatRequest); got != want {
				t.Errorf("%s: usage %q, want %q: %s", what, got, want, usage)
			}
			if client.Body.String() != text {
				t.Errorf("%s: body %.300q, want %.300q", what, client.Body, text)
			}
		}
	})
}

// endingEvents are events of the Responses API, some with texts that imitate others. %d is a number of input tokens.
var endingEvents = []string{
	"event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"status\":\"in_progress\",\"usage\":null}}\n\n",
	"event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}\n\n",
	"event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"\\nevent: response.failed\\ndata: {\\\"type\\\":\\\"error\\\"}\"}\n\n",
	"data: {\"type\":\"response.output_item.done\",\"item\":{\"type\":\"message\",\"error\":\"response.failed\",\"usage\":{\"input_tokens\":999,\"output_tokens\":999}}}\n\n",
	": response.failed\n\n",
	"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\",\"error\":null,\"usage\":{\"input_tokens\":%d,\"output_tokens\":7}}}\n\n",
	"data: {\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\",\"usage\":{\"input_tokens\":%d,\"output_tokens\":7}}}\n\n",
	"event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"x\"},\"usage\":{\"input_tokens\":%d,\"output_tokens\":7}}}\n\n",
	"event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"no\"}\n\n",
}

// FuzzResponsesStream ends streams of the Responses API in all ways, in arbitrary packets: the first event with the whole
// response determines the usage, and an error before it fails the stream.
func FuzzResponsesStream(f *testing.F) {
	for last := byte(0); last < 9; last++ {
		f.Add([]byte{0, 1, 2, 3, 4, last}, uint16(11), false, []byte{9, 200, 1, 1, 30})
		f.Add([]byte{0, last, 1, last}, uint16(last), true, []byte{})
		f.Add([]byte{8, last, 5}, uint16(last), true, []byte{48})
	}
	var response []byte
	var packets []byte
	provider := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		writeInPackets(rw, response, packets)
	})
	config := CreateConfig()
	config.Routes = map[string]string{"/v1/responses": "responses"}
	handler, err := New(context.Background(), provider, config, "fuzz")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, kinds []byte, input uint16, returns bool, cuts []byte) {
		if len(kinds) > 60 || len(cuts) > 100 {
			return
		}
		stream, want := "", "/"+errorProviderCut
		isOver, failure := false, ""
		for i, k := range kinds {
			n := int(k) % len(endingEvents)
			event := endingEvents[n]
			if strings.Contains(event, "%d") {
				event = fmt.Sprintf(event, int(input)+i)
			}
			stream += event
			if isOver || n < 5 {
				continue
			}
			if n >= 7 {
				failure = errorErrorEvent
			}
			want = "/" + failure
			if isOver = n < 8; isOver {
				want = fmt.Sprint(int(input)+i, "/", failure)
			}
		}
		if returns {
			stream = strings.ReplaceAll(stream, "\n", "\r\n")
		}
		response, packets = []byte(stream), cuts
		client := httptest.NewRecorder()
		handler.ServeHTTP(client, httptest.NewRequest(http.MethodPost, "/v1/responses", strings.NewReader(`{"model":"m","input":"Hi","stream":true}`)))
		header := client.Header()
		if got := header.Get(inputTokensHeader) + "/" + header.Get(errorTypeHeader); got != want {
			t.Errorf("input tokens and error.type %q, want %q: in packets of %v, %q", got, want, cuts, stream)
		}
		if client.Body.String() != stream {
			t.Errorf("body %.600q, want %.600q", client.Body, stream)
		}
	})
}
