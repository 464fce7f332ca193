package e2e_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

const (
	transcriptionPath = "/v1/audio/transcriptions"
	uploadBoundary    = "----formdata-e2e-0123456789abcdef"
)

// formReader reads forms as they arrive, and keeps the hash of the file, and the other fields.
type formReader struct {
	mutex  sync.Mutex
	fields []string
	err    error
	length int64 // as announced
}

func (f *formReader) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	fields, err := readFields(req)
	f.mutex.Lock()
	f.fields, f.err, f.length = fields, err, req.ContentLength
	f.mutex.Unlock()
	if err == nil {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, `{"text":"Hi","usage":{"type":"duration","seconds":9}}`)
	}
}

func (f *formReader) saw() ([]string, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.fields, f.err
}

func readFields(req *http.Request) ([]string, error) {
	var fields []string
	_, parameters, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	form := multipart.NewReader(req.Body, parameters["boundary"])
	for {
		part, err := form.NextRawPart()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, req.Body)
			return fields, err
		}
		if err != nil {
			return fields, err
		}
		hash, value := sha256.New(), &bytes.Buffer{}
		var to io.Writer = value
		if part.FileName() != "" {
			to = hash
		}
		_, err = io.Copy(to, part)
		text := value.String()
		if part.FileName() != "" {
			text = hex.EncodeToString(hash.Sum(nil))
		}
		fields = append(fields, part.FormName()+"="+text)
		if err != nil {
			return fields, err
		}
	}
}

// noise reads n bytes that do not repeat soon.
type noise struct {
	n     int
	state uint32
}

func (z *noise) Read(p []byte) (int, error) {
	if z.n == 0 {
		return 0, io.EOF
	}
	p = p[:min(len(p), z.n)]
	for i := range p {
		z.state = z.state*1664525 + 1013904223
		p[i] = byte(z.state >> 24)
	}
	z.n -= len(p)
	return len(p), nil
}

// form returns a form with a large file between other fields, and its length.
func form(before, after []string) (io.Reader, int64) {
	var head, tail strings.Builder
	write := func(to *strings.Builder, fields []string) {
		for _, field := range fields {
			name, value, _ := strings.Cut(field, "=")
			fmt.Fprintf(to, "--%s\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", uploadBoundary, name, value)
		}
	}
	write(&head, before)
	fmt.Fprintf(&head, "--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg\r\n\r\n", uploadBoundary)
	tail.WriteString("\r\n")
	write(&tail, after)
	fmt.Fprintf(&tail, "--%s--\r\n", uploadBoundary)
	return io.MultiReader(strings.NewReader(head.String()), &noise{n: largeBytes}, strings.NewReader(tail.String())),
		int64(head.Len() + largeBytes + tail.Len())
}

// TestUploadsStreamThroughTheGateway uploads a large file through Traefik's proxy and through that of the plugin: the file arrives
// as it was sent, the model is replaced wherever it is, and the gateway's memory does not grow with the file.
func TestUploadsStreamThroughTheGateway(t *testing.T) {
	hash := sha256.New()
	_, _ = io.Copy(hash, &noise{n: largeBytes})
	file := "file=" + hex.EncodeToString(hash.Sum(nil))
	provider := &formReader{}
	server := upstream(t, provider)
	rules := map[string]any{
		"allowedModels": []string{"gpt-4o-transcribe"}, "modelAliases": map[string]string{"whisper-1": "gpt-4o-transcribe"},
		"routes": map[string]string{transcriptionPath: "passthrough: governed"},
	}
	dynamic := metered(rules, server.URL)
	dynamic.Middlewares["hosting"] = gateway.Plugin(at(t, server.URL, rules))
	dynamic.Routers["hosting"] = gateway.Router{Rule: "PathPrefix(`/hosting/`)", Middlewares: []string{"hosting"}, Service: "noop@internal"}
	dynamic.Middlewares["holding"] = map[string]any{"buffering": map[string]any{"memRequestBodyBytes": 2 * largeBytes}}
	dynamic.Routers["holding"] = gateway.Router{Rule: "PathPrefix(`/holding/`)", Middlewares: []string{"holding"}, Service: "provider"}
	g := start(t, gateway.Options{AccessLog: true, Env: collectingOften})
	configure(t, g, dynamic)
	tests := []struct {
		name          string
		before, after []string
		chunked       bool
		status        int
		code          string
		want          []string
	}{
		{name: "model before the file", before: []string{"model=whisper-1"}, after: []string{"language=de"}, status: 200, want: []string{"model=gpt-4o-transcribe", file, "language=de"}},
		{name: "model after the file", after: []string{"language=de", "model=whisper-1"}, status: 200, want: []string{file, "language=de", "model=gpt-4o-transcribe"}},
		{name: "chunked", after: []string{"model=gpt-4o-transcribe"}, chunked: true, status: 200, want: []string{file, "model=gpt-4o-transcribe"}},
		{name: "model that is not allowed after the file", after: []string{"model=dall-e-3"}, status: 404, code: "model_not_found"},
		{name: "second model", before: []string{"model=whisper-1"}, after: []string{"model=dall-e-3"}, status: 400, code: "duplicate_parameter"},
	}
	for _, route := range []string{"", "/hosting"} {
		for _, test := range tests {
			t.Run(test.name+route, func(t *testing.T) {
				provider.fields = nil
				checkMemory(t, g, boundedGrowth, func() {
					status, text := uploadForm(t, g.URL+route, test.before, test.after, test.chunked)
					if status != test.status || !strings.Contains(text, test.code) {
						t.Errorf("status %d, want %d and %q: %.300s", status, test.status, test.code, text)
					}
				})
				if test.want == nil {
					await(t, "the provider's request has ended", func() bool { _, err := provider.saw(); return err != nil })
				}
				fields, err := provider.saw()
				if test.want != nil && (err != nil || fmt.Sprint(fields) != fmt.Sprint(test.want)) {
					t.Errorf("the provider reads %q, %v, want %q", fields, err, test.want)
				}
				if strings.Contains(fmt.Sprint(fields), "dall-e-3") {
					t.Errorf("the provider reads %q", fields)
				}
			})
		}
	}
	t.Run("held by a middleware of Traefik", func(t *testing.T) {
		_, grown := growth(t, g, func() {
			if status, text := uploadForm(t, g.URL+"/holding", nil, nil, false); status != http.StatusOK {
				t.Errorf("status %d, want 200: %.300s", status, text)
			}
		})
		if grown < 2*boundedGrowth {
			t.Errorf("memory rose by %d MiB, want at least %d MiB, or the bound of the other routes finds nothing", grown/mebibyte, 2*boundedGrowth/mebibyte)
		}
	})
	checkNoErrors(t, g)
}

// uploadForm sends a form, and returns the status and the body of the response.
func uploadForm(t *testing.T, base string, before, after []string, chunked bool) (int, string) {
	t.Helper()
	body, length := form(before, after)
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, base+transcriptionPath, body)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	req.ContentLength = length
	if chunked {
		req.ContentLength = -1
	}
	req.Header.Set("Content-Type", "multipart/form-data; boundary="+uploadBoundary)
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return response.StatusCode, string(text)
}
