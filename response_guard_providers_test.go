package chatcompletion

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// Ways in which providers stream one text. A secret that is split over their events is found, wherever it is
// split.
func TestGuardJoinsTextsAsProvidersSplitThem(t *testing.T) {
	const (
		chat      = "/v1/chat/completions"
		responses = "/v1/responses"
		messages  = "/v1/messages"
		gemini    = "/v1beta/models/m:streamGenerateContent?alt=sse"
		done      = "data: [DONE]\n\n"
	)
	data := func(text string) func(int, string) string {
		return func(_ int, piece string) string { return "data: " + format(text)(piece) + "\n\n" }
	}
	delta := func(members string) func(int, string) string {
		return data(`{"id":"c","choices":[{"index":0,"delta":{` + members + `},"finish_reason":null}]}`)
	}
	byTurns := func(one, other func(int, string) string) func(int, string) string {
		return func(i int, piece string) string {
			if i%2 == 0 {
				return one(i, piece)
			}
			return other(i, piece)
		}
	}
	numbered := func(text string) func(int, string) string {
		return func(i int, piece string) string {
			return "data: " + strings.ReplaceAll(format(text)(piece), "NUMBER", fmt.Sprint(i)) + "\n\n"
		}
	}
	for _, c := range []struct {
		name, path string
		member     string // of which the pieces are values
		event      func(i int, piece string) string
		end        string
	}{
		{"a text twice in each event", chat, "reasoning", delta(`"content":"","reasoning":"PIECE","reasoning_details":[{"type":"reasoning.text","text":"PIECE","index":0}]`), done},
		{"a text twice in each event, the second one", chat, "text", delta(`"content":"","reasoning":"PIECE","reasoning_details":[{"type":"reasoning.text","text":"PIECE","index":0}]`), done},
		{"two names for a text", chat, "reasoning_content", delta(`"reasoning":"PIECE","reasoning_content":"PIECE"`), done},
		{"a finish reason in each event", chat, "content", data(`{"choices":[{"index":0,"delta":{"content":"PIECE"},"finish_reason":"stop"}]}`), done},
		{"a finish reason of null as text", chat, "content", data(`{"choices":[{"index":0,"delta":{"content":"PIECE"},"finish_reason":"null"}]}`), done},
		{"message in place of delta", chat, "content", data(`{"choices":[{"index":0,"message":{"role":"assistant","content":"PIECE"}}]}`), done},
		{"escapes in a name", chat, `con(?:t|\\u0074)ent`, byTurns(delta(`"content":"PIECE"`), delta(`"con\u0074ent":"PIECE"`)), done},
		{"strings and parts", chat, "content|text", byTurns(delta(`"content":"PIECE"`), delta(`"content":[{"type":"text","text":"PIECE"}]`)), done},
		{"an error line beside", chat, "content", byTurns(delta(`"content":"PIECE"`), func(i int, piece string) string { return "error: x\n" + delta(`"content":"PIECE"`)(i, piece) }), done},
		{"a name of a function in pieces", chat, "name", delta(`"tool_calls":[{"index":0,"function":{"name":"PIECE"}}]`), done},
		{"another id in each event", chat, "arguments", numbered(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_NUMBER","function":{"arguments":"PIECE"}}]}}]}`), done},
		{"parts in a row", responses, "delta", numbered(`{"type":"response.output_text.delta","item_id":"i","output_index":0,"content_index":NUMBER,"delta":"PIECE"}` +
			"\n\ndata: " + `{"type":"response.output_text.done","item_id":"i","output_index":0,"content_index":NUMBER,"text":"x"}`), data(`{"type":"response.completed","response":{}}`)(0, "")},
		{"blocks in a row", messages, "text", numbered(`{"type":"content_block_start","index":NUMBER,"content_block":{"type":"text","text":""}}` +
			"\n\ndata: " + `{"type":"content_block_delta","index":NUMBER,"delta":{"type":"text_delta","text":"PIECE"}}` +
			"\n\ndata: " + `{"type":"content_block_stop","index":NUMBER}`), data(`{"type":"message_stop"}`)(0, "")},
		{"text where a block starts", messages, "text", byTurns(data(`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"PIECE"}}`),
			data(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"PIECE"}}`)), data(`{"type":"message_stop"}`)(0, "")},
		{"parts with other members", gemini, "text", byTurns(data(`{"candidates":[{"content":{"parts":[{"text":"PIECE"}]}}]}`), data(`{"candidates":[{"content":{"parts":[{"text":"PIECE","isFinal":true,"thought":false}]}}]}`)), ""},
		{"arguments by their path", gemini, "stringValue", byTurns(
			data(`{"candidates":[{"content":{"parts":[{"functionCall":{"partialArgs":[{"jsonPath":"$.a","boolValue":false},{"jsonPath":"$.b","stringValue":"PIECE"}]}}]}}]}`),
			data(`{"candidates":[{"content":{"parts":[{"functionCall":{"partialArgs":[{"jsonPath":"$.b","stringValue":"PIECE"}]}}]}}]}`)), ""},
		{"an array under the type of events", strings.TrimSuffix(gemini, "?alt=sse"), "text", func(i int, piece string) string {
			if i > 0 {
				return ",\n" + `{"candidates":[{"content":{"parts":[{"text":"` + piece + `"}]}}]}`
			}
			return `[{"candidates":[{"content":{"parts":[{"text":"` + piece + `"}]}}]}`
		}, "]"},
	} {
		for _, planted := range []struct {
			rule   GuardRule
			secret string
		}{
			{blockKeys, "sk-abcdefghij0123456789abcd"},
			{GuardRule{Name: "cards", Builtin: "creditCard", Action: "mask"}, "4111111111111111"},
		} {
			h := newGuardedProvider(t, guardConfig(planted.rule))
			for _, length := range []int{1, 8, 12} {
				var chunks []string
				for i, piece := range split(planted.secret+" end", length) {
					chunks = append(chunks, c.event(i, piece))
				}
				call := callGuarded(t, h, c.path, "text/event-stream", append(chunks, c.end)...)
				for _, body := range append(call.after, call.body) {
					if got := joinedMembers(body, c.member); len(got) > 0 && strings.Contains(got, planted.secret[:2]) {
						t.Errorf("%s, %s in pieces of %d: the client has %q of it", c.name, planted.rule.Name, length, got)
						break
					}
				}
			}
		}
	}
}

// A text so far, which some providers send beside each piece, is masked as far as the pieces are.
func TestGuardMasksTextsSoFar(t *testing.T) {
	h := newGuardedProvider(t, guardConfig(maskCards))
	var chunks []string
	text := ""
	for _, piece := range []string{"Card ", "4111 11", "11 1111 ", "1111", ", and", " no more"} {
		text += piece
		chunks = append(chunks, `data: {"choices":[{"index":0,"message":{"role":"assistant","content":"`+text+`"},"delta":{"content":"`+piece+`"}}]}`+"\n\n")
	}
	call := callGuarded(t, h, "/v1/chat/completions", "text/event-stream", append(chunks, "data: [DONE]\n\n")...)
	want := []string{"Card ", "Card *******", "Card ***************", "Card ***************1111", "Card ***************1111, and", "Card ***************1111, and no more"}
	var got []string
	for _, place := range regexp.MustCompile(`"assistant","content":"([^"]*)"`).FindAllStringSubmatch(call.body, -1) {
		got = append(got, place[1])
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A member with two values may be either for a client.
func TestGuardBlocksPiecesWithTwoValues(t *testing.T) {
	h := newGuardedProvider(t, guardConfig(maskCards))
	call := callGuarded(t, h, "/v1/chat/completions", "text/event-stream", `data: {"choices":[{"index":0,"delta":{"content":"z","content":"4111"}}]}`+"\n\n")
	if !strings.Contains(call.body, contentNotInspected) {
		t.Errorf("got %d %s, want %s", call.status, call.body, contentNotInspected)
	}
}

// joinedMembers returns the strings that members of a stream have, joined as a client joins them.
func joinedMembers(body, name string) string {
	text := ""
	for _, place := range regexp.MustCompile(`"(?:`+name+`)":"((?:[^"\\]|\\.)*)"`).FindAllStringSubmatch(body, -1) {
		one := ""
		_ = json.Unmarshal([]byte(`"`+place[1]+`"`), &one)
		text += one
	}
	return text
}

// Lines of JSON are one text like events, in Ollama's own protocol, too.
func TestGuardJoinsLinesOfJSON(t *testing.T) {
	h := newGuardedProvider(t, guardConfig(maskCards, blockKeys))
	line := func(text string) string {
		return `{"message":{"role":"assistant","content":"` + text + `"},"done":false}` + "\n"
	}
	call := callGuarded(t, h, "/v1/chat/completions", "application/x-ndjson", line("My 4111 11"), line("11 1111 1111"), line("."))
	if want := line("My *******") + line("********1111") + line("."); call.body != want || call.status != 200 {
		t.Errorf("got %d %s, want %s", call.status, call.body, want)
	}
	call = callGuarded(t, h, "/v1/chat/completions", "application/x-ndjson", line("sk-abcdefghij"), line("0123456789abcd"), line("."))
	if !strings.Contains(call.body, contentBlocked) || strings.Contains(call.body, "sk-") || call.status != 400 {
		t.Errorf("got %d %s, want %s", call.status, call.body, contentBlocked)
	}
}

// A client gets the same of a stream that is blocked whether its events arrive one by one or in one packet.
func TestGuardBlocksStreamsAlikeInAnyPackets(t *testing.T) {
	h := newGuardedProvider(t, guardConfig(blockKeys))
	for _, p := range protocolStreams {
		for name, pieces := range map[string][]string{
			"a key":                   {"Use ", "sk-abcdefghij", "0123456789abcd ", "."},
			"more than may be held":   {"Use ", "no ", strings.Repeat("no ", 6000) + "s", "."},
			"more, in several events": {"Use ", "sk-", strings.Repeat("a", 900), strings.Repeat("-", 17000)},
		} {
			events := []string{p.begin}
			for _, piece := range pieces {
				events = append(events, p.piece(piece))
			}
			events = append(events, p.end)
			one := callGuarded(t, h, p.path, "text/event-stream", events...)
			all := callGuarded(t, h, p.path, "text/event-stream", strings.Join(events, ""))
			if one.body != all.body || one.status != all.status || one.status != 200 || !strings.Contains(one.body, "Use ") || !strings.Contains(one.body, `"error"`) {
				t.Errorf("%s: %s: got %d %.2000s in one packet, want %d %.2000s", p.name, name, all.status, all.body, one.status, one.body)
			}
		}
	}
}
