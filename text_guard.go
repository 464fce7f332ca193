package chatcompletion

import (
	"regexp"
	"sort"
	"strings"
	"unicode/utf8"
)

// guard is what a policy looks for in the texts of requests and responses.
type guard struct {
	request      *guardRules // nil: there are none
	response     *guardRules // nil: there are none
	window       int         // bytes of a stream that one match may span
	overlap      int         // bytes of a stream that stay in view before new text
	maxHold      int         // bytes of events that are held at most
	blockStatus  int
	blockMessage string // empty: the default text, which names the rule
}

// guardRules are rules in the order of the configuration.
type guardRules struct {
	rules []*guardRule
	marks *strings.Replacer // marks the plain parts of the hints of all rules; nil: a rule has none
	turns string            // which structure tells the roles in requests
}

// guardRule is what one rule looks for, and what happens then. Text may hold a match only if its folded
// form has one of the hints; what the pattern finds in it is a match if it passes the check. A pattern
// of the configuration does not match words of protocols, see isWordOfProtocol.
type guardRule struct {
	name      string
	action    string // actionBlock, actionMask or actionReport
	pattern   *regexp.Regexp
	quick     *regexp.Regexp    // matches every text with a match
	hints     []string          // nil: any text may hold a match
	marks     *strings.Replacer // marks the hints in a folded text; nil: there are none
	isBuiltin bool
	check     string // name of a builtin that checks what the pattern finds; empty: there is no check
	mask      *maskStyle
	roles     []string // whose texts it applies to; nil: all
}

// maskStyle is how a rule masks a match: each character but some at the ends is replaced.
type maskStyle struct {
	char      string
	keepLeft  int // characters
	keepRight int // characters
}

// Values of GuardRule.Action.
const (
	actionBlock  = "block"
	actionMask   = "mask"
	actionReport = "report"
)

// guardMatch is a place in a text that a rule matches.
type guardMatch struct {
	from int
	to   int
	rule *guardRule
}

// maskedSpan is a part of a text that is replaced: every character of it by char.
type maskedSpan struct {
	from int
	to   int
	char string
}

// Bounds on the work for one text in which something matches. What is beyond them cannot be inspected.
const (
	maxGuardMatches    = 1000
	maxGuardCandidates = 4000 // places at which a check looks
)

// foldReplacer replaces letters by lower-case ones, and digits by zeros. All keys are single bytes, for
// which the library has one table.
var foldReplacer = strings.NewReplacer(
	"A", "a", "B", "b", "C", "c", "D", "d", "E", "e", "F", "f", "G", "g", "H", "h", "I", "i", "J", "j", "K", "k", "L", "l", "M", "m",
	"N", "n", "O", "o", "P", "p", "Q", "q", "R", "r", "S", "s", "T", "t", "U", "u", "V", "v", "W", "w", "X", "x", "Y", "y", "Z", "z",
	"1", "0", "2", "0", "3", "0", "4", "0", "5", "0", "6", "0", "7", "0", "8", "0", "9", "0",
)

// foldedForHints returns the form of a text in which hints are looked for; empty: the text has
// characters that a pattern without regard to case takes for ASCII letters, so that hints do not tell.
func foldedForHints(text string) string {
	if strings.Contains(text, "\u017f") || strings.Contains(text, "\u212a") { // long s, Kelvin sign
		return ""
	}
	return foldReplacer.Replace(text)
}

// newMarks returns what replaces hints by a byte that is in no text: one call finds the first of them. What is
// in skipped is no hint, and has none in it.
func newMarks(hints []string, skipped ...string) *strings.Replacer {
	var pairs []string
	for _, text := range skipped {
		pairs = append(pairs, text, "\x00")
	}
	for _, hint := range hints {
		pairs = append(pairs, hint, string(hintMark))
	}
	return strings.NewReplacer(pairs...)
}

var hintMark = []byte{0xff}

// mayMatch reports whether one of the hints of a rule is in a folded text.
func mayMatch(r *guardRule, folded string) bool {
	return r.marks == nil || folded == "" || strings.IndexByte(r.marks.Replace(folded), hintMark[0]) >= 0
}

// hiddenCharacter matches an escape of a character that the plain part of a hint may have, or of a backslash.
var hiddenCharacter = regexp.MustCompile(`\\u(?:00(?:2[013-58-9a-eA-E]|3[0-9abdfABDF]|[4-7])|017[fF]|212[aA])`)

