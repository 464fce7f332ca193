package chatcompletion

import (
	"bytes"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestEstimatedTokens(t *testing.T) {
	text, image := strings.Repeat("a", 8000), strings.Repeat("A", 1<<20)
	url := `"url":"data:image/png;base64,` + image + `"`
	small := `"url":"data:;base64,AAAAAAAA"`
	for _, test := range []struct {
		name, body string
		want       int64
	}{
		{"nothing", "", 0},
		{"text", text, 2000},
		{"an image", text + url, 2000 + 7},
		{"many images", strings.Repeat(small, maxDataURLs) + text, (21*maxDataURLs + 8000) / 4},
		{"more images than are searched for", strings.Repeat(small, maxDataURLs+2) + text, (21*(maxDataURLs+2) + 16 + 8000) / 4},
		{"an image without an end", `"url":"data:;base64,` + text, (20 + 8000) / 4},
		{"an image of the Responses API", `"image_url" : "data:image/png;base64,` + image + `"`, 9},
		{"a file", `"file_data":"data:application/pdf;base64,` + image + `"`, 10},
		{"an image of Anthropic's", `"source":{"type":"base64","media_type":"image/png","data":"` + image + `"}`, 15},
		{"an image of Gemini's", `"inlineData":{"mimeType":"image/png","data":"` + image + `"}`, 11},
		{"an image of Gemini's, data first", `"inline_data" : {"data" : "` + image + `", "mime_type" : "image/png"}`, 14},
		{"data of a tool", `"input":{"data":"` + text + `"}`, 2004},
		{"text that contains data", `"text":"\"mimeType\":\"image/png\",\"data\":\"` + text + `"`, 2011},
		{"data without an end", `"mimeType":"image/png","data":"` + text, 2007},
		{"text that begins as an image", `"content":"data:image/png;base64,` + text + `"`, 2008},
		{"text that contains the mark", `"content":";base64,` + text + `"`, 2005},
		{"text that contains a member", `"content":"\"url\":\"data:;base64,` + text + `"`, 2008},
	} {
		if got := estimatedTokens([]byte(test.body)); got != test.want {
			t.Errorf("%s: %d tokens, want %d", test.name, got, test.want)
		}
	}
}

// FuzzEstimatedTokens: an estimate is at most what the body can be, and at least what its text is.
func FuzzEstimatedTokens(f *testing.F) {
	f.Add([]byte(`{"url":"data:image/png;base64,AAAA"}`), 3)
	f.Add([]byte(`;base64,;base64,"`), 100)
	f.Add([]byte(`{"mimeType":"image/png","data":"AAAA"}`), 70)
	f.Fuzz(func(t *testing.T, piece []byte, times int) {
		if times < 0 || times > 200 || len(piece) > 1000 {
			t.Skip()
		}
		body := bytes.Repeat(piece, times)
		got := estimatedTokens(body)
		if got < 0 || got > int64(len(body))/4 {
			t.Errorf("%d tokens in %d bytes", got, len(body))
		}
		if !bytes.Contains(body, dataURLMark) && !bytes.Contains(body, dataName) && got != int64(len(body))/4 {
			t.Errorf("%d tokens in %d bytes of text", got, len(body))
		}
	})
}

// TestLeastLeftIsShown compares several quotas of one kind.
func TestLeastLeftIsShown(t *testing.T) {
	q := func(headers []string, limit string) *quota {
		return &quota{headers: headers, limitValue: []string{limit}}
	}
	header := http.Header{"Retry-After": {"7"}, "X-Ratelimit-Reset-Requests": {"9s"}, "Anthropic-Ratelimit-Input-Tokens-Reset": {"x"}}
	setLimitHeaders(header, openAIErrors, []charge{
		{quota: q(tokenLimitHeaders, "100"), limit: 100, used: 10, reserved: 5, resetMs: 360_000, competes: true},
		{quota: q(tokenLimitHeaders, "90"), limit: 90, used: 10, reserved: 5, resetMs: 86_399_001, competes: true},
		{quota: q(tokenLimitHeaders, "500"), limit: 500, used: 10, reserved: 5, resetMs: 1, competes: true},
		{quota: q(nil, "1"), limit: 1, used: 1},
		{quota: q(requestLimitHeaders, "5"), limit: 5, used: 8, resetMs: 1000},
	}, nil)
	for name, want := range map[string]string{
		"X-Ratelimit-Limit-Tokens": "90", "X-Ratelimit-Remaining-Tokens": "75", "X-Ratelimit-Reset-Tokens": "24h0m0s",
		"X-Ratelimit-Remaining-Requests": "0", "X-Ratelimit-Reset-Requests": "1s", "Anthropic-Ratelimit-Input-Tokens-Reset": "", "Retry-After": "7",
	} {
		if got := header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestQuotaMetrics(t *testing.T) {
	m := newMemoryStore()
	use := func(name, unit, subject string, limit, tokens int64, change func(c *charge)) {
		c := testCharge(m, name, limit, change)
		c.group.unit, c.group.scope = unit, "ai@file"
		c.key += subject
		charges := []charge{c}
		if reserveTokens(m, charges, tokens, noon); charges[0].refused {
			countRefused(m, &charges[0])
		}
	}
	use("day", unitTokens, "blue", 100, 30, nil)
	use("money", unitCost, "", 25*dollarPicos, dollarPicos/2, nil)
	use("trial", unitTokens, "", 1, 5, func(c *charge) { c.enforce = false })
	use("trial", unitTokens, "", 1, 5, func(c *charge) { c.enforce = false })
	use("day", unitTokens, "blue", 30, 30, nil)
	use("day", unitTokens, "\xff", 100, 30, nil)
	var text strings.Builder
	expose(&text, quotaMetrics(quotaStates(m, noon.UnixMilli())), false)
	expose(&text, quotaMetrics(quotaStates(m, noon.AddDate(0, 0, 1).UnixMilli()))[:2], false) // the windows are over: nothing is shown
	const blue, money = `chat_completion_quota_name="day",chat_completion_quota_unit="tokens",chat_completion_quota_subject="blue",chat_completion_middleware="ai@file"`,
		`chat_completion_quota_name="money",chat_completion_quota_unit="cost",chat_completion_middleware="ai@file"`
	const trial, unnamed = `chat_completion_quota_name="trial",chat_completion_quota_unit="tokens",chat_completion_middleware="ai@file"`,
		`chat_completion_quota_name="day",chat_completion_quota_unit="tokens",chat_completion_quota_subject="_OTHER",chat_completion_middleware="ai@file"`
	want := "# HELP chat_completion_quota_used " + quotaUsed.description + "\n# TYPE chat_completion_quota_used gauge\n" +
		"chat_completion_quota_used{" + blue + "} 30\nchat_completion_quota_used{" + money + "} 0.5\nchat_completion_quota_used{" + trial + "} 10\n" +
		"# HELP chat_completion_quota_limit " + quotaLimit.description + "\n# TYPE chat_completion_quota_limit gauge\n" +
		"chat_completion_quota_limit{" + blue + "} 100\nchat_completion_quota_limit{" + money + "} 25\nchat_completion_quota_limit{" + trial + "} 1\n" +
		"# HELP chat_completion_quota_refused_total " + quotaRefused.description + "\n# TYPE chat_completion_quota_refused_total counter\n" +
		"chat_completion_quota_refused_total{" + blue + `,chat_completion_mode="enforce"} 1` + "\n" +
		"chat_completion_quota_refused_total{" + money + `,chat_completion_mode="enforce"} 0` + "\n" +
		"chat_completion_quota_refused_total{" + trial + `,chat_completion_mode="enforce"} 0` + "\n" +
		"chat_completion_quota_refused_total{" + trial + `,chat_completion_mode="report"} 1` + "\n" +
		"chat_completion_quota_refused_total{" + unnamed + `,chat_completion_mode="enforce"} 0` + "\n"
	if got := text.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestAnthropicLimitsResetAtATime checks that limits have Anthropic's names, and reset at a time instead of after one.
func TestAnthropicLimitsResetAtATime(t *testing.T) {
	header := http.Header{}
	for name, value := range map[string]string{
		"X-Ratelimit-Limit-Tokens": "100", "X-Ratelimit-Remaining-Tokens": "7", "X-Ratelimit-Reset-Tokens": "6m0s",
	} {
		header.Set(name, value)
	}
	useAnthropicLimits(header, time.Date(2026, 11, 30, 23, 58, 0, 0, time.UTC))
	want := http.Header{
		"Anthropic-Ratelimit-Tokens-Limit": {"100"}, "Anthropic-Ratelimit-Tokens-Remaining": {"7"},
		"Anthropic-Ratelimit-Tokens-Reset": {"2026-12-01T00:04:00Z"},
	}
	if !reflect.DeepEqual(header, want) {
		t.Errorf("got %v, want %v", header, want)
	}
}
