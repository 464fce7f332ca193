package chatcompletion

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	texttemplate "text/template"
)

// logWarn tells the operator, through Traefik's log, of something that a person must correct.
func logWarn(format string, args ...any) {
	text := notInLines.ReplaceAllString(fmt.Sprintf(format, args...), " ")
	_, _ = fmt.Fprintln(os.Stderr, "chat-completion: "+text)
}

// logDebug tells the operator who looks closely, in Traefik's log at level DEBUG.
func logDebug(format string, args ...any) {
	fmt.Printf("chat-completion: "+format+"\n", args...) // not to os.Stdout, which Yaegi leaves as it is
}

// notInLines would let what others say, such as a collector's certificate, look like another line of the log.
var notInLines = regexp.MustCompile("[" + controlCharacters + "]+")

// logWarnOnce tells the operator something that does not change while this Traefik runs.
func logWarnOnce(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	warnedMu.Lock()
	isKnown := warned[text]
	warned[text] = true
	warnedMu.Unlock()
	if !isKnown {
		logWarn("%s", text)
	}
}

// warned are the warnings about the environment that were given. It does not change, and every middleware reads it.
var (
	warnedMu sync.Mutex
	warned   = map[string]bool{}
)

// recoverGoroutine is deferred in a goroutine that serves a key of the configuration: a panic that left it would end the whole of
// Traefik.
func recoverGoroutine(name string) {
	if cause := recover(); cause != nil {
		logWarn("%s: a panic: %s", name, causeText(cause))
	}
}

// logPanic makes a fault known to the operator.
func logPanic(name string, cause any) {
	logWarn("middleware %q: a panic, in the plugin or behind it: %s", name, causeText(cause))
}

// causeText returns what can be told of a panic.
func causeText(cause any) string {
	text := ""
	ignorePanic(func() {
		if err, isError := cause.(error); isError {
			text = err.Error() // which may panic, too
		} else if said, isText := cause.(string); isText {
			text = said
		}
	})
	if !plainCause.MatchString(text) {
		return fmt.Sprintf("a value of the type %T", cause)
	}
	return truncated(text, causeMaxBytes)
}

// plainCause is a text of the language's runtime and of reflection, which names types and numbers: those of Yaegi's panics.
// Another text could have something of a request in it.
var plainCause = regexp.MustCompile(`^(runtime error|reflect|interface conversion)\b`)

// causeMaxBytes bounds what is told of a panic.
const causeMaxBytes = 200

// ignorePanic takes a step after which others have to come, whatever becomes of it.
func ignorePanic(step func()) {
	defer func() { _ = recover() }()
	step()
}

// isAbort tells whether a panic is that of a reverse proxy whose answer broke off.
func isAbort(cause any) bool {
	is := false
	ignorePanic(func() {
		err, isError := cause.(error)
		is = isError && errors.Is(err, http.ErrAbortHandler) // whose methods may panic, too
	})
	return is
}

// abort breaks an answer off, as a reverse proxy does whose answer broke off: nobody tells of that panic. It has to come from
// compiled code, such as Must: one of interpreted code has another value, and would be in Traefik's log with every frame.
func abort() {
	_ = texttemplate.Must(nil, http.ErrAbortHandler)
}

// problemText returns what an error says, without the URL and without the password of a proxy.
func problemText(err error) string {
	if inner, ok := err.(*url.Error); ok {
		err = inner.Err
	}
	text := err.Error()
	if strings.Contains(text, "proxy address") {
		return "the proxy's address cannot be used"
	}
	return text
}

// problemMaxBytes bounds what is told of a problem, which may repeat what a collector sent.
const problemMaxBytes = 500
