package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// startTimeout covers a local model that has to be loaded into memory for its first answer.
const startTimeout = 2 * time.Minute

// awaitAnswer returns once a chat completion passes through the gateway to the provider and back.
func awaitAnswer(ctx context.Context, traefik *gateway.Process, base string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		status, body, err := ask(ctx, base)
		switch {
		case err == nil && status == http.StatusOK:
			return nil
		case err == nil && status == http.StatusBadGateway:
			return errors.New("traefik runs, but the provider that UPSTREAM names cannot be reached")
		case err == nil && isProviderError(body):
			return fmt.Errorf("the first request was answered with %d: %s; MODEL=name make run chooses a model that the provider has",
				status, strings.TrimSpace(body))
		}
		if found, _ := traefik.Errors(); len(found) > 0 {
			return errors.New(failure(traefik, "traefik does not serve the example"))
		}
		select {
		case <-traefik.Done():
			return errors.New(failure(traefik, "traefik ended by itself"))
		case <-ctx.Done():
			return errors.New(failure(traefik, "no chat completion passed in time"))
		case <-ticker.C:
		}
	}
}

// ask sends the smallest chat completion.
func ask(ctx context.Context, base string) (status int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/chat/completions",
		strings.NewReader(`{"messages":[{"role":"user","content":"Are you there?"}]}`))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	return response.StatusCode, string(content), err
}

// isProviderError tells an error in OpenAI's form from Traefik's own answers before it is ready.
func isProviderError(body string) bool {
	var document struct {
		Error json.RawMessage `json:"error"`
	}
	return json.Unmarshal([]byte(body), &document) == nil && document.Error != nil
}

// failure is one line: what happened, and what Traefik itself says of it.
func failure(traefik *gateway.Process, what string) string {
	found, err := traefik.Errors()
	if err != nil || len(found) == 0 {
		return what
	}
	return what + ": " + strings.Join(strings.Fields(found[0]), " ")
}
