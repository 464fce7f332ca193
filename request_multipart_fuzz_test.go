package chatcompletion

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

const formPath = "/v1/audio/transcriptions"

// formSeeds are forms with the boundary x, in spellings that parsers read differently. Lines end in LF here, and in CRLF in
// the seeds, except for those that begin with a backslash.
var formSeeds = []string{
	"--x\nContent-Disposition: form-data; name=\"model\"\n\nwhisper-1\n--x--\n",
	"--x\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\nContent-Type: audio/mpeg\n\n\x00\x01--\n-x\n--x\nContent-Disposition: form-data; name=model\nContent-Type: text/plain\nContent-Length: 9\n\nwhisper-1\n--x--",
	"--x\nContent-Disposition: form-data; name=\"model\"\n\nwhisper-1\n--x\nContent-Disposition: form-data; name=\"model\"\n\ndall-e-3\n--x--\n",
	"--x\nContent-Disposition: form-data; name=\"model[]\"\n\ndall-e-3\n--x\nContent-Disposition: form-data; name=\"model\"\n\nwhisper-1\n--x--\n",
	"--x\nContent-Disposition: form-data; name=\"a\"; filename=\"b\\\"; name=\"model\"\n\ndall-e-3\n--x--\n",
	"--x\nContent-Disposition: form-data; name=\"a\"; filename*=utf-8''b%22; name*=utf-8''model\n\ndall-e-3\n--x--\n",
	"--x\nContent-Type: text/plain\n Content-Disposition: form-data; name=\"model\"\n\ndall-e-3\n--x--\n",
	"--x\nContent-Disposition: form-data; name=\"a\"\nContent-Type: multipart/mixed; boundary=y\n\n--y\nContent-Disposition: form-data; name=\"model\"\n\ndall-e-3\n--y--\n--x--\n",
	"--x\nContent-Disposition: form-data; name=\"model\"\nContent-Transfer-Encoding: base64\n\nZGFsbC1lLTM=\n--x--\n",
	"--x\nContent-Disposition: form-data; name=\"a\"\n\nb\\--x\\Content-Disposition: form-data; name=\"model\"\\\\dall-e-3\n--x--\n",
	"preamble\n--x\nContent-Disposition: form-data; name=\"model\"\n\nwhisper-1\n--x--\n--x\nContent-Disposition: form-data; name=\"model\"\n\ndall-e-3\n--x--\n",
	"--x \nContent-Disposition: form-data; name=\"model\"\n\nwhisper-1\n--x--\n", "--x--\n", "--x\n\n\n--x--\n", "", "{\"model\":\"dall-e-3\"}",
}

