package openai_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// consumer returns an SDK client with a consumer's key, which may try again as often as it does by
// default.
func consumer(t *testing.T, route, key string) openai.Client {
	t.Helper()
	gateway := os.Getenv("GATEWAY_URL")
	if gateway == "" {
		t.Fatal("GATEWAY_URL is not set: run the tests of the e2e module, which start a gateway and set it")
	}
	return openai.NewClient(option.WithBaseURL(gateway+route), option.WithAPIKey(key))
}

// TestConsumersErrorsAreTyped meets the refusals that concern a consumer. The tests of the e2e module
// count the requests that these calls make.
func TestConsumersErrorsAreTyped(t *testing.T) {
	tests := map[string]struct {
		route, key, model string
		status            int
		kind, code, param string
	}{
		"unknown key": {
			route: "/consumers-unknown/v1", key: "sk-consumer-nobody", model: defaultModel,
			status: 401, kind: "invalid_request_error", code: "invalid_api_key",
		},
		"model that the consumer may not use": {
			route: "/consumers-models/v1", key: "sk-consumer-blue", model: "gpt-4o",
			status: 404, kind: "invalid_request_error", code: "model_not_found", param: "model",
		},
		"unknown group": {
			route: "/consumers-group/v1", key: "sk-consumer-blue", model: defaultModel,
			status: 403, kind: "invalid_request_error", code: "unknown_group",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := consumer(t, test.route, test.key)
			params := question("Hello!")
			params.Model = test.model
			_, err := c.Chat.Completions.New(context.Background(), params)
			checkError(t, err, test.status, test.kind, test.code, test.param)
		})
	}
}

// TestSpentQuotaIsNotTriedAgain meets a quota that resets much later.
func TestSpentQuotaIsNotTriedAgain(t *testing.T) {
	c := consumer(t, "/quota-spent/v1", "sk-consumer-blue")
	if _, err := c.Chat.Completions.New(context.Background(), question("Hello!")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err := c.Chat.Completions.New(context.Background(), question("Hello!"))
	checkError(t, err, 429, "insufficient_quota", "insufficient_quota", "")
	var typed *openai.Error
	if errors.As(err, &typed) && typed.Response.Header.Get("X-Should-Retry") != "false" {
		t.Errorf("x-should-retry = %q, want false", typed.Response.Header.Get("X-Should-Retry"))
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the error came after %v", took)
	}
}

// TestQuotaOfASecondIsTriedAgain meets a quota that resets soon: the SDK waits as long as Retry-After
// says, and succeeds.
func TestQuotaOfASecondIsTriedAgain(t *testing.T) {
	const calls = 3
	c := consumer(t, "/quota-second/v1", "sk-consumer-blue")
	began := time.Now()
	for range calls {
		if _, err := c.Chat.Completions.New(context.Background(), question("Hello!")); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took < (calls-2)*time.Second { // windows begin on the second
		t.Errorf("%d calls took %v, with one a second", calls, took)
	}
}
