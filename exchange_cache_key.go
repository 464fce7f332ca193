package chatcompletion

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
)

// cacheKeyVersion is part of each key: it changes with what a key, or an entry, consists of.
const cacheKeyVersion = "1"

// cacheKey returns the key of the response to a request, as the provider is to get it: equal for equal
// requests of those who share responses only. It is "" if no response is read or stored.
func cacheKey(x *exchange, c *responseCache, pr *provider, req *http.Request) string {
	subject, isKnown := cacheSubject(x, c)
	if !isKnown || req.Method != http.MethodPost || x.tunnel != nil || x.decision.counts || x.plan.invalid || x.plan.streams {
		return ""
	}
	header := req.Header
	if header["Content-Encoding"] != nil || header["Range"] != nil || header["If-Match"] != nil || header["If-None-Match"] != nil ||
		header["If-Modified-Since"] != nil || header["If-Unmodified-Since"] != nil {
		return ""
	}
	body := readKnownBody(req)
	if body == nil || stateMembers.Match(body) {
		return ""
	}
	options := ""
	if ignoredMembers.Match(body) {
		body, options = withoutIgnored(x.kind, body)
	}
	lines := new(bytes.Buffer)
	_ = header.WriteSubset(lines, nil) // in order, each value in a line
	relevant := bytes.Join(c.headerLines.FindAll(lines.Bytes(), -1), lineFeed)
	hash := sha256.New()
	_, _ = fmt.Fprintf(hash, "%q %q\n", []string{cacheKeyVersion, c.middleware, c.scope, subject, providerID(x, pr, req), string(x.kind),
		req.URL.EscapedPath(), req.URL.RawQuery, req.RequestURI, options}, relevant)
	_, _ = hash.Write(body)
	return fmt.Sprintf("%x", hash.Sum(nil))
}

// cacheSubject returns who shares the response to a request, and whether that is known.
func cacheSubject(x *exchange, c *responseCache) (string, bool) {
	subject, isKnown := "", c.scope == scopeAll
	if x.consumer != nil && !isKnown {
		who := x.consumer.caller
		if c.scope == scopeConsumer {
			subject = who.name
		} else {
			subject = who.group
		}
		isKnown = subject != ""
	}
	return subject, isKnown
}

// providerID returns what identifies the provider that a request is for. The middleware cannot tell the
// service of a router by anything but the request.
func providerID(x *exchange, pr *provider, req *http.Request) string {
	if u := pr.upstream; u != nil {
		return u.scheme + "://" + u.authority + " " + pr.preset.name
	}
	return req.Host + " " + x.clientPath + " " + pr.preset.name
}

// readKnownBody reads a body of known length, and puts it back; nil: the request has none.
func readKnownBody(req *http.Request) []byte {
	if req.ContentLength <= 0 || req.Body == nil {
		return nil
	}
	body := new(bytes.Buffer)
	body.Grow(int(req.ContentLength) + bytes.MinRead)
	_, err := body.ReadFrom(req.Body)
	if err != nil || int64(body.Len()) != req.ContentLength {
		req.Body = io.NopCloser(io.MultiReader(body, req.Body)) // which reports its error again
		return nil
	}
	req.Body = io.NopCloser(bytes.NewReader(body.Bytes()))
	return body.Bytes()
}

// stateMembers matches the names of parameters with which a request reads or changes what a provider
// keeps, or acts: the next equal request has another response, or another effect. A name is found at any
// level of the body: too many requests are then no business of a cache, never too few.
var stateMembers = regexp.MustCompile(`"(?:conversation|background|container|mcp_servers|server_url|connector_id)"\s*:`)

// ignoredMembers matches the names of members that do not count as the body has them.
var ignoredMembers = regexp.MustCompile(`"(?:user|metadata|stream_options)"\s*:`)

// ignoredNames are the parameters of a kind that its responses do not depend on. Those of the Responses
// API repeat all parameters.
var ignoredNames = map[kind][]string{
	completions: {"user", "metadata"}, embeddings: {"user"}, messages: {"metadata"},
}

// withoutIgnored returns a body without the members that do not count, and its stream options in one
// form: they may be the client's, or be added on its behalf.
func withoutIgnored(k kind, body []byte) (rest []byte, options string) {
	rest, options = body, ""
	obj := wholeJSONObject(body)
	if ignoredNames[k] == nil || readMembers(obj) != nil {
		return rest, options
	}
	for i := range obj.members {
		m := &obj.members[i]
		m.removed = containsText(ignoredNames[k], m.name)
		if k == completions && m.name == streamOptions {
			m.removed = true
			options += plainOptions(body[m.start:m.end])
		}
	}
	rest = bytes.Join(splice(obj, edits(obj, nil)), nil)
	return rest, options
}

// plainOptions returns stream options in one form.
func plainOptions(value []byte) string {
	members := map[string]json.RawMessage{}
	if json.Unmarshal(value, &members) != nil {
		return string(value)
	}
	if members == nil {
		return "" // null
	}
	return string(marshal(members))
}
