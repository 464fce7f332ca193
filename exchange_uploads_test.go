package chatcompletion

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// zeros reads as many zeros as it has left. It never ends a line.
type zeros struct{ left int }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := len(p)
	if n > z.left {
		n = z.left
	}
	for i := range p[:n] {
		p[i] = 0
	}
	z.left -= n
	return n, nil
}

const formBoundary = "----formdata-0123456789abcdef"

func testField(name, value string) string {
	return "--" + formBoundary + "\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
}

// uploadRequest returns a request with a form of a file and other fields.
func uploadRequest(ctx context.Context, target, before string, fileBytes int, after string) *http.Request {
	head := before + "--" + formBoundary + "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg\r\n\r\n"
	tail := "\r\n" + after + "--" + formBoundary + "--\r\n"
	body := io.MultiReader(strings.NewReader(head), &zeros{fileBytes}, strings.NewReader(tail))
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, target+formPath, body)
	req.ContentLength = int64(len(head) + fileBytes + len(tail))
	req.Header.Set("Content-Type", "multipart/form-data; boundary="+formBoundary)
	return req
}

// uploadProvider keeps the last bytes and a hash of what it gets, and how reading ended.
type uploadProvider struct {
	mu      sync.Mutex
	tail    []byte
	hash    hash.Hash
	ended   chan error
	respond http.HandlerFunc // before the body is read; nil: after it
}

func newUploadProvider() *uploadProvider {
	return &uploadProvider{hash: sha256.New(), ended: make(chan error, 10)}
}

// ServeHTTP reads the body.
func (u *uploadProvider) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	if u.respond != nil {
		u.respond(rw, req)
		return
	}
	_, err := io.Copy(u, req.Body)
	u.ended <- err
	if err == nil {
		respondWith(`{"text":"Hi","usage":{"type":"duration","seconds":9}}`).ServeHTTP(rw, req)
	}
}

// Write takes a chunk of the body.
func (u *uploadProvider) Write(chunk []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.tail = append(u.tail, chunk...)
	if n := len(u.tail) - 2000; n > 0 {
		_, _ = u.hash.Write(u.tail[:n])
		u.tail = append([]byte(nil), u.tail[n:]...)
	}
	return len(chunk), nil
}

func (u *uploadProvider) sum() string {
	_, _ = u.hash.Write(u.tail)
	return hex.EncodeToString(u.hash.Sum(nil))
}

// newUploadGateway returns a server with a middleware before a provider.
func newUploadGateway(t *testing.T, u *uploadProvider, config *Config) (*httptest.Server, *callSink) {
	t.Helper()
	backend := httptest.NewServer(u)
	t.Cleanup(backend.Close)
	target, _ := url.Parse(backend.URL)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorHandler = func(rw http.ResponseWriter, _ *http.Request, _ error) {
		http.Error(rw, "Bad Gateway", http.StatusBadGateway)
	}
	config.Routes = map[string]string{formPath: "passthrough: governed"}
	m, sink := newSinkMiddleware(t, proxy.ServeHTTP, config)
	gateway := httptest.NewServer(m)
	t.Cleanup(gateway.Close)
	return gateway, sink
}

// sendUpload sends a request, and returns the status and the body of the response.
func sendUpload(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// waitForCall waits until the record of a call has been published.
func waitForCall(t *testing.T, gateway *httptest.Server, sink *callSink) *Call {
	t.Helper()
	gateway.Close() // waits for its requests
	if len(sink.calls) != 1 {
		t.Fatalf("%d records, want 1", len(sink.calls))
	}
	return sink.calls[0]
}

func TestUploadWithoutAllowedModelEndsBeforeIt(t *testing.T) {
	long := strings.Repeat("a", 300)
	for _, test := range []struct {
		name, before, after string
		status              int
		code, secret        string // what must not arrive
	}{
		{"model after the file", "", testField("model", "dall-e-3") + testField("prompt", long), 404, "model_not_found", "dall-e-3"},
		{"second model", testField("model", "whisper-1"), testField("prompt", long) + testField("model", "whisper-2") + testField("prompt", long), 400, "duplicate_parameter", "whisper-2"},
		{"other spelling", testField("model", "whisper-1"), testField("Model", "dall-e-3"), 400, "ambiguous_parameter", "dall-e-3"},
		{"no model", "", testField("prompt", "Hi"), 400, "missing_required_parameter", formBoundary + "--"},
		{"after the end", testField("model", "whisper-1"), "--" + formBoundary + "--\r\n" + testField("model", "dall-e-3"), 400, "invalid_multipart", formBoundary + "--"},
		{"model too long", "", testField("model", long), 400, "invalid_value", "aaaa"},
		{"bare line feeds", testField("model", "whisper-1"), strings.ReplaceAll(testField("model", "dall-e-3"), "\r\n", "\n"), 400, "invalid_multipart", "dall-e-3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := CreateConfig()
			config.AllowedModels = []string{"whisper*"}
			config.MaxRequestBodySize = 1000
			u := newUploadProvider()
			gateway, sink := newUploadGateway(t, u, config)
			status, body := sendUpload(t, uploadRequest(context.Background(), gateway.URL, test.before, 300_000, test.after))
			if status != test.status || !strings.Contains(body, `"code":"`+test.code+`"`) {
				t.Errorf("status = %d, body %s, want %d and %s", status, body, test.status, test.code)
			}
			if err := <-u.ended; err == nil {
				t.Error("the provider has read the whole body, want an error")
			}
			if bytes.Contains(u.tail, []byte(test.secret)) {
				t.Errorf("the provider gets %q", u.tail)
			}
			if c := waitForCall(t, gateway, sink); c.Status != test.status || c.ErrorType != test.code || c.Request.Policy != "refused="+test.code {
				t.Errorf("record: status %d, error %q, policy %q, want %d, %q and refused", c.Status, c.ErrorType, c.Request.Policy, test.status, test.code)
			}
		})
	}
}

