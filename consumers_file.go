package chatcompletion

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// consumerList is a list of consumers in JSON. It may be long: what each request needs of it is made
// when it is needed first, and the loop over its entries does as little as possible.
type consumerList struct {
	entries  []consumerEntry
	places   map[string]int // of entries, by the id of the consumer
	previous map[string]int // of entries, by the digest of the previous key
	known    sync.Map       // consumers by id, made of their entries
}

// consumerEntry is a consumer in a list. Its members are those of Consumer.
type consumerEntry struct {
	Name          string         `json:"name"`
	Key           string         `json:"key"`
	Group         string         `json:"group"`
	Expires       *time.Time     `json:"expires"`
	PreviousKey   *previousEntry `json:"previousKey"`
	Disabled      bool           `json:"disabled"`
	AllowedModels []string       `json:"allowedModels"`
}

type previousEntry struct {
	Key   string    `json:"key"`
	Until time.Time `json:"until"`
}

// consumerObject is a list in an object.
type consumerObject struct {
	List []consumerEntry `json:"list"`
}

// parseKeyList parses a list of consumers that are found by their keys, and parseNameList one of
// consumers that are found by their names.
func parseKeyList(text string) (any, string) {
	list, problem := parseConsumerList(text, false)
	return list, problem
}

func parseNameList(text string) (any, string) {
	list, problem := parseConsumerList(text, true)
	return list, problem
}

// parseConsumerList parses a list of consumers. The problem repeats no key. The loop runs for every
// entry: what can be checked for all of them at once is checked after it, by compiled code.
func parseConsumerList(text string, byName bool) (*consumerList, string) {
	entries, problem := decodeEntries(text)
	if problem != "" {
		return nil, problem
	}
	places, byKey := make(map[string]int, len(entries)), make(map[string]int, len(entries))
	names, keys := make([]string, len(entries)), make([]string, len(entries))
	var replaced []int // places of the entries with a previous key
	longName := false
	for i := range entries {
		e := &entries[i]
		names[i] = e.Name
		keys[i] = e.Key
		places[e.Name] = i
		byKey[e.Key] = i
		if e.PreviousKey != nil {
			replaced = append(replaced, i)
		}
		if len(e.Name) > labelMaxBytes {
			longName = true
		}
	}
	list := &consumerList{entries: entries, places: places, previous: map[string]int{}}
	if problem = checkNames(names, places, longName); problem != "" {
		return nil, problem
	}
	if byName {
		return list, checkNoKeys(keys)
	}
	list.places = byKey
	if problem = checkKeys(keys, byKey); problem != "" {
		return nil, problem
	}
	return list, addPreviousKeys(list, replaced)
}

// listedConsumer returns the consumer of an id in a list; nil: there is none.
func listedConsumer(list *consumerList, id string) *consumer {
	if c, known := list.known.Load(id); known {
		return c.(*consumer)
	}
	place, listed := list.places[id]
	replaced := false
	if !listed {
		place, replaced = list.previous[id]
		if !replaced {
			return nil
		}
	}
	c := entryConsumer(&list.entries[place])
	if replaced {
		c.until = list.entries[place].PreviousKey.Until
		c.lapses = true
	}
	list.known.Store(id, c)
	return c
}

// entryConsumer returns the consumer of an entry.
func entryConsumer(e *consumerEntry) *consumer {
	c := newConsumer(e.Name, e.Group)
	c.disabled = e.Disabled
	if e.Expires != nil {
		c.expires = *e.Expires
	}
	c.lapses = e.Disabled || e.Expires != nil
	setAllowedModels(c, e.AllowedModels)
	return c
}

// decodeEntries decodes a list, or an object with one.
func decodeEntries(text string) ([]consumerEntry, string) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	object := &consumerObject{}
	var err error
	if strings.HasPrefix(strings.TrimSpace(text), "[") {
		err = decoder.Decode(&object.List)
	} else {
		err = decoder.Decode(object)
	}
	var more json.RawMessage
	if err == nil && decoder.Decode(&more) != io.EOF {
		return nil, "there is text after the list"
	}
	return object.List, decodingProblem(err)
}

