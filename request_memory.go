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
// The hashes have 64 bits. A body with the hash of another one could bring in what has not been
// validated. Nobody can compute such a body: the seed is random for each memory and never leaves
// it, and no response depends on a hash. What remains is to try. Each request is compared by at
// most turnHashes hashes with at most 2*generationMax turns, so that 10,000 forged requests per
// second would succeed after about 600 years.
type conversationMemory struct {
	arrayID     int           // of the parameter that holds the conversation: an array
	elementsMax int           // of that array
	objectsMax  int           // in the elements; 0: any number
	values      []*largeValue // that may be recognised
	arguments   [][]byte      // names of objects in elements on whose insides no decision depends, see coverArguments
	seed        maphash.Seed

	mu     sync.RWMutex
	seen   []*largeValue // of which a value has been remembered; never modified, but replaced
	recent *generation
	older  *generation // the one before
}

// generation is what was remembered in a time.
type generation struct {
	turns  map[uint64]knownTurn  // by the hash of the body up to its end
	places map[int]bool          // in a body: whether a turn may end there
	ends   map[uint64]bool       // by the hash of their last bytes: the same
	values map[uint64]knownValue // by the hash of their first bytes, and a slot
}

// knownTurn is what is remembered of a body up to the end of the last element of its conversation.
type knownTurn struct {
	start  int // of the elements
	counts counts
}

// knownValue is what is remembered of a large value.
type knownValue struct {
	id     int // of the parameter
	hash   uint64
	length int
	counts counts
}

// largeValue is a parameter whose value clients repeat byte for byte in each request, in all
// conversations.
type largeValue struct {
	name   string
	id     int
	filler []byte // a value that stands for those that have been found good; nil: a rule reads them
}

// toolsName is the largeValue that may have more objects than the conversation.
const toolsName = "tools"

// counts are what the bounds on a body count in its skeleton. Those of what is left out are added.
type counts struct {
	bytes    int32
	quotes   int32
	commas   int32
	elements int32 // of the conversation
	objects  int32 // in the conversation
}

// Bounds of the memory. A turn takes about 150 bytes: all of them take less than 5 MB.
const (
	generationMax      = 16 << 10 // turns and values; then the generation before is forgotten
	endBytes           = 64       // of a turn, by which its end is found
	beginningBytes     = 256      // of a large value, by which it is found
	valueSlots         = 4        // large values that begin alike
	largeValueMinBytes = 1 << 10
)

