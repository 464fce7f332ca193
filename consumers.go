package chatcompletion

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// consumers is how an instance finds out who sends a request: the parsed form of Config.Consumers,
// without the groups. Consumers are found by an id: the digest of their key, or their name where a
// header has it.
type consumers struct {
	header     string               // canonical name of the header that names the consumer; empty: keys identify
	required   bool                 // a request without a known consumer is refused
	list       map[string]*consumer // of the configuration
	keys       []*referencedKey     // of the configuration, that are looked up
	from       *secretSource        // of more consumers; nil: there is none, or it never changes
	fromList   *secret              // what from holds; set by startConsumers
	more       *atomic.Value        // what from holds, or a list that never changes: a *consumerList; empty: none so far
	isUncommon bool                 // not keys identify, see identifyUncommon
	names      map[string]bool      // of the consumers in list and keys
	onlyGroups bool                 // nobody is identified here: groups are those of who is identified before

	mu          sync.Mutex
	resolved    map[string]*consumer // of keys, by the keys as they were last looked up
	resolvedFor int64                // the value of secretChanges then; 0: not yet
}

// consumer is who may send requests.
type consumer struct {
	caller      *caller
	disabled    bool
	expires     time.Time      // zero: never
	until       time.Time      // when its key is no longer valid, since there is a new one; zero: it stays
	lapses      bool           // one of the three above is set
	allowed     *regexp.Regexp // models, of those that the instance allows; nil: all of them
	allowedText string         // the patterns, for the client
	labels      []string       // alternating names and values
}

// referencedKey is a key of a consumer that is somewhere else.
type referencedKey struct {
	key        string // of the configuration
	credential *credential
	consumer   *consumer
}

// Labels of calls from consumers.
const (
	consumerLabel = "consumer"
	groupLabel    = "group"
)

// digestPrefix is what a digest of a key begins with, wherever a configuration has it.
const digestPrefix = "sha256:"

// digestFormat makes the digest of a key from its SHA-256, in one call of compiled code.
const digestFormat = digestPrefix + "%x"

// digestForm matches a digest of a key.
var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// emptyDigest is the digest of no key: of a variable that was not set, for instance.
const emptyDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// newConsumer returns a consumer that is valid without end.
func newConsumer(name, group string) *consumer {
	c := &consumer{caller: &caller{name: name, group: group}, labels: []string{consumerLabel, name}}
	if group != "" {
		c.labels = []string{consumerLabel, name, groupLabel, group}
	}
	return c
}

// startConsumers starts the look-ups of what is not in the configuration itself.
func startConsumers(ctx context.Context, cs *consumers) {
	if cs == nil {
		return
	}
	for _, k := range cs.keys {
		startCredential(ctx, k.credential)
	}
	if cs.from != nil {
		cs.fromList = startDocument(ctx, cs.from)
		cs.more = &cs.fromList.source.document.parsed
	}
}

// setAllowedModels sets the patterns of the models that a consumer may use. Without any, it may use
// those of its instance.
func setAllowedModels(c *consumer, patterns []string) {
	var err error
	for _, pattern := range patterns {
		c.allowedText += ", " + pattern
	}
	c.allowedText = strings.TrimPrefix(c.allowedText, ", ")
	if len(patterns) == 0 {
		return
	}
	if c.allowed, err = compilePatterns(patterns); err != nil {
		c.allowed = noModels // too many patterns for an expression
	}
}

var noModels = regexp.MustCompile(`^\x00$`)

// identifyConsumer returns the consumer of a request, nil if none is known and none is required.
func identifyConsumer(cs *consumers, req *http.Request, now time.Time) (*consumer, *apiError) {
	if c := commonConsumer(cs, req); c != nil {
		return c, nil
	}
	return identifyUncommon(cs, req, now)
}

