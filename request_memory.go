package chatcompletion

import (
	"bytes"
	"encoding/json"
	"hash/maphash"
	"sync"
)

// conversationMemory recognises what an endpoint has found good before, so that it is not read
// again. An agent sends its whole conversation with each request, and the same tools: each body is
// the one before and a little more. Of a good body, the memory keeps the hash of everything up to
// the end of its last message, and that of its large values; no text.
//
// The hashes are of 64 bits, with a seed that is random for each memory and never leaves it. A
// client that found two texts with one hash could pass off one that has not been validated. It
// would have to find them by trying: a response does not depend on the hash, and each try can
// match one hash only, that of a text of the same length with the same last bytes. At a million
// requests per second, the chance is 1 in 500,000 after a year.
type conversationMemory struct {
	arrayID     int           // of the parameter that holds the conversation: an array
	maxElements int           // of that array
	values      []*largeValue // that may be recognised
	seed        maphash.Seed

	mu     sync.RWMutex
	recent map[uint64]knownText
	older  map[uint64]knownText // the generation before
}

// largeValue is a parameter whose value clients repeat byte for byte in each request, in all
// conversations.
type largeValue struct {
	name   string
	id     int
	filler []byte // a value that stands for those that have been found good; nil: a rule reads them
	seen   bool   // a value has been remembered
}

// knownText is what is remembered of a text: of a turn, which is a body up to the end of the last
// element of its conversation, or of a large value.
type knownText struct {
	hash   uint64
	extent int // of a turn: where the elements begin; of a large value: its length
	counts counts
}

// counts are what the bounds on a body count in its skeleton. Those of what is left out are added.
type counts struct {
	bytes    int32
	quotes   int32
	commas   int32
	elements int32 // of the conversation
	objects  int32 // in the conversation
}

// Bounds of the memory. A known text takes about 70 bytes: all of them take less than 3 MB.
const (
	generationMax      = 16 << 10 // known texts; then the generation before is forgotten
	turnKeyBytes       = 64       // at the end of a turn
	valueKeyBytes      = 256      // at the beginning of a large value
	valueSlots         = 4        // large values that begin alike
	largeValueMinBytes = 1 << 10
)

// newConversationMemory returns the memory of an endpoint with all its rules; nil if its requests
// are no conversations.
func newConversationMemory(ep *endpoint) *conversationMemory {
	m := &conversationMemory{seed: maphash.MakeSeed(), recent: map[uint64]knownText{}, older: map[uint64]knownText{}}
	switch ep.kind {
	case completions:
		m.arrayID, m.maxElements = ep.parameters.ids["messages"], messagesMax
	case responses:
		m.arrayID, m.maxElements = ep.parameters.ids["input"], elementsMax
	default:
		return nil
	}
	for _, v := range []*largeValue{
		{name: "tools", filler: []byte(`[]`)},
		{name: "functions", filler: []byte(`[{"name":""}]`)},
		{name: "response_format", filler: []byte(`{"type":"text"}`)},
		{name: "text", filler: []byte(`{}`)},
	} {
		id, known := ep.parameters.ids[v.name]
		if !known {
			continue
		}
		if v.id = id; hasRule(ep, id) {
			v.filler = nil
		}
		m.values = append(m.values, v)
	}
	return m
}

// hasRule reports whether an endpoint has a rule for a parameter.
func hasRule(ep *endpoint, id int) bool {
	for _, r := range ep.rules {
		if r.id == id || r.aliasID == id {
			return true
		}
	}
	return false
}

// turnKey returns the key of the turn that ends at a byte of a body, and valueKey the first key of
// a large value.
func turnKey(m *conversationMemory, body []byte, end int) uint64 {
	return maphash.Bytes(m.seed, body[end-turnKeyBytes:end]) + uint64(end)
}

func valueKey(m *conversationMemory, value []byte) uint64 {
	return maphash.Bytes(m.seed, value[:valueKeyBytes])
}

// storeKnown remembers a text.
func storeKnown(m *conversationMemory, key uint64, text knownText) {
	m.mu.Lock()
	if len(m.recent) >= generationMax {
		m.older = m.recent
		m.recent = map[uint64]knownText{}
	}
	m.recent[key] = text
	m.mu.Unlock()
}

// outline is where a skeleton has what the memory remembers, and what the bounds count in it.
type outline struct {
	counts   counts
	elements edit // the inside of the conversation; none if it is not an array
	inside   counts
	values   []outlinedValue
}