// newConversationMemory returns the memory of an endpoint with all its rules, whose requests have
// their conversation in the array of the given name; nil if that is empty.
func newConversationMemory(ep *endpoint, array string) *conversationMemory {
	if array == "" {
		return nil
	}
	id := ep.parameters.ids[array]
	bounds := ep.parameters.list[id]
	m := &conversationMemory{arrayID: id, elementsMax: bounds.elementsMax, objectsMax: bounds.objectsMax, seed: maphash.MakeSeed()}
	m.recent, m.older = newGeneration(), newGeneration()
	for _, v := range []*largeValue{
		{name: toolsName, filler: []byte(`[]`)},
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

// forgetfulCopy returns a memory with the same bounds that has nothing in it; nil for nil.
func forgetfulCopy(m *conversationMemory) *conversationMemory {
	if m == nil {
		return nil
	}
	own := &conversationMemory{arrayID: m.arrayID, elementsMax: m.elementsMax, objectsMax: m.objectsMax, values: m.values, arguments: m.arguments, seed: m.seed}
	own.recent, own.older = newGeneration(), newGeneration()
	return own
}

func newGeneration() *generation {
	return &generation{map[uint64]knownTurn{}, map[int]bool{}, map[uint64]bool{}, map[uint64]knownValue{}}
}

// endKey returns the key of the turns that end at a byte of a body and have the same last bytes.
func endKey(m *conversationMemory, body []byte, end int) uint64 {
	return maphash.Bytes(m.seed, body[end-endBytes:end]) + uint64(end)
}

// beginningKey returns the first of the keys of the values that begin alike.
func beginningKey(m *conversationMemory, value []byte) uint64 {
	return maphash.Bytes(m.seed, value[:beginningBytes])
}

// storeTurn remembers a turn that ends at a byte of a body.
func storeTurn(m *conversationMemory, hash uint64, end int, key uint64, turn knownTurn) {
	m.mu.Lock()
	if len(m.recent.turns)+len(m.recent.values) >= generationMax {
		forgetOldest(m)
	}
	m.recent.turns[hash] = turn
	m.recent.places[end] = true
	m.recent.ends[key] = true
	m.mu.Unlock()
}

// storeValue remembers a large value of a parameter.
func storeValue(m *conversationMemory, beginning uint64, v *largeValue, value knownValue) {
	m.mu.Lock()
	if len(m.recent.turns)+len(m.recent.values) >= generationMax {
		forgetOldest(m)
	}
	m.recent.values[beginning+slotFor(m, beginning, value.hash)] = value
	isSeen := false
	for _, other := range m.seen {
		isSeen = isSeen || other == v
	}
	if !isSeen {
		m.seen = append([]*largeValue{v}, m.seen...)
	}
	m.mu.Unlock()
}

// slotFor returns the slot for a value: its own, else the first free one, else one by its hash. The
// caller holds the lock.
func slotFor(m *conversationMemory, beginning, hash uint64) uint64 {
	for slot := uint64(0); slot < valueSlots; slot++ {
		value, isTaken := m.recent.values[beginning+slot]
		if !isTaken || value.hash == hash {
			return slot
		}
	}
	return hash % valueSlots
}

// forgetOldest begins a new generation. The caller holds the lock.
func forgetOldest(m *conversationMemory) {
	m.older = m.recent
	m.recent = newGeneration()
}

// seenValues returns the parameters of which a large value has been remembered.
func seenValues(m *conversationMemory) []*largeValue {
	m.mu.RLock()
	seen := m.seen
	m.mu.RUnlock()
	return seen
}

// turnEnds returns after which first bytes of the separators between some pieces of a body a turn may
// end, the last one first: one has ended at such a place, and one with such an end. end is that of the
// last piece.
func turnEnds(m *conversationMemory, body []byte, pieces [][]byte, separatorBytes, end int) []int {
	var ends []int
	m.mu.RLock()
	for i := len(pieces) - 1; i > 0; i-- {
		end -= len(pieces[i]) + separatorBytes
		if place := end + 1; m.recent.places[place] || m.older.places[place] {
			key := endKey(m, body, place)
			if m.recent.ends[key] || m.older.ends[key] {
				ends = append(ends, place)
			}
		}
	}
	m.mu.RUnlock()
	return ends
}

// lookupTurn returns the turn with a hash, and reports whether it is known.
func lookupTurn(m *conversationMemory, hash uint64) (knownTurn, bool) {
	m.mu.RLock()
	turn, isKnown := m.recent.turns[hash]
	if !isKnown {
		turn, isKnown = m.older.turns[hash]
	}
	m.mu.RUnlock()
	return turn, isKnown
}

// lookupValue returns the known value of a parameter at a place of a body; it ends where it begins if
// there is none.
func lookupValue(m *conversationMemory, v *largeValue, body []byte, at int) *known {
	key := beginningKey(m, body[at:])
	for slot := uint64(0); slot < valueSlots; slot++ {
		m.mu.RLock()
		value, isKnown := m.recent.values[key+slot]
		if !isKnown {
			value, isKnown = m.older.values[key+slot]
		}
		m.mu.RUnlock()
		end := at + value.length
		if !isKnown || value.id != v.id || end > len(body) || maphash.Bytes(m.seed, body[at:end]) != value.hash {
			continue
		}
		return &known{from: at, to: end, value: v, filler: v.filler, counts: value.counts}
	}
	return &known{from: at, to: at}
}

// outline is where a skeleton has what the memory remembers, and what the bounds count in it.
type outline struct {
	counts   counts
	elements edit   // those of the conversation that the next turn repeats; none if it is not an array
	inside   counts // of them, with the comma that follows in the next turn
	values   []outlinedValue

	namesModels bool // a value may name models
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
		m := &obj.members[place-1]
		outlineElements(o, obj, m.start+1, obj.skeleton[m.start:m.end])
	}
	for _, v := range m.values {
		if place := obj.found[v.id]; place != 0 {
			value := &obj.members[place-1]
			o.values = append(o.values, outlinedValue{v, placeOf(obj, value.start, value.end), skeletonCounts(skeletonValue(obj, value))})
		}
	}
	return o
}

// outlineElements adds the elements of the conversation to an outline: those of an array, whose elements
// begin at an offset of the skeleton.
func outlineElements(o *outline, obj *jsonObject, from int, array []byte) {
	all := array[1 : len(array)-1]
	var elements []struct{}
	_ = json.Unmarshal(array, &elements)
	o.counts.elements = int32(len(elements))
	o.counts.objects = int32(bytes.Count(all, openingBrace))
	repeated := all
	number := len(elements)
	if bytes.Contains(all, cacheControl) {
		repeated, number = withoutCacheMarks(array)
	}
	o.elements = placeOf(obj, from, from+len(repeated))
	o.inside = skeletonCounts(repeated)
	o.inside.elements = int32(number)
	o.inside.objects = int32(bytes.Count(repeated, openingBrace))
	o.inside.bytes++
	o.inside.commas++
}

// cacheControl is the name of the mark up to which a provider caches a prompt.
var cacheControl = []byte(`"cache_control"`)

// marksReach is how many elements the last one and the first one with a mark that moves are apart.
const marksReach = 8

// withoutCacheMarks returns the elements before those at the end of a conversation that a client
// marks for the cache, and their number: in the next turn, the marks are on later elements.
func withoutCacheMarks(array []byte) (repeated []byte, number int) {
	var elements []json.RawMessage
	_ = json.Unmarshal(array, &elements)
	number = len(elements)
	rest := bytes.TrimRight(array[:len(array)-1], jsonSpace)
	end := len(rest)
	for i := number - 1; i >= 0 && i >= len(elements)-marksReach; i-- {
		start := len(rest) - len(elements[i])
		rest = bytes.TrimRight(rest[:start], elementSpace)
		if bytes.Contains(elements[i], cacheControl) {
			number = i
			end = len(rest)
		}
	}
	return array[1:end], number
}

// elementSpace is what may be between two elements of an array.
const elementSpace = jsonSpace + ","

// placeOfValue returns where a skeleton has a large value; at its beginning, where no value is, if
// it has none.
func placeOfValue(o *outline, value *largeValue) *edit {
	for i := range o.values {
		if o.values[i].value == value {
			return &o.values[i].place
		}
	}
	return &edit{}
}

func placeOf(obj *jsonObject, from, to int) edit {
	return countPlaceholders(obj, []edit{{from: from, to: to}})[0]
}

func skeletonCounts(skeleton []byte) counts {
	return counts{bytes: int32(len(skeleton)), quotes: int32(bytes.Count(skeleton, quote)), commas: int32(bytes.Count(skeleton, comma))}
}

// addCounts adds counts to a sum. They are not passed as values, which the interpreter would copy.
func addCounts(sum, more *counts) {
	sum.bytes += more.bytes
	sum.quotes += more.quotes
	sum.commas += more.commas
	sum.elements += more.elements
	sum.objects += more.objects
}

// areBounded reports whether a body with these counts, of what is left out and of the rest, surely
// keeps the bounds of its endpoint, and is one of which a skeleton is made.
func areBounded(m *conversationMemory, leftOut, rest *counts) bool {
	sum := *leftOut
	addCounts(&sum, rest)
	return sum.bytes <= maxSkeletonBytes && sum.quotes <= skeletonMaxEnds && sum.commas < maxValues && int(sum.elements) <= m.elementsMax &&
		(m.objectsMax == 0 || int(sum.objects-sum.elements) <= m.objectsMax)
}

// rememberGood remembers the turn and the large values of a body that has been found good. x has
// the hash of the turn before.
func rememberGood(m *conversationMemory, x *excerpt, obj *jsonObject, o *outline) {
	if x.gaps == nil && !areBounded(m, &x.counts, &o.counts) {
		return
	}
	if o.inside.elements > 0 {
		rememberTurn(m, x, obj, o)
	}
	if o.namesModels || x.isReported {
		return // models must be read in each request, because it depends on the consumer who may use them
	}
	for i := range o.values {
		if o.values[i].counts.bytes >= beginningBytes { // not for a filler
			rememberValue(m, x, obj, &o.values[i])
		}
	}
}

// rememberTurn remembers a body up to the end of its last element, with the comma that follows in
// the next turn.
func rememberTurn(m *conversationMemory, x *excerpt, obj *jsonObject, o *outline) {
	place := &o.elements
	end := bodyPlace(x, place.to+obj.elided[place.toPlaceholders])
	end = len(bytes.TrimRight(x.body[:end], jsonSpace))
	if end < endBytes || end < x.hashed || x.body[end-1] != '}' {
		return
	}
	_, _ = x.hash.Write(x.body[x.hashed:end])
	x.remembered = end
	turn := knownTurn{counts: o.inside}
	if x.covers {
		addCounts(&turn.counts, &x.covered)
	}
	if before := x.turn; before != nil {
		turn.start = before.from
		addCounts(&turn.counts, &before.counts)
	} else {
		turn.start = bodyPlace(x, place.from+obj.elided[place.fromPlaceholders])
	}
	storeTurn(m, x.hash.Sum64(), end, endKey(m, x.body, end), turn)
}

func rememberValue(m *conversationMemory, x *excerpt, obj *jsonObject, v *outlinedValue) {
	from := bodyPlace(x, v.place.from+obj.elided[v.place.fromPlaceholders])
	to := bodyPlace(x, v.place.to+obj.elided[v.place.toPlaceholders])
	if to-from < largeValueMinBytes {
		return
	}
	value := knownValue{v.value.id, maphash.Bytes(m.seed, x.body[from:to]), to - from, v.counts}
	addCounts(&value.counts, &x.covered) // which may be inside
	storeValue(m, beginningKey(m, x.body[from:]), v.value, value)
}
