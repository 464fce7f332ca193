package chatcompletion

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"strings"
	"sync"
	texttemplate "text/template"
)

// logWarn writes a line about something that a person must correct. It goes to the standard error
// of Traefik, whatever the log level.
func logWarn(format string, args ...any) {
	text := notInLines.ReplaceAllString(fmt.Sprintf(format, args...), " ")
	_, _ = fmt.Fprintln(os.Stderr, "chat-completion: "+text)
}

// logDebug writes a line that Traefik logs at level DEBUG.
func logDebug(format string, args ...any) {
	text := fmt.Sprintf("chat-completion: "+format, args...)
	if isInterpreted() {
		fmt.Println(text) // Yaegi redirects Println to Traefik's log, but not os.Stdout
	} else {
		log.Println(text) // Traefik redirects it to its own log
	}
}

// logStart writes once which of the two ways of running the plugin is in use.
func logStart() {
	if isInterpreted() {
		logWarnOnce("the plugin is interpreted")
	} else {
		logWarnOnce("the plugin is compiled into Traefik")
	}
}

// isInterpreted reports whether Yaegi interprets this package. Yaegi makes types with package
// reflect, which cannot give a name to a struct; the compiler names every declared type.
func isInterpreted() bool {
	return reflect.TypeOf(apiError{}).Name() == ""
}

// notInLines are the characters with which text from others, such as a collector's certificate,
// could forge another line of the log.
var notInLines = regexp.MustCompile("[" + controlCharacters + "]+")

// logWarnOnce is logWarn for what does not change while Traefik runs: it writes each text once.
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

// warned holds the warnings of logWarnOnce. Every instance reads the same environment, which does
// not change.
var (
	warnedMu sync.Mutex
	warned   = map[string]bool{}
)

// recoverGoroutine is deferred in a goroutine that serves the configuration key name. A panic that
// is not recovered there would terminate Traefik.
func recoverGoroutine(name string) {
	if cause := recover(); cause != nil {
		logWarn("%s: panic: %s", name, causeText(cause))
	}
}

// recoverUngoverned is deferred while a request that is not governed is served, until it is
// forwarded. It responds to a panic.
func recoverUngoverned(name string, rw http.ResponseWriter) {
	cause := recover()
	if cause == nil {
		return
	}
	if isAbort(cause) {
		abort()
	}
	logPanic(name, cause)
	write500(rw, openAIErrors)
}

// logPanic logs a panic during a request.
func logPanic(name string, cause any) {
	logWarn("middleware %q: panic in the plugin or in a handler after it: %s", name, causeText(cause))
}

// causeText describes the cause of a panic without repeating text of a request.
func causeText(cause any) string {
	text := ""
	ignorePanic(func() {
		if err, isError := cause.(error); isError {
			text = err.Error() // which may panic, too
		} else if said, isText := cause.(string); isText {
			text = said
		}
	})
	if !runtimeCause.MatchString(text) {
		return fmt.Sprintf("a value of the type %T", cause)
	}
	return truncated(text, causeMaxBytes)
}

// runtimeCause matches the texts of the Go runtime and of reflection, which are those of Yaegi's
// panics and contain only types and numbers. Any other text could contain parts of a request.
var runtimeCause = regexp.MustCompile(`^(runtime error|reflect|interface conversion)\b`)

// causeMaxBytes limits the text of a panic.
const causeMaxBytes = 200

// ignorePanic calls step and recovers from its panic, so that the following steps run in any case.
func ignorePanic(step func()) {
	defer func() { _ = recover() }()
	step()
}

// isAbort reports whether a panic is http.ErrAbortHandler, with which a reverse proxy aborts a
// response.
func isAbort(cause any) bool {
	is := false
	ignorePanic(func() {
		err, isError := cause.(error)
		is = isError && errors.Is(err, http.ErrAbortHandler) // its methods may panic, too
	})
	return is
}

// abort aborts the response with http.ErrAbortHandler, which is not logged. The panic has to come
// from compiled code, such as Must: a panic of interpreted code has another value, and Traefik
// would log it with all its frames.
func abort() {
	_ = texttemplate.Must(nil, http.ErrAbortHandler)
}

// problemText returns the text of an error without the URL, and without the address of a proxy,
// which may contain a password.
func problemText(err error) string {
	if inner, ok := err.(*url.Error); ok {
		err = inner.Err
	}
	text := err.Error()
	if strings.Contains(text, "proxy address") {
		return "invalid proxy address"
	}
	return text
}

// problemMaxBytes limits the text of a problem, which may repeat what a collector sent.
const problemMaxBytes = 500
