package chatcompletion

import (
	"bytes"
	"encoding/json"
	"regexp"
	"sort"
	"strings"
	"unicode/utf8"
)

// Bounds on the work for one document in which something may match. What is beyond them cannot be
// inspected.
const (
	maxInspectedStrings = 1000
	maxInspectedParts   = 16 << 10
	maxInspectedNumbers = 16 << 10
	maxPathBytes        = 128 << 20 // that are read to find whose texts match; beyond them, rules of all roles apply
)

// mayHoldMatch reports whether a text of a JSON document may hold a match, or cannot be read. Compiled
// code does all of the work: it sees all texts, names and numbers at once, with a line feed after each.
func mayHoldMatch(g *guardRules, body []byte) bool {
	if len(body) >= dataWorthBytes {
		body = withoutData(body)
	}
	text, isRead := jsonTexts(body)
	return !isRead || matchesAnyLevel(g, text)
}

// dataWorthBytes is the length of a body from which on base64 data is worth to be left out at first.
const dataWorthBytes = 8 << 10

// documentReplacer makes one text of the strings of a JSON document that has no escape with u: a line feed
// stands for each quote that begins or ends a string, and escapeMark for a backslash in a text.
var documentReplacer = strings.NewReplacer(
	`\\`, escapeMark, `\"`, `"`, `"`, "\n", `\/`, `/`, `\b`, "\b", `\f`, "\f", `\n`, "\n", `\r`, "\r", `\t`, "\t",
)

// Replacements in a JSON document that make one JSON string of it, in which a line feed stands for each
// quote that begins or ends a string.
var (
	backslashCode = []byte(`\u005c`)
	quoteCode     = []byte(`\u0022`)
	lineFeedCode  = []byte(`\n`)
	tabMark       = []byte{'\t'}
	returnMark    = []byte{'\r'}
)

// jsonTexts returns the texts of a JSON document, or of a part of one, as one text, with what is between
// them, and reports whether it could be read.
func jsonTexts(body []byte) (string, bool) {
	if bytes.IndexByte(body, '\\') < 0 {
		return string(bytes.ReplaceAll(body, quote, lineFeed)), true
	}
	if bytes.IndexByte(body, escapeMarkByte) < 0 {
		text := documentReplacer.Replace(string(body))
		if strings.IndexByte(text, '\\') < 0 {
			return backslashReplacer.Replace(text), true
		}
	}
	return jsonTextsOfCodes(body)
}

// jsonTextsOfCodes is jsonTexts for a document that has escapes with u, or some that are not valid.
func jsonTextsOfCodes(body []byte) (string, bool) {
	text := ""
	if bytes.Contains(body, backslashesAndQuote) {
		body = bytes.ReplaceAll(body, escapedBackslash, backslashCode)
	}
	body = bytes.ReplaceAll(body, escapedQuote, quoteCode)
	body = bytes.ReplaceAll(body, quote, lineFeedCode)
	if bytes.IndexByte(body, '\n') >= 0 {
		body = bytes.ReplaceAll(body, lineFeed, lineFeedCode)
	}
	body = bytes.ReplaceAll(body, tabMark, space)
	body = bytes.ReplaceAll(body, returnMark, space)
	err := json.Unmarshal(bytes.Join([][]byte{quote, body, quote}, nil), &text)
	return text, err == nil
}

// Base64 data is no text if it is that long, and nothing else is in the string, or in the data URL after
// its mark. What is found after maxData tries counts as text at first.
const (
	dataMinBytes = 512
	maxData      = 64
	dataURL      = "data:"
	base64Mark   = ";base64,"
)

// The alphabets of base64. An escape is none of their characters, but for that of the slash: a text in
// escapes is no data.
const (
	plainAlphabet = `ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=`
	urlAlphabet   = `ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-=`
)

// dataMarks precede base64 data: in a data URL, and in a member named data.
var dataMarks = [][]byte{[]byte(base64Mark), []byte(`"data":"`), []byte(`"data": "`)}

// dataMember matches the end of a text in which the value of a member with base64 data begins.
var dataMember = regexp.MustCompile(`[{,\s]"(data|url|file_data|image_url|b64_json)"\s*:\s*"$`)

// dataNameBytes is how much is read before a value to find its name.
const dataNameBytes = 64

// withoutData returns a JSON document without long base64 data.
func withoutData(body []byte) []byte {
	for _, mark := range dataMarks {
		if bytes.Contains(body, mark) {
			body = withoutDataAfter(body, mark)
		}
	}
	return body
}

