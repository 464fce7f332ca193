package chatcompletion

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// template is a configured text with references to the request in Kong's syntax:
// $(uri_captures.name), $(headers.name) and $(query_params.name), and with $(consumer.name) and
// $(consumer.group).
type template struct {
	pattern *regexp.Regexp // Config.ModelPattern, matched against the path
	parts   []templatePart
	isPath  bool // the text is a path
}

// templatePart is literal text, or a reference if it has a source.
type templatePart struct {
	text   string
	source string
	key    string
}

// Sources of a reference.
const (
	uriCaptures = "uri_captures"
	headers     = "headers"
	queryParams = "query_params"
	callerInfo  = "consumer"
)

// caller is the consumer that sent a request, as far as templates refer to it. It is in the context
// of a request where one may.
type caller struct {
	name  string
	group string // empty: none
}

// callerKey is the key of a caller in a context: see exchangeKey.
var callerKey = new(int)

// callerOf returns the caller in the context of a request; nil: it is unknown.
func callerOf(req *http.Request) *caller {
	who, known := req.Context().Value(callerKey).(*caller)
	if !known {
		return nil
	}
	return who
}

// callerValue returns what a reference to the consumer stands for; "": there is no such value.
func callerValue(req *http.Request, key string) string {
	who := callerOf(req)
	switch {
	case who == nil:
		return ""
	case key == callerGroup:
		return who.group
	}
	return who.name
}

// Keys of a reference to the consumer.
const (
	callerName  = "name"
	callerGroup = "group"
)

var templateReference = regexp.MustCompile(`\$\(([^)]*)\)`)

// isTemplate reports whether a configured text refers to the request.
func isTemplate(text string) bool {
	return strings.Contains(text, "$(")
}

// parseTemplate parses the configured text at key.
func parseTemplate(bad *problems, key, text string, pattern *regexp.Regexp) *template {
	t := &template{pattern: pattern}
	copied := 0
	for _, at := range templateReference.FindAllStringSubmatchIndex(text, -1) {
		if at[0] > copied {
			t.parts = append(t.parts, templatePart{text: text[copied:at[0]]})
		}
		copied = at[1]
		reference := text[at[2]:at[3]]
		source, name, _ := strings.Cut(reference, ".")
		switch {
		case source == callerInfo && name != callerName && name != callerGroup:
			bad.add(key, "unknown reference %q: use $(%s.%s) or $(%s.%s)", text[at[0]:at[1]], callerInfo, callerName, callerInfo, callerGroup)
		case name == "" || (source != uriCaptures && source != headers && source != queryParams && source != callerInfo):
			bad.add(key, "unknown reference %q: use $(%s.name), $(%s.name), $(%s.name) or $(%s.%s)",
				text[at[0]:at[1]], uriCaptures, headers, queryParams, callerInfo, callerName)
		case source == uriCaptures && pattern == nil:
			bad.add(key, "$(%s) requires %q", reference, "modelPattern")
		case source == uriCaptures && pattern.SubexpIndex(name) < 0:
			bad.add(key, "$(%s): modelPattern has no group (?<%s>...)", reference, name)
		}
		t.parts = append(t.parts, templatePart{source: source, key: name})
	}
	if rest := text[copied:]; rest != "" {
		t.parts = append(t.parts, templatePart{text: rest})
		if isTemplate(rest) {
			bad.add(key, "unclosed $( in %q", text)
		}
	}
	return t
}

// render returns the text of t for a request. It returns an error if the request lacks a value that
// t refers to, or if a value is not valid in a path.
func render(t *template, req *http.Request) (string, *apiError) {
	var captures []string
	if t.pattern != nil {
		captures = t.pattern.FindStringSubmatch(req.URL.EscapedPath())
	}
	text := ""
	var last templatePart // the last reference
	for _, part := range t.parts {
		value := part.text
		switch part.source {
		case uriCaptures:
			if captures != nil {
				value, _ = url.PathUnescape(captures[t.pattern.SubexpIndex(part.key)])
			}
		case headers:
			value = req.Header.Get(part.key)
		case queryParams:
			value = req.URL.Query().Get(part.key)
		case callerInfo:
			value = callerValue(req, part.key)
		}
		if value == "" {
			return "", invalidRequest("missing_template_value", "", part.source+" key "+part.key+" was not provided")
		}
		if t.isPath && part.source != "" && !isPathValue(part.source, value) {
			return "", invalidPathValue(part)
		}
		text += value
		if part.source != "" {
			last = part
		}
	}
	if t.isPath && (dotSegment.MatchString(text) || encodedSlash.MatchString(req.URL.EscapedPath())) {
		return "", invalidPathValue(last)
	}
	return text, nil
}

// Path traversal: dot segments, and encoded slashes, which the router did not treat as separators.
// A value in a path is limited to the characters of pathValue.
var (
	dotSegment   = regexp.MustCompile(`(^|/)\.+(/|$)`)
	encodedSlash = regexp.MustCompile(`(?i)%(25)*2f`)
	pathValue    = regexp.MustCompile(`^[A-Za-z0-9_~!$&'()+,=:@./-]{1,256}$`)
)

// isPathValue reports whether a value of the request can be inserted into the provider's path. A
// capture, which is part of the path that the router matched, may contain several segments; other
// values are one.
func isPathValue(source, value string) bool {
	return pathValue.MatchString(value) && !strings.Contains(value, "//") && (source == uriCaptures || !strings.Contains(value, "/"))
}

func invalidPathValue(part templatePart) *apiError {
	return invalidRequest("invalid_template_value", "", part.source+" key "+part.key+" cannot be used in a path: "+
		"use at most 256 URL-safe characters, without dot segments and escapes")
}
