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

// streamPatterns are what streams need of rules.
type streamPatterns struct {
	heads *regexp.Regexp   // matches where a match may begin, by its first characters; nil: anywhere
	open  *regexp.Regexp   // matches the first place where a match begins, or may begin that ends in what follows
	ends  *regexp.Regexp   // the same without complete matches, after one character, which is not of the place
	exact []*regexp.Regexp // the patterns of the rules, after one character, which is not of the place
}

// newStreamPatterns returns what streams need of rules.
func newStreamPatterns(rules []*guardRule) (*streamPatterns, error) {
	p := &streamPatterns{}
	var patterns []string
	for _, r := range rules {
		pattern := r.pattern.String()
		exact, err := regexp.Compile(afterOne(pattern))
		if err != nil {
			return nil, errPrefixes
		}
		patterns = append(patterns, pattern)
		p.exact = append(p.exact, exact)
	}
	text, err := openPrefixes(patterns)
	if err != nil {
		return nil, err
	}
	if p.open, err = regexp.Compile(text + "|" + strings.Join(patterns, "|")); err != nil {
		return nil, errPrefixes
	}
	if p.ends, err = regexp.Compile(afterOne(text)); err != nil {
		return nil, errPrefixes
	}
	p.heads = newHeadPattern(patterns)
	return p, nil
}

// afterOne returns an expression whose group is the first match of another one after the first character
// of a text. That character is in view for what the expression requires before a match.
func afterOne(pattern string) string {
	return `\A(?s:.)(?s:.*?)(` + pattern + ")"
}

// openPrefixes returns the expression for what, at the end of a text of which more follows, may be the
// beginning of a match of one of several expressions. It may be empty.
func openPrefixes(patterns []string) (string, error) {
	var all []string
	size := 0
	for _, pattern := range patterns {
		parsed, err := syntax.Parse(pattern, syntax.Perl)
		if err != nil {
			return "", err
		}
		one := prefixes(parsed)
		if size += len(one); size > prefixesMaxBytes {
			return "", errPrefixes
		}
		all = append(all, one)
	}
	return "(?:" + strings.Join(all, "|") + `)\z`, nil
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

// Bounds of the expression that tells quickly that no match begins in a text.
const (
	headCharacters = 3
	maxHeads       = 200
)

// head is what matches of an expression may begin with: an expression for each of the first characters.
type head struct {
	characters []string
	before     string // an assertion before the first one
	isCut      bool   // anything may follow
}

// newHeadPattern returns an expression that matches where a match of one of several expressions may begin:
// by its first characters, so far as they have arrived. It is a fraction of an open pattern; nil: they
// may begin anywhere, or there would be too many.
func newHeadPattern(patterns []string) *regexp.Regexp {
	var all []string
	for _, pattern := range patterns {
		parsed, err := syntax.Parse(pattern, syntax.Perl)
		if err != nil {
			return nil
		}
		heads := headsOf(parsed)
		if len(heads)+len(all) > maxHeads {
			return nil
		}
		for _, h := range heads {
			if len(h.characters) == 0 {
				return nil
			}
			all = append(all, headText(h))
		}
	}
	compiled, err := regexp.Compile(strings.Join(all, "|"))
	if err != nil {
		return nil
	}
	return compiled
}

// headText returns the expression for a head, which may be cut off by the end of the text.
func headText(h head) string {
	last := len(h.characters) - 1
	text := h.characters[last]
	for i := last - 1; i >= 0; i-- {
		text = h.characters[i] + `(?:\z|` + text + ")"
	}
	return h.before + text
}

// headsOf returns what the matches of an expression may begin with.
func headsOf(re *syntax.Regexp) []head {
	switch re.Op {
	case syntax.OpLiteral:
		h := head{}
		for i, r := range re.Rune {
			if i == headCharacters {
				break
			}
			h.characters = append(h.characters, literal([]rune{r}, re.Flags))
		}
		return []head{h}
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return []head{{characters: []string{re.String()}}}
	case syntax.OpCapture:
		return headsOf(re.Sub[0])
	case syntax.OpStar, syntax.OpQuest:
		return append([]head{{}}, cutHeads(headsOf(re.Sub[0]), re.Op == syntax.OpStar)...)
	case syntax.OpPlus:
		return cutHeads(headsOf(re.Sub[0]), true)
	case syntax.OpRepeat:
		return headsOfRepeat(re)
	case syntax.OpConcat:
		return headsOfSequence(re.Sub)
	case syntax.OpAlternate:
		var all []head
		for _, sub := range re.Sub {
			if all = append(all, headsOf(sub)...); len(all) > maxHeads {
				break
			}
		}
		return all
	case syntax.OpBeginLine, syntax.OpEndLine, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return []head{{before: openEnded(re)}}
	}
	return []head{{}}
}

// cutHeads returns heads after which anything may follow, if isCut is set.
func cutHeads(heads []head, isCut bool) []head {
	var cut []head
	for _, h := range heads {
		h.isCut = h.isCut || isCut
		cut = append(cut, h)
	}
	return cut
}

func headsOfRepeat(re *syntax.Regexp) []head {
	if re.Min == 0 {
		return append([]head{{}}, cutHeads(headsOf(re.Sub[0]), true)...)
	}
	var subs []*syntax.Regexp
	for i := 0; i < re.Min && i < headCharacters; i++ {
		subs = append(subs, re.Sub[0])
	}
	return cutHeads(headsOfSequence(subs), re.Max != re.Min || re.Min > headCharacters)
}

// headsOfSequence returns each head of the first expression, continued by each of those that follow while
// characters are wanted.
func headsOfSequence(subs []*syntax.Regexp) []head {
	heads := []head{{}}
	for _, sub := range subs {
		next := headsOf(sub)
		var longer []head
		for _, h := range heads {
			if h.isCut || len(h.characters) >= headCharacters {
				longer = append(longer, h)
				continue
			}
			for _, n := range next {
				longer = append(longer, continuedHead(h, n))
			}
		}
		if heads = longer; len(heads) > maxHeads {
			return heads
		}
	}
	return heads
}

// continuedHead returns a head that another one follows. Assertions inside are left out.
func continuedHead(h, next head) head {
	both := head{before: h.before, isCut: next.isCut}
	if len(h.characters) == 0 {
		both.before += next.before
	}
	both.characters = append(append([]string{}, h.characters...), next.characters...)
	if len(both.characters) > headCharacters {
		both.characters = both.characters[:headCharacters]
	}
	return both
}