// outlinedValue is a large value in a skeleton.
type outlinedValue struct {
	value  *largeValue
	place  edit
	counts counts
}

// outlineOf returns the outline of a valid body.
func outlineOf(m *conversationMemory, obj *jsonObject) *outline {
	o := &outline{counts: skeletonCounts(obj.skeleton)}
	if place := obj.found[m.arrayID]; place != 0 && obj.skeleton[obj.members[place-1].start] == '[' {
		array := &obj.members[place-1]
		o.elements = placeOf(obj, array.start+1, array.end-1)
		o.inside = skeletonCounts(obj.skeleton[array.start+1 : array.end-1])
		o.inside.objects = int32(bytes.Count(skeletonValue(obj, array), openingBrace))
		var elements []struct{}
		_ = json.Unmarshal(skeletonValue(obj, array), &elements)
		o.inside.elements = int32(len(elements))
		o.counts.elements = o.inside.elements
		o.counts.objects = o.inside.objects
	}
	for _, v := range m.values {
		if place := obj.found[v.id]; place != 0 {
			value := &obj.members[place-1]
			o.values = append(o.values, outlinedValue{v, placeOf(obj, value.start, value.end), skeletonCounts(skeletonValue(obj, value))})
		}
	}
	return o
}

func placeOf(obj *jsonObject, from, to int) edit {
	return countPlaceholders(obj, []edit{{from: from, to: to}})[0]
}

func skeletonCounts(skeleton []byte) counts {
	return counts{bytes: int32(len(skeleton)), quotes: int32(bytes.Count(skeleton, quote)), commas: int32(bytes.Count(skeleton, comma))}
}

func addCounts(a, b counts) counts {
	return counts{a.bytes + b.bytes, a.quotes + b.quotes, a.commas + b.commas, a.elements + b.elements, a.objects + b.objects}
}

// areBounded reports whether a body with these counts surely keeps the bounds of its endpoint, and
// is one of which a skeleton is made.
func areBounded(m *conversationMemory, c counts) bool {
	return c.bytes <= maxSkeletonBytes && c.quotes <= skeletonMaxEnds && c.commas < maxValues && int(c.elements) <= m.maxElements &&
		c.objects <= objectsMax && c.objects-c.elements <= elementsMax
}

// rememberGood remembers the turn and the large values of a body that has been found good. x has
// the hash of the turn before.
func rememberGood(m *conversationMemory, x *excerpt, obj *jsonObject, o *outline) {
	if !areBounded(m, addCounts(x.counts, o.counts)) {
		return
	}
	if o.inside.elements > 0 {
		rememberTurn(m, x, obj, o)
	}
	for i := range o.values {
		rememberValue(m, x, obj, &o.values[i])
	}
}

// rememberTurn remembers a body up to the end of its last element, with the comma that follows in
// the next turn.
func rememberTurn(m *conversationMemory, x *excerpt, obj *jsonObject, o *outline) {
	start := bodyPlace(x, o.elements.from+obj.elided[o.elements.fromPlaceholders])
	end := bodyPlace(x, o.elements.to+obj.elided[o.elements.toPlaceholders])
	end = len(bytes.TrimRight(x.body[:end], jsonSpace))
	if end < turnKeyBytes || end < x.hashed || x.body[end-1] != '}' {
		return
	}
	_, _ = x.hash.Write(x.body[x.hashed:end])
	turn := addCounts(x.turn, o.inside)
	turn.bytes++
	turn.commas++
	storeKnown(m, turnKey(m, x.body, end), knownText{x.hash.Sum64(), start, turn})
}

// rememberValue remembers a large value, unless there is little to read in it, as in a filler.
func rememberValue(m *conversationMemory, x *excerpt, obj *jsonObject, v *outlinedValue) {
	if v.counts.bytes < valueKeyBytes {
		return
	}
	from := bodyPlace(x, v.place.from+obj.elided[v.place.fromPlaceholders])
	to := bodyPlace(x, v.place.to+obj.elided[v.place.toPlaceholders])
	if to-from < largeValueMinBytes {
		return
	}
	hash := maphash.Bytes(m.seed, x.body[from:to])
	storeKnown(m, valueKey(m, x.body[from:])+hash%valueSlots, knownText{hash, to - from, v.counts})
	m.mu.Lock()
	v.value.seen = true
	m.mu.Unlock()
}