func withoutDataAfter(body, mark []byte) []byte {
	var kept [][]byte
	for tries := 0; tries < maxData; tries++ {
		at := bytes.Index(body, mark)
		if at < 0 {
			break
		}
		at += len(mark)
		length := bytes.IndexByte(body[at:], '"')
		if length < 0 {
			break
		}
		kept = append(kept, body[:at])
		start := bytes.LastIndexByte(body[:at], '"') + 1
		name := dataMember.FindSubmatch(tailOf(body[:start], dataNameBytes))
		if name == nil || base64Start(string(name[1]), string(body[start:at+length])) < 0 {
			kept = append(kept, body[at:at+length])
		}
		body = body[at+length:]
	}
	return bytes.Join(append(kept, body), nil)
}

// tailOf returns at most so many bytes of the end of a text.
func tailOf(text []byte, most int) []byte {
	if len(text) > most {
		text = text[len(text)-most:]
	}
	return text
}

// inspection is the search of a JSON document for what rules match. It is made only if something may
// match: the bounds above limit its work.
type inspection struct {
	rules    *guardRules
	body     []byte
	covered  []byte       // the body, in which all quotes begin or end a string
	hasRoles bool         // texts have roles
	edits    []guardEdit  // that mask what matches, in order
	matched  []*guardRule // each once
	places   []int        // of the texts in which they have matched first
	blocking *guardRule   // nil: no rule blocks
	isLimit  bool         // the document cannot be inspected
	strings  int          // that have been inspected
	parts    int          // that have been looked at
	numbers  int          // that have been inspected
	read     int          // bytes that have been read for paths
}

// guardEdit replaces a part of a document.
type guardEdit struct {
	from  int
	to    int
	value []byte
}

// inspectJSON finds what rules match in the texts of a JSON document that may hold a match. Rules with roles apply to
// messages of these roles only if the document is a request.
func inspectJSON(g *guardRules, body []byte, isRequest bool) *inspection {
	in := &inspection{rules: g, body: body, covered: coverEscapes(body), hasRoles: isRequest}
	inspectPart(in, 0, len(body), false)
	return in
}

// isDone reports whether the rest of the document does not matter.
func isDone(in *inspection) bool {
	return in.isLimit || in.blocking != nil
}

// inspectPart inspects a part of the document that begins and ends at quotes and may hold a match: of its
// halves, those that may hold one, and at last a string or what is between two. isInside: it begins in a string.
func inspectPart(in *inspection, from, to int, isInside bool) {
	middle := (from + to) / 2
	at := bytes.IndexByte(in.covered[middle:to], '"')
	if at >= 0 {
		at += middle
	} else if at = bytes.LastIndexByte(in.covered[from:middle], '"'); at >= 0 {
		at += from
	}
	switch {
	case at >= 0:
		isSame := bytes.Count(in.covered[from:at], quote)%2 == 1
		inspectHalves(in, []documentPart{{from, at, isInside}, {at + 1, to, isInside == isSame}})
	case isInside:
		inspectString(in, from, to)
	default:
		inspectNumbers(in, from, to)
	}
}

// documentPart is a part of a document that begins and ends at quotes.
type documentPart struct {
	from     int
	to       int
	isInside bool // it begins in a string
}

// inspectHalves inspects the halves of a part that may hold a match. The larger one may, without another look
// at it, if the smaller one does not: a string of megabytes is read once.
func inspectHalves(in *inspection, halves []documentPart) {
	small := 0
	if halves[1].to-halves[1].from < halves[0].to-halves[0].from {
		small = 1
	}
	large := 1 - small
	may := []bool{false, true}
	may[small] = mayHoldMatch(in.rules, in.body[halves[small].from:halves[small].to])
	may[large] = !may[small] || mayHoldMatch(in.rules, in.body[halves[large].from:halves[large].to])
	for i := range halves {
		if in.parts++; in.parts > maxInspectedParts {
			in.isLimit = true
		}
		if half := &halves[i]; may[i] && half.from < half.to && !isDone(in) {
			inspectPart(in, half.from, half.to, half.isInside)
		}
	}
}

// inspectString inspects the content of a string.
func inspectString(in *inspection, from, to int) {
	in.strings++
	if in.strings > maxInspectedStrings {
		in.isLimit = true
		return
	}
	text := string(in.body[from:to])
	if data := base64Start(nameOf(in, from), text); data >= 0 {
		text = text[:data]
		to = from + data
	}
	s := &inspectedText{in: in, from: from, to: to, isString: true}
	inspectLevels(s, text)
}

