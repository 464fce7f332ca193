package e2e_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// Keys of the consumers in the tests of keys: one is valid, one has ended, and one is disabled.
const (
	validKey    = "sk-valid-5c1f0a77"
	expiredKey  = "sk-expired-3b9d2c10"
	disabledKey = "sk-disabled-88aa61fe"
)

func digestOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// keyShape is a way to send a key, or not to send one, in raw header lines and in the query.
type keyShape struct {
	name   string
	header string
	query  string
	served bool // as the consumer with the valid key
}

// keyShapes are the spellings of keys that others might read as a key, or as none.
func keyShapes() []keyShape {
	const valid, bearer = validKey, "Authorization: Bearer "
	return []keyShape{
		{name: "the key", header: bearer + valid, served: true},
		{name: "no key"},
		{name: "an expired key", header: bearer + expiredKey},
		{name: "a disabled key", header: bearer + disabledKey},
		{name: "an unknown key", header: bearer + "sk-unknown"},
		{name: "the provider's key", header: bearer + "sk-provider"},
		{name: "the digest of the key", header: bearer + digestOf(valid)},
		{name: "a scheme in small letters", header: "authorization: bearer " + valid, served: true},
		{name: "a scheme in capitals", header: "AUTHORIZATION: BEARER " + valid, served: true},
		{name: "two spaces", header: "Authorization: Bearer  " + valid, served: true},
		{name: "a tab for a space", header: "Authorization: Bearer\t" + valid},
		{name: "a scheme without a key", header: "Authorization: Bearer"},
		{name: "a scheme and spaces", header: "Authorization: Bearer   "},
		{name: "no scheme", header: "Authorization: " + valid},
		{name: "another scheme", header: "Authorization: Token " + valid},
		{name: "a key in quotes", header: "Authorization: Bearer \"" + valid + "\""},
		{name: "a key and a comma", header: bearer + valid + ","},
		{name: "two keys on a line", header: bearer + valid + ", Bearer sk-unknown"},
		{name: "two keys on two lines", header: bearer + "sk-unknown\r\n" + bearer + valid},
		{name: "two keys on two lines, the other way", header: bearer + valid + "\r\n" + bearer + "sk-unknown"},
		{name: "the key twice", header: bearer + valid + "\r\n" + bearer + valid, served: true},
		{name: "the key beside a user and a password", header: "Authorization: Basic YTpi\r\n" + bearer + valid, served: true},
		{name: "the key in small letters", header: bearer + strings.ToUpper(valid)},
		{name: "a folded key", header: "Authorization: Bearer\r\n " + valid, served: true},
		{name: "a key beside a disabled one", header: bearer + disabledKey + "\r\nX-Api-Key: " + valid},
		{name: "a disabled key beside one", header: bearer + valid + "\r\nX-Api-Key: " + disabledKey},
		{name: "an underscore", header: "X_Api_Key: " + valid},
		{name: "another header", header: "X-Api-Key: " + valid, served: true},
		{name: "a header of Azure", header: "api-key: " + valid, served: true},
		{name: "a header of Gemini", header: "x-goog-api-key: " + valid, served: true},
		{name: "a cookie", header: "Cookie: key=" + valid},
		{name: "a proxy's header", header: "Proxy-Authorization: Bearer " + valid},
		{name: "a connection that names the key", header: "Connection: Authorization\r\n" + bearer + valid},
		{name: "a connection that names another key", header: "Connection: X-Api-Key\r\n" + bearer + valid + "\r\nX-Api-Key: sk-unknown", served: true},
		{name: "a protocol of a WebSocket", header: "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key." + valid},
		{name: "a key and a protocol of a WebSocket", header: bearer + valid + "\r\nSec-WebSocket-Protocol: realtime, openai-insecure-api-key." + valid, served: true},
		{name: "the name of the consumer", header: "X-Ai-Consumer: valid\r\nX-Consumer: valid"},
		{name: "a key in the query", query: "?key=" + valid, served: true},
		{name: "an escaped name in the query", query: "?%6bey=" + valid, served: true},
		{name: "an escaped key in the query", query: "?key=%73" + valid[1:], served: true},
		{name: "a parameter in capitals", query: "?KEY=" + valid},
		{name: "another parameter", query: "?api_key=" + valid + "&access_token=" + valid + "&token=" + valid},
		{name: "a semicolon, which Traefik turns into an ampersand", query: "?a=b;key=" + valid, served: true},
		{name: "two keys in the query", query: "?key=" + valid + "&key=sk-unknown"},
		{name: "a key in the query beside another one", header: bearer + "sk-unknown", query: "?key=" + valid},
		{name: "a key in the query that is no text", header: bearer + valid, query: "?key=%zz", served: true},
		{name: "a key with an end of line", query: "?key=" + valid + "%0a", served: true},
		{name: "a key with a NUL", query: "?key=" + valid + "%00"},
	}
}