// commonConsumer returns the consumer of a request if few steps tell that it is known and valid; nil:
// identifyUncommon tells. Nearly all clients send one key, in one header.
func commonConsumer(cs *consumers, req *http.Request) *consumer {
	found, key, header := 0, "", req.Header
	for _, name := range keyHeaders {
		for _, value := range header[name] {
			found++
			key = value
		}
	}
	if found != 1 || cs.isUncommon {
		return nil
	}
	if req.URL.RawQuery != "" {
		if mayHaveKey(req.URL.RawQuery) {
			return nil
		}
	}
	if header[authorization] != nil {
		if !strings.HasPrefix(key, bearerPrefix) {
			return nil
		}
		key = key[len(bearerPrefix):]
	}
	id := fmt.Sprintf(digestFormat, sha256.Sum256([]byte(key))) // as keyID
	c := cs.list[id]
	if c == nil {
		c = commonEntry(cs, id)
	}
	if c == nil || c.lapses {
		return nil
	}
	return c
}

// mayHaveKey reports whether the query of a request may have a parameter named key, however that is
// escaped. Others, such as beta=true and alt=sse, are common.
func mayHaveKey(query string) bool {
	return strings.Contains(query, queryKey) || strings.Contains(query, "%")
}

// queryKey is the query parameter in which Google's SDKs may send a key.
const queryKey = "key"

// commonEntry returns the consumer of an id that has been found before beside the list of the
// configuration; nil: findConsumer tells. Most consumers have been.
func commonEntry(cs *consumers, id string) *consumer {
	list, has := cs.more.Load().(*consumerList)
	if !has {
		return nil
	}
	known, isKnown := list.known.Load(id)
	if !isKnown {
		return nil
	}
	c := known.(*consumer)
	if cs.names[c.caller.name] {
		return nil
	}
	return c
}

// identifyUncommon is identifyConsumer for all requests, in more steps.
func identifyUncommon(cs *consumers, req *http.Request, now time.Time) (*consumer, *apiError) {
	switch {
	case cs.onlyGroups:
		return nil, nil
	case cs.header != "":
		return namedConsumer(cs, req, now)
	}
	key, isOne := clientKey(req)
	if key == "" {
		return unidentified(cs, isOne)
	}
	return findConsumer(cs, keyID(key), now)
}

// keyID returns the id of the consumer that has a key.
func keyID(key string) string {
	return fmt.Sprintf(digestFormat, sha256.Sum256([]byte(key)))
}

// bearerPrefix is what the value of Authorization begins with if it is a key.
const bearerPrefix = "Bearer "

// clientKey returns the one key of a request, "" if it has none or several, and whether it has not
// several. A key that is the same in all places is one.
func clientKey(req *http.Request) (key string, isOne bool) {
	var keys []string
	for _, name := range keyHeaders {
		for _, value := range req.Header[name] {
			if name == authorization {
				scheme, token, _ := strings.Cut(strings.TrimSpace(value), " ")
				if value = token; !strings.EqualFold(scheme, "Bearer") {
					continue // not a key
				}
			}
			keys = append(keys, value)
		}
	}
	if req.URL.RawQuery != "" {
		keys = append(keys, req.URL.Query()[queryKey]...)
	}
	key, isOne = "", true
	for _, found := range keys {
		found = strings.TrimSpace(found)
		if key != "" && found != "" && found != key {
			return "", false
		}
		if found != "" {
			key = found
		}
	}
	return key, isOne
}

// namedConsumer returns the consumer that the header names. A name that is not listed is a consumer
// without a group: who set the header knows it.
func namedConsumer(cs *consumers, req *http.Request, now time.Time) (*consumer, *apiError) {
	name, isOne := "", true
	for _, value := range req.Header[cs.header] {
		value = strings.TrimSpace(value)
		isOne = isOne && (name == "" || value == name)
		name = value
	}
	if name == "" || !isOne || !attributeText(name) {
		return unidentified(cs, isOne && attributeText(name))
	}
	c, apiErr := findConsumer(cs, name, now)
	if c == nil && (apiErr == nil || apiErr.status == http.StatusUnauthorized) {
		return newConsumer(name, ""), nil
	}
	return c, apiErr
}