// lacksMarks reports whether no rule can match in a text, at no level of escapes: of what every match has,
// the plain parts stay what they are when escapes are decoded.
func lacksMarks(g *guardRules, text string) bool {
	if g.marks == nil {
		return false
	}
	folded := foldedForHints(text)
	if folded == "" || strings.IndexByte(g.marks.Replace(folded), hintMark[0]) >= 0 {
		return false
	}
	return !strings.Contains(text, `\u`) || !hiddenCharacter.MatchString(text)
}

// matchesAny reports whether any rule may match in a text, checks apart. The text may
// be several texts with a line feed after each. The interpreted work does not depend on the text.
func matchesAny(g *guardRules, text string) bool {
	folded := foldedForHints(text)
	for _, r := range g.rules {
		if mayMatch(r, folded) && r.quick.MatchString(text) {
			return true
		}
	}
	return false
}

// findMatches returns the places in a text that rules match, in the order of their beginnings, and
// reports whether it could find all of them with bounded work: else the text must be blocked. role is
// whose text it is; empty: all rules apply.
func findMatches(g *guardRules, text, role string) ([]guardMatch, bool) {
	folded := foldedForHints(text)
	work := &checkWork{text: text}
	for _, r := range g.rules {
		if (role != "" && r.roles != nil && !containsText(r.roles, role)) || !mayMatch(r, folded) {
			continue
		}
		places := r.pattern.FindAllStringIndex(text, maxGuardMatches+1)
		if len(places) > maxGuardMatches {
			return nil, false
		}
		for _, place := range places {
			work.rule = r
			checkPlace(work, place[0], place[1])
		}
	}
	if work.candidates > maxGuardCandidates || len(work.found) > maxGuardMatches {
		return nil, false
	}
	sort.SliceStable(work.found, func(i, j int) bool { return work.found[i].from < work.found[j].from })
	return work.found, true
}

// blockingRule returns the first rule among matches that blocks; nil: there is none.
func blockingRule(matches []guardMatch) *guardRule {
	for _, m := range matches {
		if m.rule.action == actionBlock {
			return m.rule
		}
	}
	return nil
}

// maskedSpans returns the parts of a text that rules with actionMask replace, in order and apart
// from each other. Where matches overlap, what one of them masks is masked.
func maskedSpans(text string, matches []guardMatch) []maskedSpan {
	var spans []maskedSpan
	for _, m := range matches {
		if m.rule.action == actionMask {
			spans = append(spans, maskSpan(text, m))
		}
	}
	sort.SliceStable(spans, func(i, j int) bool { return spans[i].from < spans[j].from })
	var apart []maskedSpan
	for _, s := range spans {
		last := len(apart) - 1
		if last >= 0 && s.from < apart[last].to {
			if s.to > apart[last].to {
				apart[last].to = s.to
			}
			continue
		}
		apart = append(apart, s)
	}
	return apart
}

// maskSpan returns what of a match is replaced: all of it, unless more characters than are kept
// remain.
func maskSpan(text string, m guardMatch) maskedSpan {
	style := m.rule.mask
	s := maskedSpan{from: m.from, to: m.to, char: style.char}
	if utf8.RuneCountInString(text[m.from:m.to]) <= style.keepLeft+style.keepRight {
		return s
	}
	for i := 0; i < style.keepLeft; i++ {
		_, size := utf8.DecodeRuneInString(text[s.from:])
		s.from += size
	}
	for i := 0; i < style.keepRight; i++ {
		_, size := utf8.DecodeLastRuneInString(text[:s.to])
		s.to -= size
	}
	return s
}

// maskedText returns a text in which every match of a rule with actionMask is masked.
func maskedText(text string, matches []guardMatch) string {
	var masked strings.Builder
	at := 0
	for _, s := range maskedSpans(text, matches) {
		masked.WriteString(text[at:s.from])
		masked.WriteString(maskOf(s, text))
		at = s.to
	}
	masked.WriteString(text[at:])
	return masked.String()
}

// maskOf returns what replaces a part of a text.
func maskOf(s maskedSpan, text string) string {
	return strings.Repeat(s.char, utf8.RuneCountInString(text[s.from:s.to]))
}
