package local

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

// startTimeout leaves time for a local provider to load its model into memory for the first
// response.
const startTimeout = 2 * time.Minute

// awaitResponse returns once a chat completion succeeds through the gateway.
func awaitResponse(ctx context.Context, traefik *gateway.Process, base string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		status, body, err := sendChat(ctx, base)
		switch {
		case err == nil && status == http.StatusOK:
			return nil
		case err == nil && status == http.StatusBadGateway:
			return errors.New("traefik runs, but cannot reach the provider that UPSTREAM names")
		case err == nil && isProviderError(body):
			return fmt.Errorf("the first request failed with status %d: %s; choose a model that the provider has: MODEL=name make run",
				status, strings.TrimSpace(body))
		}
		if found, _ := traefik.Errors(); len(found) > 0 {
			return errors.New(failure(traefik, "traefik does not serve examples/local"))
		}
		select {
		case <-traefik.Done():
			return errors.New(failure(traefik, "traefik exited unexpectedly"))
		case <-ctx.Done():
			return errors.New(failure(traefik, "no chat completion succeeded in time"))
		case <-ticker.C:
		}
	}
}

// sendChat sends a minimal chat completion.
func sendChat(ctx context.Context, base string) (status int, body string, err error) {
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

// isProviderError reports whether the body is an error in OpenAI's format, unlike Traefik's own
// responses before it is ready.
func isProviderError(body string) bool {
	var document struct {
		Error json.RawMessage `json:"error"`
	}
	return json.Unmarshal([]byte(body), &document) == nil && document.Error != nil
}

// failure returns one line: what happened, and the first error in Traefik's log.
func failure(traefik *gateway.Process, what string) string {
	found, err := traefik.Errors()
	if err != nil || len(found) == 0 {
		return what
	}
	return what + ": " + strings.Join(strings.Fields(found[0]), " ")
}
