package chatcompletion

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// quoted returns text from a client for use in an error message: shortened and in quotes.
func quoted(text string) string {
	return "'" + shortened(text) + "'"
}

// quotedMaxBytes limits how much of a client's text an error message repeats.
const quotedMaxBytes = 80

// shortened returns text, cut after quotedMaxBytes.
func shortened(text string) string {
	text = strings.ReplaceAll(text, string(placeholder), "...") // of a long string in a parameter
	if len(text) > quotedMaxBytes {
		return strings.ToValidUTF8(text[:quotedMaxBytes], "") + "..."
	}
	return text
}

// truncated returns at most maxBytes of text, and no part of a character.
func truncated(text string, maxBytes int) string {
	if maxBytes < 0 {
		maxBytes = 0
	}
	if len(text) <= maxBytes {
		return text
	}
	for maxBytes > 0 && text[maxBytes]&0xc0 == 0x80 {
		maxBytes--
	}
	return text[:maxBytes]
}

// marshal returns the JSON of a value that can be encoded, without escapes for HTML.
func marshal(value any) []byte {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value)
	return bytes.TrimSpace(text.Bytes())
}

// unquote returns the text of a valid JSON string.
func unquote(value []byte) string {
	if bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1])
	}
	var text string
	if json.Unmarshal(value, &text) != nil {
		return ""
	}
	return text
}

// headerText returns a key without surrounding white space, and reports whether it is a valid
// header value.
func headerText(key string) (string, bool) {
	key = strings.TrimSpace(key)
	return key, key != "" && !strings.ContainsAny(key, controlCharacters)
}

// attributeText reports whether a text can be the value of an attribute: of telemetry, and the name of
// a consumer.
func attributeText(text string) bool {
	return len(text) <= labelMaxBytes && utf8.ValidString(text) && !strings.ContainsAny(text, controlCharacters)
}

// labelMaxBytes bounds the value of a label; a longer one is _OTHER.
const labelMaxBytes = 128

// fold returns a form that is equal for all spellings of a name that some JSON parser treats as the
// same name. The conversion to upper case folds the long s, the one to lower case the Kelvin sign,
// as encoding/json does.
func fold(name string) string {
	if nul := strings.IndexByte(name, 0); nul >= 0 {
		name = name[:nul]
	}
	return strings.ReplaceAll(strings.ToLower(strings.ToUpper(name)), "_", "")
}

// containsText reports whether names contains name.
func containsText(names []string, name string) bool {
	for _, known := range names {
		if known == name {
			return true
		}
	}
	return false
}

// sortedKeys returns the keys of a map with string keys in order, so that problems are reported in
// the same order each time.
func sortedKeys(m any) []string {
	var keys []string
	for _, key := range reflect.ValueOf(m).MapKeys() {
		keys = append(keys, key.String())
	}
	sort.Strings(keys)
	return keys
}

// maxRetryAfter is the longest wait that a provider or a collector can ask for.
const maxRetryAfter = time.Minute

// parseRetryAfter returns the wait that a Retry-After header asks for, in seconds or as a date. It is
// at most maxRetryAfter, and 0 if the header has another form.
func parseRetryAfter(text string, now time.Time) time.Duration {
	wait := time.Duration(0)
	if seconds, err := strconv.ParseUint(text, 10, 63); err == nil {
		if wait = maxRetryAfter; seconds < uint64(maxRetryAfter/time.Second) {
			wait = time.Duration(seconds) * time.Second
		}
	} else if date, err := http.ParseTime(text); err == nil {
		wait = date.Sub(now)
	}
	if wait > maxRetryAfter {
		return maxRetryAfter
	}
	if wait < 0 {
		return 0
	}
	return wait
}

// controlCharacters are the characters that header values and log lines must not contain.
const controlCharacters = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f" +
	"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f"

// modelMaxBytes bounds a model's name: it goes into a header and into telemetry.
const modelMaxBytes = 256

var (
	quote     = []byte{'"'}
	comma     = []byte{','}
	blankLine = []byte("\n\n")
	lineFeed  = []byte("\n")
	space     = []byte{' '}
	// placeholder stands for the inside of a long string where only the rest matters. JSON allows
	// DEL, which texts hardly ever have.
	placeholder = []byte{0x7f}
)

const placeholderBytes = 1

// Escapes in strings of JSON.
var (
	escapedBackslash = []byte(`\\`)
	escapedQuote     = []byte(`\"`)
	escapedSlash     = []byte(`\/`)
	// backslashesAndQuote may be an escaped backslash at the end of a string. Without it, every
	// backslash before a quote escapes that quote.
	backslashesAndQuote = []byte(`\\"`)
)

// coverEscapes overwrites the escapes that could hide the end of a string with another escape, so
// that every remaining quote begins or ends a string. Where a string ends is the one thing on which
// all JSON parsers agree.
func coverEscapes(body []byte) []byte {
	if bytes.Contains(body, backslashesAndQuote) {
		body = bytes.ReplaceAll(body, escapedBackslash, escapedSlash)
	}
	if bytes.Contains(body, escapedQuote) {
		body = bytes.ReplaceAll(body, escapedQuote, escapedSlash)
	}
	return body
}
