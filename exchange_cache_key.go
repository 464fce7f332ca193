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

// keyPrefix returns what is the same in the keys of all responses of a provider, in a form in which
// nothing is taken for anything else.
func keyPrefix(c *responseCache, pr *provider) string {
	address := ""
	if u := pr.upstream; u != nil {
		address = u.scheme + "://" + u.authority
	}
	return fmt.Sprintf("%q", []string{cacheKeyVersion, c.middleware, c.scope, pr.preset.name, address})
}

// cacheKey returns the key of the response to a request, as the provider is to get it: equal for equal
// requests of those who share responses only. It is "" if no response is read or stored.
func cacheKey(x *exchange, pc *providerCache, req *http.Request) string {
	c, subject := pc.cache, scopeAll
	if c.scope != scopeAll {
		subject = cacheSubject(x, c)
	}
	if subject == "" {
		return ""
	}
	var buffer bytes.Buffer
	_ = req.Header.WriteSubset(&buffer, c.ignoredHeaders) // in order, each value in a line
	lines := buffer.Bytes()
	if uncachedLines.Match(lines) {
		return ""
	}
	body := readKnownBody(req)
	if body == nil || keepsState(body) {
		return ""
	}
	options, router := "", ""
	if hasIgnored(body) {
		body, options = withoutIgnored(x.kind, body)
	}
	if pc.provider.upstream == nil {
		router = req.Host + " " + x.clientPath // nothing else tells the service of a router
	}
	hash, url := sha256.New(), req.URL
	_, _ = fmt.Fprintf(hash, "%s %q %q\n", pc.prefix, []string{subject, router, string(x.kind), url.EscapedPath(), url.RawQuery, req.RequestURI, options}, c.headerLines.FindAll(lines, -1))
	_, _ = hash.Write(body)
	return fmt.Sprintf("%x", hash.Sum(nil))
}

// uncachedLines matches the lines of the headers with which a request bypasses the cache: it is for a
// part of a response, or for one that differs from another, or its body is compressed.
var uncachedLines = regexp.MustCompile(`(?m)^(?:If-(?:None-)?Match|If-(?:Unm|M)odified-Since|Range|Content-Encoding):`)

// cacheSubject returns who shares the response to a request, "" if nobody is known.
func cacheSubject(x *exchange, c *responseCache) string {
	if x.consumer == nil {
		return ""
	}
	who := x.consumer.caller
	if c.scope == scopeConsumer {
		return who.name
	}
	return who.group
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
		restoreRest(req, body)
		return nil
	}
	text := body.Bytes()
	req.Body = io.NopCloser(bytes.NewReader(text))
	return text
}

// restoreRest puts back what was read of a body before the rest of it, which reports its error again.
func restoreRest(req *http.Request, read *bytes.Buffer) {
	req.Body = io.NopCloser(io.MultiReader(read, req.Body))
}

// stateNames are the names of parameters with which a request reads or changes what a provider keeps, or
// acts: the next equal request has another response, or another effect. A name is found at any level of
// the body, and as a value: too many requests are then no business of a cache, never too few.
var stateNames = [][]byte{
	[]byte(`"conversation"`), []byte(`"background"`), []byte(`"container"`), []byte(`"mcp_servers"`), []byte(`"server_url"`), []byte(`"connector_id"`),
}

// keepsState reports whether a request has one of stateNames.
func keepsState(body []byte) bool {
	for _, name := range stateNames {
		if bytes.Contains(body, name) {
			return true
		}
	}
	return false
}

// Members that do not count as the body has them. With other white space they count: the request then
// shares less.
var (
	userMember       = []byte(`"user":`)
	spacedUserMember = []byte(`"user" :`)
	metadataMember   = []byte(`"metadata"`)
	optionsMember    = []byte(`"stream_options"`)
)

// hasIgnored reports whether a body may have members that do not count.
func hasIgnored(body []byte) bool {
	return bytes.Contains(body, userMember) || bytes.Contains(body, metadataMember) || bytes.Contains(body, optionsMember) || bytes.Contains(body, spacedUserMember)
}

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
