package chatcompletion

import (
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// streamRules are rules for texts that arrive in pieces.
type streamRules struct {
	all      *guardRules
	patterns *streamPatterns
}

// newStreamRules returns the rules with the given actions as streams need them; nil: there are none.
func newStreamRules(all *guardRules, actions ...string) (*streamRules, error) {
	chosen := &guardRules{}
	for _, r := range all.rules {
		if containsText(actions, r.action) {
			chosen.rules = append(chosen.rules, r)
		}
	}
	if chosen.rules == nil {
		return nil, nil
	}
	patterns, err := newStreamPatterns(chosen.rules)
	if err != nil {
		return nil, err
	}
	return &streamRules{all: chosen, patterns: patterns}, nil
}

// textView is a text that is open at its end, after what is in view of the text before it.
type textView struct {
	before string
	text   string
	isLast bool // nothing follows
}

// finding is what is certain about a text of which more may follow.
type finding struct {
	matches  []guardMatch // in what is certain
	end      int          // of that; what follows it may become a match
	complete bool         // all matches were found with bounded work
}

// checkReachBytes is how far the checks of builtins look beyond a match.
const checkReachBytes = 2

// escapeReachBytes is how long an escape before a text can be that tells how the text begins.
const escapeReachBytes = 12

// inspectView finds what rules match in a text that arrives in pieces. A text that may be JSON, such as the
// arguments of a tool, is inspected again with its escapes decoded, as long as it has some.
func inspectView(rules *streamRules, v *textView, levels int) *finding {
	o := inspectPlain(rules, v)
	if o.complete && levels > 1 && (strings.IndexByte(v.text, '\\') >= 0 || endsInEscape(v.before)) {
		o = inspectUnescaped(rules, v, o, levels)
	}
	return o
}

// endsInEscape reports whether a text may end in an escape, or with one.
func endsInEscape(text string) bool {
	if len(text) > escapeReachBytes {
		text = text[len(text)-escapeReachBytes:]
	}
	return strings.IndexByte(text, '\\') >= 0
}

// inspectPlain is inspectView for a text without escapes.
func inspectPlain(rules *streamRules, v *textView) *finding {
	if end := plainEnd(rules.patterns, v.before, v.text); end == len(v.text) || (end >= 0 && !v.isLast) {
		return &finding{end: end, complete: true}
	}
	return inspectMatches(rules, v)
}

// inspectMatches is inspectPlain for a text that probably has matches.
func inspectMatches(rules *streamRules, v *textView) *finding {
	o := &finding{end: len(v.text)}
	look := "\n" // the same as no text to what is required before a match
	if v.before != "" {
		_, size := utf8.DecodeLastRuneInString(v.before)
		look = v.before[len(v.before)-size:]
	}
	tail, lookBytes := look+v.text, len(look)
	o.matches, o.complete = matchesAfter(rules, v, lookBytes)
	if v.isLast || !o.complete {
		return o
	}
	if place := rules.patterns.ends.FindStringSubmatchIndex(tail); place != nil {
		o.end = place[2] - lookBytes
	}
	if addresses := rules.patterns.addressEnd; addresses != nil {
		if at := addressStart(tail, addresses.FindStringSubmatchIndex(tail)[2]) - lookBytes; at < o.end {
			o.end = at
		}
	}
	for _, m := range o.matches {
		if m.to > len(v.text)-checkReachBytes && m.from < o.end {
			o.end = m.from
		}
	}
	return withoutOpen(o)
}

// withoutOpen returns a finding without the matches that are not in what is certain: none begins before
// the end of that, and ends after it.
func withoutOpen(o *finding) *finding {
	for isMoved := true; isMoved; {
		isMoved = false
		for _, m := range o.matches {
			if m.from < o.end && m.to > o.end {
				o.end = m.from
				isMoved = true
			}
		}
	}
	var within []guardMatch
	for _, m := range o.matches {
		if m.to <= o.end {
			within = append(within, m)
		}
	}
	o.matches = within
	return o
}

// matchesAfter is findMatches for a text after what is in view before it.
func matchesAfter(rules *streamRules, v *textView, lookBytes int) ([]guardMatch, bool) {
	if v.before == "" {
		return findMatches(rules.all, v.text, "")
	}
	begin := len(v.before)
	work := &checkWork{text: v.before + v.text}
	places := 0
	for i, r := range rules.all.rules {
		exact := rules.patterns.exact[i]
		work.rule = r
		at, look := begin, lookBytes
		for {
			place := exact.FindStringSubmatchIndex(work.text[at-look:])
			if place == nil {
				break
			}
			if places++; places > maxGuardMatches {
				return nil, false
			}
			checkPlace(work, at-look+place[2], at-look+place[3])
			at += place[3] - look
			_, look = utf8.DecodeLastRuneInString(work.text[:at])
		}
	}
	if work.candidates > maxGuardCandidates || len(work.found) > maxGuardMatches {
		return nil, false
	}
	for i := range work.found {
		work.found[i].from -= begin
		work.found[i].to -= begin
	}
	sort.SliceStable(work.found, func(i, j int) bool { return work.found[i].from < work.found[j].from })
	return work.found, true
}

// inspectUnescaped adds to the finding of a text what is found if its escapes are decoded.
func inspectUnescaped(rules *streamRules, v *textView, o *finding, levels int) *finding {
	raw := v.text
	if !v.isLast {
		raw = raw[:len(raw)-len(partialEscape.FindString(raw))]
	}
	d := decodeEscapes(raw)
	inner := inspectView(rules, &textView{before: decodeEscapes(v.before).text, text: d.text, isLast: v.isLast}, levels-1)
	o.complete = inner.complete
	if end := rawOffset(d, inner.end); end < o.end && !v.isLast {
		o.end = end
	}
	for _, m := range inner.matches {
		m.from = rawOffset(d, m.from)
		m.to = rawOffset(d, m.to)
		o.matches = append(o.matches, m)
	}
	for i := range o.matches { // no escape is cut
		o.matches[i].from = outsideEscape(d, o.matches[i].from, false)
		o.matches[i].to = outsideEscape(d, o.matches[i].to, true)
	}
	o.end = outsideEscape(d, o.end, false)
	sort.SliceStable(o.matches, func(i, j int) bool { return o.matches[i].from < o.matches[j].from })
	return withoutOpen(o)
}

// An escape in a JSON string, where two may be one character, and one whose end has not arrived.
var (
	jsonEscape    = regexp.MustCompile(`\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|["\\/bfnrt])`)
	partialEscape = regexp.MustCompile(`(?:\\u[dD][89abAB][0-9a-fA-F]{2})?\\(?:u[0-9a-fA-F]{0,3})?\z`)
)

// unescapedText is a text whose escapes are decoded, and where these are.
type unescapedText struct {
	text    string
	escapes []textEscape
}

// textEscape is where an escape is in the text as it was, and where its character ends in the decoded one.
type textEscape struct {
	from       int
	to         int
	decodedEnd int
}

// decodeEscapes decodes the escapes that JSON has in strings.
func decodeEscapes(raw string) *unescapedText {
	if strings.IndexByte(raw, '\\') < 0 {
		return &unescapedText{text: raw}
	}
	return decodeFoundEscapes(raw)
}

// decodeFoundEscapes is decodeEscapes for a text that has some: most have none, and Yaegi allocates memory for
// every expression of a function that it enters.
func decodeFoundEscapes(raw string) *unescapedText {
	var text strings.Builder
	d := &unescapedText{}
	at := 0
	for _, place := range jsonEscape.FindAllStringIndex(raw, -1) {
		text.WriteString(raw[at:place[0]])
		text.WriteString(escapedCharacter(raw[place[0]:place[1]]))
		at = place[1]
		d.escapes = append(d.escapes, textEscape{place[0], place[1], text.Len()})
	}
	text.WriteString(raw[at:])
	d.text = text.String()
	return d
}

// shortEscapes are the escapes of one letter.
var shortEscapes = map[string]string{`\n`: "\n", `\t`: "\t", `\r`: "\r", `\b`: "\b", `\f`: "\f"}

// escapedCharacter returns the character that an escape stands for.
func escapedCharacter(escape string) string {
	if len(escape) < 6 {
		if char, has := shortEscapes[escape]; has {
			return char
		}
		return escape[1:]
	}
	unit, _ := strconv.ParseUint(escape[2:6], 16, 32)
	char := rune(unit)
	if len(escape) > 6 {
		low, _ := strconv.ParseUint(escape[8:], 16, 32)
		char = utf16.DecodeRune(char, rune(low))
	}
	return string(char) // half a pair is U+FFFD
}

// rawOffset returns the offset in the text as it was of one in the decoded text.
func rawOffset(d *unescapedText, at int) int {
	i := sort.Search(len(d.escapes), func(i int) bool { return d.escapes[i].decodedEnd > at })
	if i == 0 {
		return at
	}
	return d.escapes[i-1].to + at - d.escapes[i-1].decodedEnd
}

// outsideEscape moves an offset in the text as it was out of an escape, to its end or to its beginning.
func outsideEscape(d *unescapedText, at int, toEnd bool) int {
	i := sort.Search(len(d.escapes), func(i int) bool { return d.escapes[i].to > at })
	if i == len(d.escapes) || d.escapes[i].from >= at {
		return at
	}
	if toEnd {
		return d.escapes[i].to
	}
	return d.escapes[i].from
}
