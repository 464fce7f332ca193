package chatcompletion

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

const plantedCard = "My card is 4111 1111 1111 1111 "

// TestTextIsNoData sends texts that look like base64 data in one way or another.
func TestTextIsNoData(t *testing.T) {
	escaped := ""
	for _, char := range "please read all of this text about me, and of my next order. " + plantedCard + strings.Repeat("thanks ", 10) {
		escaped += fmt.Sprintf(`\u%04x`, char)
	}
	data := strings.Repeat("A", 600)
	const key = "-sk-proj-abcdefghij0123456789"
	chat := func(content string) (string, string) {
		return "/v1/chat/completions", `{"model":"x","messages":[{"role":"user","content":` + content + `}]}`
	}
	for name, c := range map[string]struct {
		content string
		passes  bool
	}{
		"escapes after a mark":          {`";base64,` + escaped + `"`, false},
		"escapes in a data URL":         {`[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + escaped + `"}}]`, false},
		"a key in a content":            {`";base64,` + data + key + `"`, false},
		"a key in a content with URL":   {`"data:image/png;base64,` + data + key + `"`, false},
		"two alphabets":                 {`[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + data + "/+" + key + `"}}]`, false},
		"a card as media type":          {`[{"type":"image_url","image_url":{"url":"data: 4111 1111 1111 1111 ;base64,` + data + `"}}]`, false},
		"a key in an image":             {`[{"type":"image_url","image_url":{"url":"data:image\/png;base64,` + data + key + `"}}]`, false},
		"a URL that is none":            {`[{"type":"image_url","image_url":{"url":"` + data + key + `"}}]`, false},
		"letters of a key in an image":  {`[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + data + `AKIAIOSFODNN7EXAMPLE"}}]`, true},
		"an image with escaped slashes": {`[{"type":"image_url","image_url":{"url":"data:image\/png;base64,` + data + `\/\/+AKIAIOSFODNN7EXAMPLE"}}]`, true},
	} {
		handler, got := guardedHandler(t, actionBlock)
		target, body := chat(c.content)
		response := sendGuarded(handler, target, body)
		if passes := got() != ""; passes != c.passes {
			t.Errorf("%s: got status %d, passes %t, want %t", name, response.Code, passes, c.passes)
		}
	}
	for name, input := range map[string]string{
		"a member for data": `{"data":"` + escaped + `"}`, "a member whose name ends like it": `{"\"data":"` + escaped + data + `"}`,
		"a number after many": `{"x":[` + strings.Repeat("10,", 1500) + `4111111111111111]}`,
	} {
		handler, got := guardedHandler(t, actionBlock)
		response := sendGuarded(handler, "/v1/messages", `{"model":"x","max_tokens":5,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":`+input+`}]}]}`)
		if got() != "" {
			t.Errorf("%s: got status %d, passes, want a blocked request", name, response.Code)
		}
	}
}

// TestFieldsThatLookLikeFiles sends forms with a text in a field whose header says file in the wrong
// place, or that is in another character set.
func TestFieldsThatLookLikeFiles(t *testing.T) {
	utf16 := ""
	for _, char := range plantedCard {
		utf16 += "\x00" + string(char)
	}
	for _, test := range []struct {
		header, value string
		passes        bool
	}{
		{"Content-Type: text/plain; filename=x", plantedCard, false},
		{"Content-Type: text/plain; charset=utf-16", utf16, false},
		{"Content-Type: text/plain; charset=utf-7", "4111 1111 1111 111+ADE-", false},
		{"Content-Type: text/plain; charset=utf-8; charset=utf-7", "4111 1111 1111 111+ADE-", false},
		{"Content-Type: text/plain; charset*=utf-7", "4111 1111 1111 111+ADE-", false},
		{"Content-Type: text/plain; charset=\"UTF-8\"", "Hi", true},
		{"Content-Type: application/json", "Hi", true},
	} {
		handler, got := guardedHandler(t, actionBlock)
		body := "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b\r\nContent-Disposition: form-data; name=\"prompt\"\r\n" + test.header + "\r\n\r\n" + test.value + "\r\n--b--\r\n"
		req := httptest.NewRequest(http.MethodPost, "/v1/completions", strings.NewReader(body))
		req.Header.Set("Content-Type", "multipart/form-data; boundary=b")
		response := httptest.NewRecorder()
		handler.ServeHTTP(response, req)
		if passes := got() != ""; passes != test.passes {
			t.Errorf("%s: got status %d, passes %t, want %t: %s", test.header, response.Code, passes, test.passes, response.Body)
		}
	}
}

// TestRolesTakeBoundedWork sends large bodies with many texts that a rule with roles matches: whose they
// are takes reading the body, but not once for each. What is read is copied, so that the bytes allocated
// are the work, on a busy machine too: up to 350 MiB, and several GiB without a bound.
func TestRolesTakeBoundedWork(t *testing.T) {
	const most, matches = 1 << 30, 300
	large, match := strings.Repeat("x", 2<<20), `{"role":"assistant","content":"4111 1111 1111 1111"}`
	for name, messages := range map[string]string{
		"at the end":       `{"role":"assistant","content":"` + large + `"}` + strings.Repeat(","+match, matches),
		"at the beginning": strings.Repeat(match+",", matches) + `{"role":"assistant","content":"` + large + `"}`,
		"numbers":          `{"role":"assistant","content":"` + large + `"}],"x":[` + strings.Repeat("4111111111111112,", matches) + "1",
		"deep":             `{"role":"user","content":"a"}],"x":[` + strings.Repeat(`{"a":"4111 1111 1111 1111","b":`, matches) + `"` + large + `"` + strings.Repeat("}", matches),
	} {
		config := CreateConfig()
		config.Guard.Request.Rules = []GuardRule{{Name: "cards", Builtin: builtinCreditCard, Action: actionMask, Roles: []string{roleUser}}}
		handler := newInstance(t, config, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		response := sendGuarded(handler, "/v1/chat/completions", `{"model":"x","messages":[`+messages+`]}`)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > most || response.Code != http.StatusOK {
			t.Errorf("%s: got status %d and %d MiB allocated, want 200 and at most %d: %.200s", name, response.Code, got>>20, most>>20, response.Body)
		}
	}
}
