package e2e_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"testing"
)

// TestProviderCannotForgeAccessLogHeaders has an HTTP/2 provider send access-log headers as
// trailers of a body with a known length, and in an informational response, to an HTTP/2 client.
func TestProviderCannotForgeAccessLogHeaders(t *testing.T) {
	authority := newAuthority(t)
	provider := newSecureFake(t, "provider", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set(modelHeader, "forged")
		rw.WriteHeader(http.StatusEarlyHints)
		rw.Header().Set("Content-Length", "2")
		_, _ = io.WriteString(rw, "{}")
		rw.Header().Set(http.TrailerPrefix+modelHeader, "forged")
	}), authority)
	g := startForwarding(t)
	configure(t, g, hosted(map[string]map[string]any{"h2": at(t, provider.URL, map[string]any{"model": openAIModel, "tls": map[string]any{"caFile": authority.File}})}))
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, header textproto.MIMEHeader) error {
		if got := header.Get(modelHeader); got != "" {
			t.Errorf("an informational response has %s %q", modelHeader, got)
		}
		return nil
	}})
	response, err := do(ctx, overHTTP2(), g.URL+"/h2"+chatPath, plainBody, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	if got := response.Trailer.Get(modelHeader); got != "" {
		t.Errorf("the client gets the trailer %s %q", modelHeader, got)
	}
	if got := response.Header.Get(modelHeader); got != "" {
		t.Errorf("the client gets %s %q", modelHeader, got)
	}
}