func addFormSeeds(f *testing.F, add func(contentType string, body []byte)) {
	f.Helper()
	for _, seed := range formSeeds {
		body := []byte(strings.NewReplacer("\n", "\r\n", `\`, "\n").Replace(seed))
		for _, contentType := range []string{
			"multipart/form-data; boundary=x", `Multipart/Form-Data; boundary="x"; charset=utf-8`, "multipart/form-data; boundary=x; boundary=y", "multipart/form-data; boundary=xy",
			"multipart/mixed; boundary=x", "multipart/form-data; boundary*=utf-8''x; boundary=y", `multipart/form-data; boundary="\x"`, "application/json, multipart/form-data; boundary=x",
		} {
			add(contentType, body)
		}
	}
}

// goModels returns the values of all fields that the standard library finds under a name that may be that of the model.
func goModels(t *testing.T, contentType string, body []byte) []string {
	t.Helper()
	_, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Fatalf("Content-Type %q: %v", contentType, err)
	}
	var models []string
	reader := multipart.NewReader(bytes.NewReader(body), parameters["boundary"])
	for {
		part, err := reader.NextPart()
		if err == io.EOF {
			return models
		}
		if err != nil {
			t.Fatalf("%.600q: %v", body, err)
		}
		value, err := io.ReadAll(part)
		if err != nil {
			t.Fatalf("%.600q: %v", body, err)
		}
		if mayBeModel(part.FormName()) {
			models = append(models, string(value))
		}
	}
}

var (
	lenientBoundary = regexp.MustCompile(`(?i)boundary\*?\d*\*?\s*=\s*(?:utf-8'')?["']?([^"';,\s]+)`)
	lenientName     = regexp.MustCompile(`(?i)(?:^|[;\s,"'])name\*?\d*\*?\s*=\s*(?:utf-8'')?("(?:[^"\\]|\\.)*"?|'[^']*'?|[^;\s]*)`)
	carelessName    = regexp.MustCompile(`(?i)name\s*=\s*["']?([^"';]*)`)
	anyLineEnd      = regexp.MustCompile(`\r\n|\n|\r`)
	emptyLine       = regexp.MustCompile(`\r?\n\r?\n|\r\r`)
)

// lenientModels returns what parsers find that tolerate everything: any line end, any place of a boundary, folded headers, and
// parameters in any spelling.
func lenientModels(contentType string, body []byte) []string {
	boundaries := []string{strings.TrimPrefix(anyLineEnd.Split(string(body), 2)[0], "--")}
	for _, match := range lenientBoundary.FindAllStringSubmatch(contentType, -1) {
		boundaries = append(boundaries, match[1])
	}
	var models []string
	for _, boundary := range boundaries {
		for _, piece := range strings.Split(string(body), "--"+boundary)[1:] {
			end := emptyLine.FindStringIndex(strings.TrimLeft(piece, "\r\n-"))
			if end == nil {
				continue
			}
			piece = strings.TrimLeft(piece, "\r\n-")
			header := regexp.MustCompile(`(?:\r\n|\n|\r)[ \t]+`).ReplaceAllString(piece[:end[0]], " ")
			for _, name := range lenientNames(header) {
				if mayBeModel(name) {
					models = append(models, strings.Trim(piece[end[1]:], "\r\n"))
				}
			}
		}
	}
	return models
}

// lenientNames returns the names that parsers find in the header of a field.
func lenientNames(header string) []string {
	var names []string
	for _, line := range anyLineEnd.Split(header, -1) {
		if !strings.Contains(strings.ToLower(line), "disposition") {
			continue
		}
		for _, match := range lenientName.FindAllStringSubmatch(line, -1) {
			names = append(names, match[1])
		}
		if match := carelessName.FindStringSubmatch(line); match != nil {
			names = append(names, match[1])
		}
	}
	return names
}

// mayBeModel reports whether some server takes a name for that of the model.
func mayBeModel(name string) bool {
	name = strings.ReplaceAll(strings.Trim(name, `"' `), `\`, "")
	if decoded, err := url.PathUnescape(name); err == nil {
		name = decoded
	}
	name, _, _ = strings.Cut(name, "\x00")
	name, _, _ = strings.Cut(strings.TrimLeft(name, "[."), "[")
	name, _, _ = strings.Cut(name, ".")
	name = strings.NewReplacer("_", "", "-", "", "]", "", " ", "", "\t", "").Replace(name)
	return strings.EqualFold(name, "model")
}

// FuzzFormIsGoverned sends forms. Whatever the standard library, or a parser that tolerates everything, finds as the model in a
// forwarded form is allowed, and nothing but the model has changed.
func FuzzFormIsGoverned(f *testing.F) {
	addFormSeeds(f, func(contentType string, body []byte) {
		f.Add(contentType, body)
	})
	routes := map[string]string{formPath: "passthrough: governed"}
	var seen *http.Request
	var forwarded []byte
	var broken error
	provider := func(_ http.ResponseWriter, req *http.Request) {
		seen = req
		forwarded, broken = io.ReadAll(req.Body)
	}
	var handlers []http.Handler
	for _, maxBytes := range []int{1 << 20, 1} { // held in memory, and streaming
		for _, enforced := range []bool{true, false} {
			config := CreateConfig()
			config.Routes = routes
			config.MaxRequestBodySize = maxBytes
			config.AllowedModels = []string{"whisper*"}
			if enforced {
				config.Model = "whisper-enforced"
				config.AllowModelOverride = false
			}
			p, err := newPolicy(config, "fuzz")
			if err != nil {
				f.Fatal(err)
			}
			handlers = append(handlers, newPolicyMiddleware(p, http.HandlerFunc(provider)))
		}
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		var outcomes []bool
		for i, handler := range handlers {
			req := httptest.NewRequest(http.MethodPost, formPath, bytes.NewReader(body))
			req.Header["Content-Type"] = []string{contentType}
			seen, forwarded, broken = nil, nil, nil
			rw := httptest.NewRecorder()
			handler.ServeHTTP(rw, req)
			isAccepted := seen != nil && broken == nil
			outcomes = append(outcomes, isAccepted)
			if isAccepted == (rw.Code >= 400) {
				t.Fatalf("forwarded: %v, status = %d", isAccepted, rw.Code)
			}
			if !isAccepted || !isForm(seen.Header) || len(body) == 0 {
				continue
			}
			checkForm(t, seen, body, forwarded, i%2 == 0)
			if seen.ContentLength >= 0 && seen.ContentLength != int64(len(forwarded)) {
				t.Errorf("Content-Length = %d, want %d", seen.ContentLength, len(forwarded))
			}
		}
		if multipartType.MatchString(contentType) && (outcomes[0] != outcomes[2] || outcomes[1] != outcomes[3]) {
			t.Errorf("%.600q is accepted: %v, want the same whether it is held or streams", body, outcomes)
		}
	})
}

// checkForm checks a form that a provider has got.
func checkForm(t *testing.T, seen *http.Request, body, forwarded []byte, enforced bool) {
	t.Helper()
	types := seen.Header["Content-Type"]
	models := goModels(t, types[0], forwarded)
	if len(models) != 1 {
		t.Errorf("%.600q names models %q, want one", forwarded, models)
	}
	for _, model := range append(lenientModels(types[0], forwarded), models...) {
		if !strings.HasPrefix(model, "whisper") || (enforced && model != "whisper-enforced") {
			t.Errorf("%.600q names the model %q", forwarded, model)
		}
	}
	if !enforced && !bytes.Equal(body, forwarded) {
		t.Errorf("%.600q is forwarded as %.600q", body, forwarded)
	}
	if before, after, found := bytes.Cut(forwarded, []byte("whisper-enforced")); enforced && found {
		start := fieldLength.ReplaceAll(before, nil)
		if original := fieldLength.ReplaceAll(body, nil); !bytes.HasPrefix(original, start) || !bytes.HasSuffix(body, after) {
			t.Errorf("%.600q is forwarded as %.600q", body, forwarded)
		}
	}
}

// FuzzFormWindows cuts a form into windows at any bytes: what is forwarded, or refused, does not depend on them.
func FuzzFormWindows(f *testing.F) {
	addFormSeeds(f, func(contentType string, body []byte) {
		if contentType == "multipart/form-data; boundary=x" {
			f.Add(body, uint16(3), uint16(40))
			f.Add(body, uint16(1), uint16(1))
		}
	})
	f.Fuzz(func(t *testing.T, body []byte, first, second uint16) {
		whole, wholeErr := readWindows(body, len(body), 1)
		pieces, piecesErr := readWindows(body, int(first), int(second))
		if (wholeErr == nil) != (piecesErr == nil) || (wholeErr != nil && wholeErr.code != piecesErr.code) {
			t.Errorf("in windows of %d and %d bytes, %.600q is refused for %v, want %v", first, second, body, piecesErr, wholeErr)
		}
		if wholeErr == nil && !bytes.Equal(whole, pieces) {
			t.Errorf("in windows of %d and %d bytes, %.600q becomes %.600q, want %.600q", first, second, body, pieces, whole)
		}
	})
}

// readWindows reads a form in windows of the given sizes by turns, and returns what is ready of it, with another model.
func readWindows(body []byte, first, second int) ([]byte, *apiError) {
	var ready []byte
	var refused *apiError
	s := newFormStream(&form{delimiter: []byte("--x"), needsModel: true})
	s.decide = func(model string) (string, *apiError) {
		if !strings.HasPrefix(model, "whisper") {
			return "", modelNotFound(model)
		}
		return "other", nil
	}
	s.refuse = func(apiErr *apiError) { refused = apiErr }
	for s.err == nil {
		n := first + 1
		if n > len(body) {
			n = len(body)
		}
		first, second = second, first
		window := append(append([]byte(nil), s.left...), body[:n]...)
		body = body[n:]
		s.left = nil
		scanStream(s, window, len(body) == 0)
		ready = append(ready, bytes.Join(s.ready, nil)...)
		s.ready = nil
	}
	return ready, refused
}