// keyRoutes are endpoints of each kind, with a method and a body for them.
var keyRoutes = []struct{ method, path, body string }{
	{http.MethodPost, chatPath, clientsBody},
	{http.MethodGet, chatPath, ""},
	{http.MethodHead, chatPath, ""},
	{http.MethodPost, "/v1/responses", `{"model":"gpt-5","input":"Hi"}`},
	{http.MethodPost, "/v1/images/generations", `{"model":"gpt-5","prompt":"Hi"}`},
	{http.MethodGet, "/v1/images/generations", ""},
	{http.MethodGet, "/v1/models", ""},
	{http.MethodHead, "/v1/models", ""},
	{http.MethodGet, "/v1/models/gpt-5", ""},
	{http.MethodPost, "/v1/models", "{}"},
	{http.MethodGet, "/v1/files", ""},
	{http.MethodDelete, "/v1/files/1", ""},
	{"WHATEVER", "/v1/files", ""},
	{http.MethodPost, "/v1/unknown", "{}"},
}

// TestKeysInEverySpelling sends keys in all spellings to all kinds of endpoints on raw connections. The provider is reached with a
// valid key only, and gets no client's key in any of them.
func TestKeysInEverySpelling(t *testing.T) {
	provider := newFake(t, "provider", http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		rw.Header().Set("Content-Type", jsonType)
		_, _ = io.WriteString(rw, `{"object":"list","data":[{"id":"gpt-5","object":"model"}]}`)
	}))
	config := map[string]any{
		"token": "sk-provider",
		"routes": map[string]any{
			chatPath: "completions", "/v1/responses": "responses", "/v1/models": "models", "/v1/images/*": "passthrough: governed", "/v1/files": "passthrough", "/v1/files/*": "passthrough", "*": "deny",
		},
		"consumers": map[string]any{"list": []any{
			map[string]any{"name": "valid", "key": digestOf(validKey)}, map[string]any{"name": "expired", "key": digestOf(expiredKey), "expires": "2020-01-01T00:00:00Z"},
			map[string]any{"name": "disabled", "key": digestOf(disabledKey), "disabled": "true"},
		}},
	}
	dynamic := hosted(map[string]map[string]any{"host": at(t, provider.URL, config)})
	dynamic.Routers["service"] = gateway.Router{Rule: "PathPrefix(`/service/`)", Middlewares: []string{"keys"}, Service: "provider"}
	dynamic.Middlewares["keys"] = gateway.Plugin(config)
	dynamic.Services["provider"] = provider.URL
	g := start(t, gateway.Options{})
	configure(t, g, dynamic)
	for _, s := range keyShapes() {
		for _, route := range keyRoutes {
			for _, prefix := range []string{"/service", "/host"} {
				header := s.header
				if header != "" {
					header += "\r\n"
				}
				text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: gateway\r\n%s%s%s\r\n%s", route.method, prefix+route.path+s.query, header, lengthOf(route.body), "Connection: close\r\n", route.body)
				before := len(provider.saw())
				status := exchangeKeys(t, g.URL, text)
				checkKeyShape(t, s, route.method+" "+prefix+route.path, status, provider.saw()[before:])
			}
		}
	}
	checkKeysOverHTTP2(t, g.URL+"/host"+chatPath, provider)
	checkNoPanic(t, g)
	checkAlive(t, g)
}

// exchangeKeys writes a request to a connection, and returns the status of the response.
func exchangeKeys(t *testing.T, base, text string) int {
	t.Helper()
	connection := dial(t, base)
	defer func() { _ = connection.Close() }()
	_, _ = io.WriteString(connection, text)
	all, _ := io.ReadAll(connection)
	_, rest, _ := strings.Cut(string(all), " ")
	status := 0
	_, _ = fmt.Sscan(rest, &status)
	return status
}

// checkKeyShape fails unless a request was served only with a valid key, and without any in what the provider received.
func checkKeyShape(t *testing.T, s keyShape, where string, status int, received []seenRequest) {
	t.Helper()
	isRefused := status == http.StatusUnauthorized || (status == http.StatusBadRequest && len(received) == 0)
	if s.served == (status == http.StatusUnauthorized) || (!s.served && (!isRefused || len(received) > 0)) {
		t.Errorf("%s, %s: status %d, and %d requests at the provider", s.name, where, status, len(received))
	}
	for _, one := range received {
		if got := one.header.Values("Authorization"); len(got) != 1 || got[0] != "Bearer sk-provider" {
			t.Errorf("%s, %s: the provider gets Authorization %q", s.name, where, got)
		}
		all := fmt.Sprint(one)
		for _, key := range []string{validKey, validKey[1:], expiredKey, disabledKey, "sk-unknown"} {
			if strings.Contains(all, key) {
				t.Errorf("%s, %s: the provider gets a client's key: %s", s.name, where, all)
			}
		}
	}
}

// checkKeysOverHTTP2 sends values that HTTP/1.1 has no form for.
func checkKeysOverHTTP2(t *testing.T, address string, provider *fake) {
	t.Helper()
	for value, served := range map[string]bool{"Bearer ": false, "Bearer  ": false, " Bearer " + validKey: true, "Bearer " + validKey + " ": true, "bearer " + validKey: true, "Bearer\t" + validKey: false, "": false} {
		before := len(provider.saw())
		response, err := do(t.Context(), overHTTP2(), address, clientsBody, map[string]string{"Authorization": value})
		if err != nil {
			continue // the client does not send it
		}
		_ = response.Body.Close()
		checkKeyShape(t, keyShape{name: fmt.Sprintf("HTTP/2 %q", value), served: served}, chatPath, response.StatusCode, provider.saw()[before:])
	}
}
