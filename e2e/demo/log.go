package demo

import (
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
	"sync"
)

// loggedBody bounds the bytes of a body that the log shows.
const loggedBody = 2000

// loggedHeaders are the headers that the log shows, besides those that begin with X-Ai-. Keys are
// shown in full: a developer wants to see them, and demo keys are not secret.
var loggedHeaders = []string{"Authorization", "Api-Key", "X-Api-Key", "X-Goog-Api-Key", "Cookie", "Accept-Encoding"}

var oneLine = strings.NewReplacer("\n", " ", "\r", " ")

// requestLog writes each request as one block of lines. A nil requestLog writes nothing.
type requestLog struct {
	mutex  sync.Mutex
	writer io.Writer
	count  int
}

func (l *requestLog) record(r *http.Request, body []byte) {
	if l == nil {
		return
	}
	names := append([]string{}, loggedHeaders...)
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Ai-") {
			names = append(names, name)
		}
	}
	sort.Strings(names)

	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.count++
	var block strings.Builder
	fmt.Fprintf(&block, "upstream: request %d: %s %s, %d bytes\n", l.count, r.Method, r.URL.Path, len(body))
	for _, name := range names {
		for _, value := range r.Header.Values(name) {
			fmt.Fprintf(&block, "  %s: %s\n", name, value)
		}
	}
	if len(body) > 0 {
		fmt.Fprintf(&block, "  %s\n", shortened(body))
	}
	_, _ = io.WriteString(l.writer, block.String())
}

func shortened(body []byte) string {
	text := string(body)
	if len(text) > loggedBody {
		text = fmt.Sprintf("%s … (%d bytes more)", text[:loggedBody], len(text)-loggedBody)
	}
	return oneLine.Replace(strings.ToValidUTF8(text, ""))
}
