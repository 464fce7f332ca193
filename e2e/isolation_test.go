package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/demo"
)

const markerHeader = "X-Test-Marker"

var markers = regexp.MustCompile(`marker-\d+-\d+-`)

// TestConcurrentRequestsNeverMix gives every request a unique marker in its prompt and in a header,
// and looks for foreign markers wherever one could appear.
func TestConcurrentRequestsNeverMix(t *testing.T) {
	const clients, requests = 64, 20
	var seen atomic.Int64
	provider := demo.Handler(demo.Options{Chunks: 20})
	g := serve(t, map[string]any{
		"token":  "sk-key-of-the-provider",
		"model":  "gpt-4o-mini",
		"params": map[string]any{"temperature": 0.5, "maxTokens": 100},
	}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = checkProviderSees(r, body)
		}
		if err != nil {
			t.Errorf("provider: %v", err)
		}
		seen.Add(1)
		r.Body = io.NopCloser(bytes.NewReader(body))
		w.Header().Set(markerHeader, r.Header.Get(markerHeader))
		provider.ServeHTTP(w, r)
	}))

	connections := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	t.Cleanup(connections.CloseIdleConnections)
	var running sync.WaitGroup
	for client := range clients {
		running.Add(1)
		go func() {
			defer running.Done()
			for i := range requests {
				marker := fmt.Sprintf("marker-%d-%d-", client, i)
				if err := exchange(connections, g.URL, marker, (client+i)%2 == 0); err != nil {
					t.Errorf("client %d, request %d: %v", client, i, err)
				}
			}
		}()
	}
	running.Wait()
	if got := seen.Load(); got != clients*requests {
		t.Errorf("the provider saw %d requests, want %d", got, clients*requests)
	}
	checkNoErrors(t, g)
}

// checkProviderSees returns an error if a request at the provider mixes data of several clients.
func checkProviderSees(r *http.Request, body []byte) error {
	marker := r.Header.Get(markerHeader)
	if err := onlyMarker(string(body), marker, prompt(marker)); err != nil {
		return err
	}
	if got, want := r.Header.Get("Authorization"), "Bearer sk-key-of-the-provider"; got != want {
		return fmt.Errorf("%s: Authorization = %q, want %q", marker, got, want)
	}
	var request struct {
		Model       string
		Temperature float64
		MaxTokens   int `json:"max_tokens"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return fmt.Errorf("%s: %w", marker, err)
	}
	if request.Model != "gpt-4o-mini" || request.Temperature != 0.5 || request.MaxTokens != 100 {
		return fmt.Errorf("%s: the provider sees %+v", marker, request)
	}
	return nil
}

// prompt returns a text of a marker-specific length that is long enough for several reads and
// events.
func prompt(marker string) string {
	return strings.Repeat(marker, 50+len(marker)*7%40)
}

// onlyMarker returns an error unless the text contains the wanted part and no other marker.
func onlyMarker(text, marker, want string) error {
	for _, found := range markers.FindAllString(text, -1) {
		if found != marker {
			return fmt.Errorf("%s got the marker %s", marker, found)
		}
	}
	if !strings.Contains(text, want) {
		return fmt.Errorf("%s: %d bytes lack the expected %d", marker, len(text), len(want))
	}
	return nil
}

// exchange sends the marker's prompt and checks that the response belongs to it.
func exchange(client *http.Client, base, marker string, stream bool) error {
	body := fmt.Sprintf(`{"model":"gpt-4o","stream":%t,"messages":[{"role":"user","content":%q}],"temperature":1}`, stream, prompt(marker))
	request, err := http.NewRequest(http.MethodPost, base+chatPath, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(markerHeader, marker)
	request.Header.Set("Authorization", "Bearer "+marker)
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status = %d", response.StatusCode)
	}
	if got := response.Header.Get(markerHeader); got != marker {
		return fmt.Errorf("response header: %q, want %q", got, marker)
	}
	read := content
	if stream {
		read = streamedContent
	}
	text, err := read(response.Body)
	if err != nil {
		return err
	}
	if want := "gpt-4o-mini heard: " + prompt(marker); text != want {
		return errors.Join(onlyMarker(text, marker, prompt(marker)), fmt.Errorf("response of %d bytes, want %d", len(text), len(want)))
	}
	return nil
}

func content(body io.Reader) (string, error) {
	var completion struct {
		Choices []struct{ Message struct{ Content string } }
	}
	if err := json.NewDecoder(body).Decode(&completion); err != nil {
		return "", err
	}
	if len(completion.Choices) != 1 {
		return "", fmt.Errorf("%d choices", len(completion.Choices))
	}
	return completion.Choices[0].Message.Content, nil
}

func streamedContent(body io.Reader) (string, error) {
	lines := bufio.NewReader(body)
	var text strings.Builder
	for {
		data, err := readEvent(lines)
		if err != nil {
			return "", err
		}
		if data == "[DONE]" {
			return text.String(), nil
		}
		var event struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			return "", fmt.Errorf("event %q: %w", data, err)
		}
		for _, choice := range event.Choices {
			text.WriteString(choice.Delta.Content)
		}
	}
}
