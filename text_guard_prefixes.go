package chatcompletion

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strings"
)

// A stream shows a text in pieces. Whether a match begins in what has arrived and may end in what has not
// is said by an expression for all prefixes of the matches of another one. It is never too narrow: what
// an assertion such as \b requires of text that has not arrived is taken to be there.

// prefixesMaxBytes bounds the size of such expressions, in which parts of the original ones are repeated.
const prefixesMaxBytes = 256 << 10

var errPrefixes = errors.New("is too complex for streams: use fewer nested repetitions")

// newOpenPattern returns the expression that matches, in a text of which more follows, the first place
// where a match of one of several expressions begins, or may begin. A match that ends with the text
// is an open one, and empty if there is none.
func newOpenPattern(patterns []string) (*regexp.Regexp, error) {
	var all []string
	size := 0
	for _, pattern := range patterns {
		parsed, err := syntax.Parse(pattern, syntax.Perl)
		if err != nil {
			return nil, err
		}
		one := prefixes(parsed)
		if size += len(one); size > prefixesMaxBytes {
			return nil, errPrefixes
		}
		all = append(all, one)
	}
	open, err := regexp.Compile("(?:" + strings.Join(all, "|") + `)\z|` + strings.Join(patterns, "|"))
	if err != nil {
		return nil, errPrefixes
	}
	return open, nil
}

// prefixes returns an expression for all prefixes of the matches of another one, the empty one among them.
func prefixes(re *syntax.Regexp) string {
	switch re.Op {
	case syntax.OpLiteral:
		return runePrefixes(re.Rune, re.Flags)
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return openEnded(re) + "?"
	case syntax.OpCapture, syntax.OpQuest:
		return prefixes(re.Sub[0])
	case syntax.OpStar, syntax.OpPlus:
		return grouped(openEnded(re.Sub[0]) + "*" + prefixes(re.Sub[0]))
	case syntax.OpRepeat:
		return repeatPrefixes(re)
	case syntax.OpConcat:
		return concatPrefixes(re.Sub)
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			all = append(all, prefixes(sub))
		}
		return grouped(strings.Join(all, "|"))
	}
	return "(?:)" // of an assertion, or of nothing
}

// grouped returns an expression that can be repeated.
func grouped(text string) string {
	return "(?:" + text + ")"
}

// concatPrefixes returns the prefixes of a sequence: those of its first half, or that and those of the
// second one. Halves keep the nesting low.
func concatPrefixes(subs []*syntax.Regexp) string {
	if len(subs) == 1 {
		return prefixes(subs[0])
	}
	half := len(subs) / 2
	first := ""
	for _, sub := range subs[:half] {
		first += openEnded(sub)
	}
	return grouped(first + concatPrefixes(subs[half:]) + "|" + concatPrefixes(subs[:half]))
}

// runePrefixes is concatPrefixes for a literal.
func runePrefixes(runes []rune, flags syntax.Flags) string {
	half := len(runes) / 2
	if half == 0 {
		return literal(runes, flags) + "?"
	}
	return grouped(literal(runes[:half], flags) + runePrefixes(runes[half:], flags) + "|" + runePrefixes(runes[:half], flags))
}

func literal(runes []rune, flags syntax.Flags) string {
	re := &syntax.Regexp{Op: syntax.OpLiteral, Rune: runes, Flags: flags}
	return grouped(re.String())
}

// repeatPrefixes returns the prefixes of a repetition: some of what is repeated, and a prefix of one more.
func repeatPrefixes(re *syntax.Regexp) string {
	if re.Max == 0 {
		return "(?:)"
	}
	before := *re
	before.Min = 0
	before.Max = re.Max - 1
	if re.Max < 0 {
		before.Max = -1
	}
	return grouped(openEnded(&before) + prefixes(re.Sub[0]))
}

// openEnded returns an expression in which assertions about what follows hold at the end of the text.
func openEnded(re *syntax.Regexp) string {
	return grouped(withOpenAssertions(re).String())
}

// withOpenAssertions returns the expression for openEnded. Groups are no captures in it.
func withOpenAssertions(re *syntax.Regexp) *syntax.Regexp {
	switch re.Op {
	case syntax.OpEndLine, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return &syntax.Regexp{Op: syntax.OpAlternate, Sub: []*syntax.Regexp{re, {Op: syntax.OpEndText}}}
	case syntax.OpCapture:
		return withOpenAssertions(re.Sub[0])
	}
	if len(re.Sub) == 0 {
		return re
	}
	own := &syntax.Regexp{Op: re.Op, Flags: re.Flags, Min: re.Min, Max: re.Max}
	for _, sub := range re.Sub {
		own.Sub = append(own.Sub, withOpenAssertions(sub))
	}
	return own
}
