package e2e_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// sdkOutcome is what a call of npm/openai.cjs came to.
type sdkOutcome struct {
	Content, Model  string
	Usage           bool
	Several         bool   // the content came in several chunks
	Finish          string // of a stream
	Error           string // the class of the SDK's error
	Status          int
	Type, Code      string
	Param           string
	ShouldRetry     string // the header x-should-retry of an error
	Requests, Calls int
}

// callWithSDK runs npm/openai.cjs against the gateway and returns what its calls came to.
func callWithSDK(t *testing.T, g *gateway.Gateway) map[string]sdkOutcome {
	t.Helper()
	output := runScript(t, g.URL, "openai")
	var outcomes map[string]sdkOutcome
	if err := json.Unmarshal(output, &outcomes); err != nil {
		t.Fatalf("npm/openai.cjs printed %s: %v", output, err)
	}
	return outcomes
}

// TestOpenAISDKForJavaScript makes calls with the openai package of npm. It is another client than that for Go: it reads
// errors and streams, and decides what to try again, in its own way.
func TestOpenAISDKForJavaScript(t *testing.T) {
	g, providers := startForSDKs(t)
	got := callWithSDK(t, g)
	seconds := got["quota of a second"].Calls // all succeed, the last one only with another request
	answer := sdkOutcome{Content: "gpt-4o-mini heard: Hello, gateway!", Model: "gpt-4o-mini", Usage: true, Requests: 1}
	streamed := sdkOutcome{Content: "gpt-4o-mini heard: Hello, stream!", Model: "gpt-4o-mini", Several: true, Finish: "stop", Requests: 1}
	metered, retried := streamed, answer
	metered.Usage = true
	retried.Requests, retried.Calls = 2, seconds
	want := map[string]sdkOutcome{
		"answer":            answer,
		"stream":            streamed,
		"stream with usage": metered,
		"unknown key":       {Error: "AuthenticationError", Status: 401, Type: "invalid_request_error", Code: "invalid_api_key", Requests: 1},
		"refused model":     {Error: "NotFoundError", Status: 404, Type: "invalid_request_error", Code: "model_not_found", Param: "model", Requests: 1},
		"unknown group":     {Error: "PermissionDeniedError", Status: 403, Type: "invalid_request_error", Code: "unknown_group", Requests: 1},
		"quota not spent":   answer,
		"quota spent":       {Error: "RateLimitError", Status: 429, Type: "insufficient_quota", Code: "insufficient_quota", ShouldRetry: "false", Requests: 1},
		"quota of a second": retried,
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, got[name], want[name])
		}
	}
	checkProvidersKeys(t, providers)
	checkUnknownGroupLogged(t, g)
	wantArrived := map[string]map[int]int{
		"/v1":                {200: 3},
		"/consumers-unknown": {401: 1},
		"/consumers-models":  {404: 1},
		"/consumers-group":   {403: 1},
		"/quota-spent":       {200: 1, 429: 1},
		"/quota-second":      {200: seconds, 429: 1},
	}
	gotArrived := map[string]map[int]int{}
	await(t, fmt.Sprintf("the access log has %v", wantArrived), func() bool {
		log := accessLog(t, g)
		for route := range wantArrived {
			gotArrived[route] = statuses(log, route)
		}
		return reflect.DeepEqual(gotArrived, wantArrived)
	})
}
