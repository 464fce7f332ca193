package chatcompletion

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// problems collects the problems of a configuration, so that New reports all of them at once.
type problems struct {
	found []string
}

// addBelow adds the problems of the keys below a parent, except those that are known.
func (p *problems) addBelow(parent string, below *problems, known []string) {
	for _, problem := range below.found {
		if !containsText(known, problem) {
			p.found = append(p.found, parent+problem)
		}
	}
}

// add adds the problem of the value at key, unless it is known.
func (p *problems) add(key, format string, args ...any) {
	problem := key + ": " + fmt.Sprintf(format, args...)
	for _, known := range p.found {
		if problem == known {
			return
		}
	}
	p.found = append(p.found, problem)
}

// setting is a configuration key with its value.
type setting struct {
	key   string
	value any
}

// isUnset reports whether a key is missing or empty.
func isUnset(value any) bool {
	text, isString := value.(string)
	return value == nil || (isString && text == "")
}

// parseBool parses a boolean, or a string that holds one.
func parseBool(bad *problems, key string, value any, byDefault bool) bool {
	switch v := value.(type) {
	case nil:
		return byDefault
	case bool:
		return v
	case string:
		switch strings.ToLower(strings.TrimSpace(v)) {
		case "true":
			return true
		case "false":
			return false
		case "":
			return byDefault
		}
	}
	bad.add(key, "must be true or false, got %q", fmt.Sprint(value))
	return byDefault
}

// parseInteger parses an integer in a unit, which may be empty.
func parseInteger(bad *problems, key string, value any, byDefault, least, most int, unit string) int {
	if isUnset(value) {
		return byDefault
	}
	number, ok := parseNumber(value)
	if !ok || number != math.Trunc(number) || number < float64(least) || number > float64(most) {
		if unit != "" {
			unit = " (" + unit + ")"
		}
		bad.add(key, "must be an integer from %d to %d%s, got %q", least, most, unit, shortened(fmt.Sprint(value)))
		return byDefault
	}
	return int(number)
}

// parseNumber parses a number, or a string that holds one.
func parseNumber(value any) (float64, bool) {
	text := strings.TrimSpace(fmt.Sprint(value))
	if !json.Valid([]byte(text)) {
		return 0, false // ParseFloat would accept Inf, 0x10 and 1_000
	}
	number, err := strconv.ParseFloat(text, 64)
	return number, err == nil
}

// parseNames returns the names that are not empty, without surrounding white space.
func parseNames(names []string) []string {
	var trimmed []string
	for _, name := range names {
		if name = strings.TrimSpace(name); name != "" {
			trimmed = append(trimmed, name)
		}
	}
	return trimmed
}

// parseDuration parses a duration from least to most; bounds is their text in the error message. It
// returns 0 if none is configured.
func parseDuration(bad *problems, key, text string, least, most time.Duration, bounds string) time.Duration {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0
	}
	duration, err := time.ParseDuration(text)
	if err != nil || duration < least || duration > most {
		bad.add(key, "must be a duration %s, such as 15s, got %q", bounds, shortened(text))
	}
	return duration
}

// parseAbsolutePath parses the path of a file or a directory.
func parseAbsolutePath(bad *problems, key, path string) string {
	path = strings.TrimSpace(path)
	if path == "" {
		return ""
	}
	if !filepath.IsAbs(path) || strings.ContainsAny(path, controlCharacters) {
		bad.add(key, "must be an absolute path")
	}
	return filepath.Clean(path)
}

// reservedHeaders cannot carry the model or a credential: HTTP or this middleware uses them for
// something else.
var reservedHeaders = map[string]bool{
	"Host": true, "Content-Length": true, "Content-Type": true, "Content-Encoding": true, "Transfer-Encoding": true,
	"Connection": true, "Accept-Encoding": true, "Upgrade": true, "Te": true, "Trailer": true, "Keep-Alive": true,
	"Proxy-Authenticate": true, "Proxy-Authorization": true, "Proxy-Connection": true,
}

var headerName = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")

// parseHeaderName parses the name of a header and returns its canonical form.
func parseHeaderName(bad *problems, key, name string) string {
	canonical := http.CanonicalHeaderKey(name)
	if !headerName.MatchString(name) {
		bad.add(key, "invalid header name") // not repeated: it could be a credential in the wrong place
	} else if reservedHeaders[canonical] {
		bad.add(key, "%q is reserved", name)
	}
	return canonical
}

// parsePrefix parses the text before a credential. It appends a space to a word such as Bearer,
// because container labels cannot end in a space and YAML values rarely do.
func parsePrefix(bad *problems, key, prefix string) string {
	if strings.ContainsAny(prefix, controlCharacters) {
		bad.add(key, "must not contain control characters")
	}
	if prefix == "" || strings.HasSuffix(prefix, " ") || strings.HasSuffix(prefix, "=") || strings.HasSuffix(prefix, ":") {
		return prefix
	}
	return prefix + " "
}

// urlProblem returns the problem of a server's base URL, or "". It does not repeat the URL, which
// may contain a password. instead says where credentials belong.
func urlProblem(text, example, instead string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || strings.ContainsAny(text, " "+controlCharacters):
		return "must be a URL such as " + example
	case u.User != nil:
		return "must not contain a user or a password; " + instead
	case strings.ContainsAny(text, "?#"):
		return "must not contain a query or a fragment"
	}
	return ""
}

// hostName matches the name or the IPv4 address of a host.
var hostName = regexp.MustCompile(`^([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?$`)

// editDistance returns how many insertions, deletions, replacements and swaps of adjacent bytes
// turn a into b.
func editDistance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			row[j] = last[j-1]
			if a[i-1] != b[j-1] {
				row[j]++
			}
			if row[j-1]+1 < row[j] {
				row[j] = row[j-1] + 1
			}
			if last[j]+1 < row[j] {
				row[j] = last[j] + 1
			}
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] && before[j-2]+1 < row[j] {
				row[j] = before[j-2] + 1
			}
		}
	}
	return row[len(b)]
}

// parseOneOf returns the one of the values that is configured, in any case; "": none is, or another
// one, which it reports.
func parseOneOf(bad *problems, key, value string, values ...string) string {
	text := strings.TrimSpace(value)
	for _, allowed := range values {
		if strings.EqualFold(text, allowed) {
			return allowed
		}
	}
	if text != "" {
		bad.add(key, `must be "%s", got %q`, strings.Join(values, `" or "`), shortened(value))
	}
	return ""
}

// checkUnused reports the settings that have a value, but no effect.
func checkUnused(bad *problems, prefix string, settings []setting, why string) {
	for _, s := range settings {
		if !isUnset(s.value) {
			bad.add(prefix+s.key, "has no effect %s", why)
		}
	}
}