// findConsumer returns the consumer of an id, wherever it is configured. Without one, it returns an
// error if a consumer is required.
func findConsumer(cs *consumers, id string, now time.Time) (*consumer, *apiError) {
	c := cs.list[id]
	if c == nil && cs.keys != nil {
		c = resolvedConsumer(cs, id)
	}
	if c == nil {
		list, has := cs.more.Load().(*consumerList)
		if !has && cs.from != nil {
			if list, has = currentDocument(cs.fromList).(*consumerList); !has {
				return nil, consumersUnavailable()
			}
		}
		if has {
			c = moreConsumer(cs, list, id)
		}
	}
	switch {
	case c != nil:
		return c, lapsed(cs, c, now)
	case cs.required:
		return nil, unknownConsumer("Incorrect API key provided. The gateway does not know the key.")
	}
	return nil, nil
}

// moreConsumer returns the consumer of an id in a list beside that of the configuration; nil: there is
// none. Nobody can be in both.
func moreConsumer(cs *consumers, list *consumerList, id string) *consumer {
	c := listedConsumer(list, id)
	if c != nil && cs.names[c.caller.name] {
		logWarnOnce("consumers.from: %q is also the name of a consumer in consumers.list; its requests get status 401", c.caller.name)
		return nil
	}
	return c
}

// resolvedConsumer returns the consumer that has a key now which the configuration refers to.
func resolvedConsumer(cs *consumers, id string) *consumer {
	changes := secretChanges.Load() + 1
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.resolvedFor != changes {
		resolveKeys(cs)
		cs.resolvedFor = changes
	}
	return cs.resolved[id]
}

// resolveKeys reads the keys that the configuration refers to. It waits for their first look-ups,
// whose time is bounded. The caller holds the lock.
func resolveKeys(cs *consumers) {
	cs.resolved = map[string]*consumer{}
	for _, k := range cs.keys {
		key := currentValue(k.credential)
		if key == "" {
			continue // the log says so
		}
		id := keyDigest(key)
		if id == emptyDigest {
			logWarn("%s: is the SHA-256 of no text; it identifies nobody", k.key)
			continue
		}
		if other := cs.resolved[id]; other != nil || cs.list[id] != nil {
			logWarn("%s: another consumer has the same key; this one is ignored", k.key)
			continue
		}
		cs.resolved[id] = k.consumer
	}
}

// keyDigest returns the digest of a key; a digest is its own.
func keyDigest(key string) string {
	if digestForm.MatchString(key) {
		return key
	}
	return keyID(key)
}

// unidentified returns what follows for a request that names no consumer, or several.
func unidentified(cs *consumers, isOne bool) (*consumer, *apiError) {
	switch {
	case !isOne && cs.header != "":
		return nil, unknownConsumer("The request does not name one consumer.")
	case !isOne:
		return nil, unknownConsumer("The request has several API keys. Send one, in one place.")
	case !cs.required:
		return nil, nil
	case cs.header != "":
		return nil, unknownConsumer("The request does not name a consumer. Authenticate with the gateway.")
	}
	return nil, unknownConsumer("You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth " +
		"(i.e. Authorization: Bearer YOUR_KEY).")
}

// lapsed returns the error for a consumer, or for its key, that is not valid at a time, nil if it is.
func lapsed(cs *consumers, c *consumer, now time.Time) *apiError {
	what := "API key"
	if cs.header != "" {
		what = "consumer"
	}
	switch {
	case c.disabled:
		return &apiError{http.StatusUnauthorized, invalidRequestError, "disabled_api_key", "", "This " + what + " is disabled."}
	case !c.until.IsZero() && !now.Before(c.until):
		return &apiError{http.StatusUnauthorized, invalidRequestError, "expired_api_key", "", "This " + what + " has been replaced by a new one."}
	case !c.expires.IsZero() && !now.Before(c.expires):
		return &apiError{http.StatusUnauthorized, invalidRequestError, "expired_api_key", "", "This " + what + " has expired."}
	}
	return nil
}

func unknownConsumer(message string) *apiError {
	return &apiError{http.StatusUnauthorized, invalidRequestError, "invalid_api_key", "", message}
}

func consumersUnavailable() *apiError {
	return &apiError{http.StatusServiceUnavailable, serverError, "consumers_unavailable", "",
		"The gateway cannot read its list of consumers at the moment. Try again later. The gateway's log states the reason."}
}

func unknownGroup() *apiError {
	return &apiError{http.StatusForbidden, invalidRequestError, "unknown_group", "",
		"The gateway has no configuration for the group of this consumer. Its operator has to add it."}
}