func TestUploadStreamsInBoundedMemory(t *testing.T) {
	const fileBytes = 100 << 20
	for _, test := range []struct{ name, before, after string }{
		{"model before the file", testField("model", "whisper-1"), ""},
		{"model after the file", "", testField("model", "whisper-1") + testField("language", "de")},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := CreateConfig()
			config.Model = "gpt-4o-transcribe"
			config.AllowModelOverride = false
			u := newUploadProvider()
			gateway, sink := newUploadGateway(t, u, config)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			status, body := sendUpload(t, uploadRequest(context.Background(), gateway.URL, test.before, fileBytes, test.after))
			runtime.ReadMemStats(&after)
			if status != http.StatusOK {
				t.Fatalf("status = %d, body %s", status, body)
			}
			if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 32<<20 {
				t.Errorf("the heap grows by %d bytes", grown)
			}
			replaced := strings.NewReplacer("whisper-1", "gpt-4o-transcribe")
			want := sha256.New()
			_, _ = io.Copy(want, uploadRequest(context.Background(), "http://a", replaced.Replace(test.before), fileBytes, replaced.Replace(test.after)).Body)
			if got := u.sum(); got != hex.EncodeToString(want.Sum(nil)) {
				t.Errorf("the provider gets another form: %s", got)
			}
			if c := waitForCall(t, gateway, sink); c.Request.Model != "gpt-4o-transcribe" || c.Request.Policy != "model=enforced" || c.ErrorType != "" {
				t.Errorf("record: model %q, policy %q, error %q", c.Request.Model, c.Request.Policy, c.ErrorType)
			}
		})
	}
}

// TestResponseBeforeTheModelIsTheProviders has a provider that responds before it has got the model.
func TestResponseBeforeTheModelIsTheProviders(t *testing.T) {
	config := CreateConfig()
	config.AllowedModels = []string{"whisper*"}
	config.MaxRequestBodySize = 1000
	u := newUploadProvider()
	u.respond = func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Connection", "close")
		rw.WriteHeader(http.StatusUnauthorized)
	}
	gateway, sink := newUploadGateway(t, u, config)
	res, err := http.DefaultClient.Do(uploadRequest(context.Background(), gateway.URL, "", 30<<20, testField("model", "dall-e-3")))
	if err == nil {
		_ = res.Body.Close()
	}
	c := waitForCall(t, gateway, sink)
	if c.Status != http.StatusUnauthorized && c.Status != http.StatusBadGateway { // the connection may break first
		t.Errorf("record: status %d, error %q", c.Status, c.ErrorType)
	}
	if c.Request.Model != "" {
		t.Errorf("record: model %q, want none", c.Request.Model)
	}
}

func TestClientThatLeavesAnUploadReleasesItsQuota(t *testing.T) {
	config := CreateConfig()
	config.MaxRequestBodySize = 1000
	config.Quotas = []Quota{{Name: "upload-that-breaks-off", Unit: "requests", Limit: 5, Window: "1h", Models: []string{"whisper*"}}}
	u := newUploadProvider()
	gateway, sink := newUploadGateway(t, u, config)
	ctx, cancel := context.WithCancel(context.Background())
	req := uploadRequest(ctx, gateway.URL, "", 200_000, testField("model", "whisper-1"))
	req.Body = io.NopCloser(io.MultiReader(req.Body, readerFunc(func([]byte) (int, error) {
		cancel()
		<-ctx.Done()
		return 0, ctx.Err()
	})))
	req.ContentLength += 2
	if res, err := http.DefaultClient.Do(req); err == nil {
		_ = res.Body.Close()
		t.Errorf("status = %d, want none", res.StatusCode)
	}
	if err := <-u.ended; err == nil {
		t.Error("the provider has read the whole body, want an error")
	}
	c := waitForCall(t, gateway, sink)
	if c.Request.Model != "whisper-1" && c.Request.Model != "" {
		t.Errorf("record: model %q", c.Request.Model)
	}
	if c.ErrorType == "" {
		t.Errorf("record: no error")
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestPanicInAnUploadEndsTheRequest has the decision on a form panic in the goroutine of the transport.
func TestPanicInAnUploadEndsTheRequest(t *testing.T) {
	s := newFormStream(&form{delimiter: []byte("--x")})
	s.window = make([]byte, formWindowBytes)
	s.source = strings.NewReader("--x\r\nContent-Disposition: form-data; name=model\r\n\r\na\r\n--x--")
	s.decide = func(string) (string, *apiError) { panic("decide") }
	logged := logOutput(t, func() {
		done := make(chan error)
		go func() {
			_, err := io.ReadAll(s)
			done <- err
		}()
		select {
		case err := <-done:
			if err == nil {
				t.Error("the form is read, want an error")
			}
		case <-time.After(10 * time.Second):
			t.Error("reading does not end")
		}
	})
	if !strings.Contains(logged, "a panic") {
		t.Errorf("logged %q", logged)
	}
}