// decodingProblem describes an error of encoding/json. A name is repeated only if it is too short for
// a key in the wrong place.
func decodingProblem(err error) string {
	var syntax *json.SyntaxError
	var mistyped *json.UnmarshalTypeError
	switch {
	case err == nil:
		return ""
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return "not JSON: the text ends too early"
	case errors.As(err, &syntax):
		return "not JSON, from byte " + strconv.FormatInt(syntax.Offset, 10) + " on"
	case errors.As(err, &mistyped):
		return "wrong type of a value, at byte " + strconv.FormatInt(mistyped.Offset, 10)
	case unknownMember.MatchString(err.Error()):
		return "unknown member " + unknownMember.FindStringSubmatch(err.Error())[1]
	case strings.Contains(err.Error(), "time"):
		return "a time is not in the form of RFC 3339, such as 2027-01-01T00:00:00Z"
	case strings.Contains(err.Error(), "unknown field"):
		return "unknown member; must be one of name, key, group, expires, previousKey, disabled, allowedModels"
	}
	return "not a list of consumers in JSON"
}

var unknownMember = regexp.MustCompile(`unknown field ("[A-Za-z_]{1,15}")$`)

// checkNames returns the problem of the names of a list, "" if there is none. places has the place of
// each name: fewer than names if two are the same.
func checkNames(names []string, places map[string]int, longName bool) string {
	all := strings.Join(names, "")
	_, hasEmpty := places[""]
	if !hasEmpty && !longName && !strings.ContainsAny(all, controlCharacters) && len(places) == len(names) {
		return ""
	}
	for i, name := range names {
		switch {
		case name == "" || !attributeText(name):
			return fmt.Sprintf("[%d].name: must be 1 to %d bytes without control characters", i, labelMaxBytes)
		case places[name] != i:
			return fmt.Sprintf("[%d].name: %q is also the name of [%d]", i, shortened(name), places[name])
		}
	}
	return ""
}

// checkKeys returns the problem of the keys of a list, "" if there is none. byKey has the place of each
// key: fewer than keys if two are the same.
func checkKeys(keys []string, byKey map[string]int) string {
	all := strings.Join(keys, "")
	digests := strings.ReplaceAll(all, digestPrefix, "")
	_, err := hex.DecodeString(digests)
	_, hasEmpty := byKey[emptyDigest]
	isPlain := err == nil && !hasEmpty && len(byKey) == len(keys) && len(digests) == 64*len(keys) && len(all) == digestBytes*len(keys) &&
		strings.ToLower(all) == all
	if isPlain {
		return ""
	}
	for i, key := range keys {
		if problem := keyProblem(key); problem != "" {
			return fmt.Sprintf("[%d].key: %s", i, problem)
		}
		if byKey[key] != i {
			return fmt.Sprintf("[%d].key: is also the key of [%d]", i, byKey[key])
		}
	}
	return ""
}

// digestBytes is the length of a digest of a key.
const digestBytes = 71

// keyProblem returns the problem of a key in a list, "" if it is a digest.
func keyProblem(key string) string {
	if key == emptyDigest {
		return "is the SHA-256 of no text; the command that made it had no key"
	}
	if digestForm.MatchString(key) {
		return ""
	}
	return "must be sha256: and the 64 lower-case hexadecimal digits of the key's SHA-256"
}

// addPreviousKeys adds the previous keys of the entries at some places. It returns their problem, "" if
// there is none.
func addPreviousKeys(list *consumerList, places []int) string {
	for _, i := range places {
		previous := list.entries[i].PreviousKey
		problem := keyProblem(previous.Key)
		_, isKey := list.places[previous.Key]
		_, isPrevious := list.previous[previous.Key]
		switch {
		case problem != "":
			return fmt.Sprintf("[%d].previousKey.key: %s", i, problem)
		case isKey || isPrevious:
			return fmt.Sprintf("[%d].previousKey.key: is also a key of another consumer, or the new key", i)
		case previous.Until.IsZero():
			return fmt.Sprintf("[%d].previousKey.until: must be set", i)
		}
		list.previous[previous.Key] = i
	}
	return ""
}

// checkNoKeys returns the problem of a list with keys where names identify, "" if there is none.
func checkNoKeys(keys []string) string {
	if strings.Join(keys, "") != "" {
		return `a key has no effect with "consumers.header"; remove it`
	}
	return ""
}