// hasBadEscape reports whether a marked text has a backslash that escapes nothing.
func hasBadEscape(marked string) bool {
	return strings.IndexByte(marked, '\\') >= 0 && strings.Contains(strings.ReplaceAll(marked, escapeMark+`\`, ""), `\`)
}

// inspectText inspects a part of the document that is no JSON. It may have JSON in it.
func inspectText(in *inspection, from, to int) {
	s := &inspectedText{in: in, from: from, to: to}
	inspectDecoded(s, string(in.body[from:to]))
	inspectLevels(s, string(in.body[from:to]))
}

// inspectLevels inspects a text without its escapes, as long as it has some, and once in any case.
func inspectLevels(s *inspectedText, text string) {
	in := s.in
	if !utf8.ValidString(text) {
		in.isLimit = true
		return
	}
	for level := 0; !isDone(in); level++ {
		if level == documentLevels {
			in.isLimit = deepEscape.MatchString(text)
			break
		}
		marked, decoded := withoutEscapes(text)
		if level == 0 && s.isString && hasBadEscape(marked) {
			in.isLimit = true // it has an escape that JSON does not know
			return
		}
		s.marked = append(s.marked, marked)
		text = decoded
		inspectDecoded(s, text)
		if strings.IndexByte(text, '\\') < 0 {
			break
		}
	}
	in.edits = append(in.edits, mergeEdits(s.edits)...)
}

// Members that have base64 data: as it is, and in a URL.
var (
	dataNames    = []string{"data", "file_data", "b64_json"}
	dataURLNames = []string{"url", "image_url", "file_data"}
)

// urlDataName is the member whose base64 data may have the alphabet for URLs, as SDKs of Gemini's write it.
const urlDataName = "data"

// base64Start returns where long base64 data begins in the content of a string that is the value of a member: at
// its beginning, or after the mark of a data URL; -1: the string has text.
func base64Start(name, content string) int {
	start := 0
	names := dataNames
	if strings.HasPrefix(content, dataURL) {
		mark := strings.Index(content, base64Mark)
		if mark < 0 {
			return -1
		}
		start = mark + len(base64Mark)
		names = dataURLNames
	}
	if len(content)-start < dataMinBytes || !containsText(names, name) {
		return -1
	}
	data := strings.ReplaceAll(content[start:], `\/`, "/")
	isData := strings.Trim(data, plainAlphabet) == "" || (name == urlDataName && strings.Trim(data, urlAlphabet) == "")
	if len(data) < dataMinBytes || !isData {
		return -1
	}
	return start
}

// inspectedText is a string or a number of a document that is being inspected, or a part that is no JSON.
type inspectedText struct {
	in        *inspection
	from      int // of the content in the document
	to        int
	isString  bool     // it is a JSON string
	isNumber  bool     // it is a JSON number
	marked    []string // its marked form at each level
	edits     []guardEdit
	role      string
	roleKnown bool
}

// inspectDecoded inspects a string at one level of escapes.
func inspectDecoded(s *inspectedText, text string) {
	in := s.in
	matches := applicableMatches(s, text)
	if isDone(in) {
		return
	}
	spans := maskedSpans(text, matches)
	places := make([]int, 0, 2*len(spans))
	for _, span := range spans {
		places = append(places, span.from, span.to)
	}
	for level := len(s.marked) - 1; level >= 0; level-- {
		c := &escapeCursor{marked: s.marked[level]}
		for i, place := range places {
			places[i] = placeOfDecoded(c, place)
		}
	}
	for i, span := range spans {
		s.edits = append(s.edits, guardEdit{s.from + places[2*i], s.from + places[2*i+1], []byte(maskOf(span, text))})
	}
}

// applicableMatches notes what matches in a string at one level of escapes, or in a number, by the rules that
// apply there, and returns it.
func applicableMatches(s *inspectedText, text string) []guardMatch {
	found, complete := findMatches(s.in.rules, text, "")
	if !complete {
		s.in.isLimit = true
		return nil
	}
	var matches []guardMatch
	for _, m := range found {
		if appliesTo(s, m.rule) {
			matches = append(matches, m)
		}
	}
	noteMatches(s, matches)
	return matches
}

// noteMatches keeps which rules have matched in a text, and whether one of them blocks.
func noteMatches(s *inspectedText, matches []guardMatch) {
	in := s.in
	for _, m := range matches {
		if !containsRule(in.matched, m.rule) {
			in.matched = append(in.matched, m.rule)
			in.places = append(in.places, s.from)
		}
	}
	if in.blocking == nil { // of a form, further texts may follow the one that blocks
		in.blocking = blockingRule(matches)
	}
}

// containsRule reports whether rules contain a rule.
func containsRule(rules []*guardRule, r *guardRule) bool {
	for _, known := range rules {
		if known == r {
			return true
		}
	}
	return false
}

// appliesTo reports whether a rule applies to a text: it has no roles, or that of the text, and the text is
// not a string that the protocol knows, or a number that is a parameter.
func appliesTo(s *inspectedText, r *guardRule) bool {
	if !r.isBuiltin && ((s.isString && isWordOfProtocol(s)) || (s.isNumber && isParameterAt(s.in, s.from))) {
		return false
	}
	if r.roles == nil || !s.in.hasRoles {
		return true
	}
	if !s.roleKnown {
		s.role = roleAt(s.in, s.from)
		s.roleKnown = true
	}
	return s.role == "" || containsText(r.roles, s.role)
}

// Words that may be part of a protocol.
var (
	wordOfName  = regexp.MustCompile(`^[A-Za-z_]{1,64}$`)
	wordOfValue = regexp.MustCompile(`^[A-Za-z0-9_.]{1,64}$`)
)

// isWordOfProtocol reports whether a string is a name of a member, or a role or a type, in the form of
// those that protocols have. Patterns for texts must not match them.
func isWordOfProtocol(s *inspectedText) bool {
	content := s.in.body[s.from:s.to]
	if !wordOfValue.Match(content) {
		return false
	}
	if name := nameOf(s.in, s.from); name != "role" && name != "type" {
		after := bytes.TrimLeft(s.in.body[s.to:], "\" \t\r\n")
		if !wordOfName.Match(content) || len(after) == 0 || after[0] != ':' {
			return false
		}
	}
	path, _ := pathAt(s.in, s.from)
	return !isInData(path)
}

// nameOf returns the name of the member whose value is the string with content from a place on; empty:
// it is the value of none.
func nameOf(in *inspection, from int) string {
	before := bytes.TrimRight(in.covered[:from-1], " \t\r\n")
	if len(before) < 3 || before[len(before)-1] != ':' {
		return ""
	}
	before = bytes.TrimRight(before[:len(before)-1], " \t\r\n")
	if len(before) < 2 || before[len(before)-1] != '"' {
		return ""
	}
	before = before[:len(before)-1]
	return string(before[bytes.LastIndexByte(before, '"')+1:])
}

// jsonNumber matches numbers with several digits.
var jsonNumber = regexp.MustCompile(`-?[0-9][0-9.eE+-]+`)

// inspectNumbers inspects the numbers between two strings. One that matches is masked as a string.
func inspectNumbers(in *inspection, from, to int) {
	places := jsonNumber.FindAllIndex(in.body[from:to], maxInspectedNumbers+1)
	in.numbers += len(places)
	if in.numbers > maxInspectedNumbers {
		in.isLimit = true
		return
	}
	for _, place := range places {
		s := &inspectedText{in: in, from: from + place[0], to: from + place[1], isNumber: true}
		text := string(in.body[s.from:s.to])
		matches := applicableMatches(s, text)
		if isDone(in) {
			return
		}
		if len(maskedSpans(text, matches)) > 0 {
			in.edits = append(in.edits, guardEdit{s.from, s.to, []byte(`"` + maskedText(text, matches) + `"`)})
		}
	}
}

// isParameterAt reports whether a place is in the value of a parameter itself.
func isParameterAt(in *inspection, place int) bool {
	path, isFound := pathAt(in, place)
	return isFound && len(path) < 2
}

// mergeEdits returns edits in order, with one for those that overlap: what the levels of one string find
// is often the same.
func mergeEdits(edits []guardEdit) []guardEdit {
	sort.SliceStable(edits, func(i, j int) bool { return edits[i].from < edits[j].from })
	var merged []guardEdit
	for _, e := range edits {
		last := len(merged) - 1
		if last < 0 || e.from >= merged[last].to {
			merged = append(merged, e)
			continue
		}
		if e.to > merged[last].to {
			merged[last].to = e.to
		}
		if len(e.value) > len(merged[last].value) {
			merged[last].value = e.value
		}
	}
	return merged
}

// applyGuardEdits returns a document with edits, which are in order. Of two that overlap, the first one
// counts.
func applyGuardEdits(body []byte, edits []guardEdit) []byte {
	if edits == nil {
		return body
	}
	pieces := make([][]byte, 0, 2*len(edits)+1)
	at := 0
	for i := range edits {
		e := &edits[i]
		if e.from < at {
			continue
		}
		pieces = append(pieces, body[at:e.from], e.value)
		at = e.to
	}
	return bytes.Join(append(pieces, body[at:]), nil)
}
