package chatcompletion_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// modelListConfig returns a configuration that filters the list of models, with further members.
func modelListConfig(more map[string]any) map[string]any {
	config := map[string]any{"allowedModels": []any{"m*"}, "routes": map[string]any{"/v1/models": "models"}}
	for key, value := range more {
		config[key] = value
	}
	return config
}

func TestModelListSizeLimit(t *testing.T) {
	const most = 64 << 20 // the length at which the endless response stops after all
	for _, path := range []string{"/v1/models", "/v1/models/m1"} {
		var written atomic.Int64
		provider := startProvider(t, func(rw http.ResponseWriter, _ *http.Request) {
			for chunk := make([]byte, 1<<20); written.Load() < most; {
				n, err := rw.Write(chunk)
				written.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
		got := sendRequest(t, newMiddleware(t, providerConfig(provider, modelListConfig(nil)), nil), http.MethodGet, path, "")
		if got.Code != http.StatusBadGateway || written.Load() >= most {
			t.Errorf("%s: status %d after %d bytes, want 502 after less than %d", path, got.Code, written.Load(), most)
		}
	}
}

func TestModelListTimeout(t *testing.T) {
	remaining := time.Hour
	provider := http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		if end, isSet := req.Context().Deadline(); isSet {
			remaining = time.Until(end)
		}
		_, _ = rw.Write([]byte(`{"data":[]}`))
	})
	handler := newMiddleware(t, modelListConfig(nil), provider)
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/v1/models", nil))
	if remaining > time.Minute {
		t.Errorf("deadline in %s, want at most a minute", remaining)
	}
}
