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

// problems collects what is wrong with a configuration, so that all is said at once, and once.
type problems struct {
	found []string
}

// add notes a problem; text says what is wrong with the value at key.
func (p *problems) add(key, format string, args ...any) {
	problem := key + ": " + fmt.Sprintf(format, args...)
	for _, known := range p.found {
		if problem == known {
			return
		}
	}
	p.found = append(p.found, problem)
}

// setting is a key of the configuration with its value.
type setting struct {
	key   string
	value any
}

// isUnset tells whether a key was left out, or left empty.
func isUnset(value any) bool {
	text, isString := value.(string)
	return value == nil || (isString && text == "")
}

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
	bad.add(key, "%q is neither true nor false", fmt.Sprint(value))
	return byDefault
}

// parseInteger reads a whole number of a unit, from 1 on.
func parseInteger(bad *problems, key string, value any, byDefault, maximum int, unit string) int {
	if isUnset(value) {
		return byDefault
	}
	number, ok := parseNumber(value)
	if !ok || number != math.Trunc(number) || number < 1 || number > float64(maximum) {
		bad.add(key, "%q is not a whole number of %s from 1 to %d", fmt.Sprint(value), unit, maximum)
	}
	return int(number)
}

// parseNumber reads a number that came as one or as a string.
func parseNumber(value any) (float64, bool) {
	text := strings.TrimSpace(fmt.Sprint(value))
	if !json.Valid([]byte(text)) {
		return 0, false // so that no "Inf", "0x10" or "1_000" passes, which ParseFloat takes
	}
	number, err := strconv.ParseFloat(text, 64)
	return number, err == nil
}

func parseNames(names []string) []string {
	var trimmed []string
	for _, name := range names {
		if name = strings.TrimSpace(name); name != "" {
			trimmed = append(trimmed, name)
		}
	}
	return trimmed
}

// parseDuration reads a time within bounds; 0: none is configured.
func parseDuration(bad *problems, key, text string, least, most time.Duration, bounds string) time.Duration {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0
	}
	duration, err := time.ParseDuration(text)
	if err != nil || duration < least || duration > most {
		bad.add(key, "%q is no time %s, such as 15s", shortened(text), bounds)
	}
	return duration
}

// parseAbsolutePath reads the path of a file or a directory.
func parseAbsolutePath(bad *problems, key, path string) string {
	path = strings.TrimSpace(path)
	if path == "" {
		return ""
	}
	if !filepath.IsAbs(path) || strings.ContainsAny(path, controlCharacters) {
		bad.add(key, "is no absolute path")
	}
	return filepath.Clean(path)
}

// reservedHeaders can carry neither the model nor the key: HTTP or this middleware needs them otherwise.
var reservedHeaders = map[string]bool{
	"Host": true, "Content-Length": true, "Content-Type": true, "Content-Encoding": true, "Transfer-Encoding": true,
	"Connection": true, "Accept-Encoding": true, "Upgrade": true, "Te": true, "Trailer": true, "Keep-Alive": true,
	"Proxy-Authenticate": true, "Proxy-Authorization": true, "Proxy-Connection": true,
}

var headerName = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")

// parseHeaderName returns the canonical name of a header.
func parseHeaderName(bad *problems, key, name string) string {
	canonical := http.CanonicalHeaderKey(name)
	if !headerName.MatchString(name) {
		bad.add(key, "is no name of a header") // not repeated: it could be a key in the wrong place
	} else if reservedHeaders[canonical] {
		bad.add(key, "%q is needed for something else", name)
	}
	return canonical
}

// parsePrefix gives a word its space: labels cannot end in one, and YAML rarely does.
func parsePrefix(bad *problems, key, prefix string) string {
	if strings.ContainsAny(prefix, controlCharacters) {
		bad.add(key, "has a character that cannot stand in a header")
	}
	if prefix == "" || strings.HasSuffix(prefix, " ") || strings.HasSuffix(prefix, "=") || strings.HasSuffix(prefix, ":") {
		return prefix
	}
	return prefix + " "
}

// urlProblem tells what is wrong with the base URL of a server, without repeating it: it may hold a password.
func urlProblem(text, example, instead string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || strings.ContainsAny(text, " "+controlCharacters):
		return "is no URL such as " + example
	case u.User != nil:
		return "has a user or a password in it; " + instead
	case strings.ContainsAny(text, "?#"):
		return "has a query or a fragment"
	}
	return ""
}

// hostName is the name or the IPv4 address of a host.
var hostName = regexp.MustCompile(`^([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?$`)

// editDistance returns how many bytes have to be inserted, removed, replaced or swapped with their neighbour to make b
// of a.
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
