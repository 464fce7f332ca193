package chatcompletion

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A stream shows a text in pieces. Whether a match begins in what has arrived and may end in what has not
// is said by an expression for all prefixes of the matches of another one. It is never too narrow: what
// an assertion such as \b requires of text that has not arrived is taken to be there.

// prefixesMaxBytes bounds the size of such expressions, in which parts of the original ones are repeated.
const prefixesMaxBytes = 256 << 10

var errPrefixes = errors.New("is too complex for streams: use fewer nested repetitions")

// streamPatterns are what streams need of rules. An open pattern matches the first place where a match of its
// rules begins, or may begin that ends in what follows.
type streamPatterns struct {
	beginnings *strings.Replacer // marks where matches of the rules of open may begin; nil: there are no such rules
	open       *regexp.Regexp
	anywhere   []*regexp.Regexp // open patterns of the rules whose matches may begin with nearly any character
	addresses  *regexp.Regexp   // the open pattern of the builtin email; nil: no rule has it
	ends       *regexp.Regexp   // the open pattern of all other rules without complete matches, after one character, which is not of the place
	addressEnd *regexp.Regexp   // the same of the builtin email; nil: no rule has it
	exact      []*regexp.Regexp // the patterns of the rules, after one character, which is not of the place
}

// newStreamPatterns returns what streams need of rules.
func newStreamPatterns(rules []*guardRule) (*streamPatterns, error) {
	p := &streamPatterns{}
	var all, marked []string
	var begin []beginning
	addresses := ""
	for _, r := range rules {
		pattern := r.pattern.String()
		exact, err := regexp.Compile(afterOne(pattern))
		if err != nil {
			return nil, errPrefixes
		}
		p.exact = append(p.exact, exact)
		if r.check == builtinEmail {
			addresses = pattern
			continue
		}
		all = append(all, pattern)
		if beginnings := beginningsOfPattern(pattern); beginnings != nil {
			marked = append(marked, pattern)
			begin = append(begin, beginnings...)
			continue
		}
		open, err := newOpenPattern([]string{pattern})
		if err != nil {
			return nil, err
		}
		p.anywhere = append(p.anywhere, open)
	}
	var err error
	if p.ends, err = newOpenEnd(all); err != nil {
		return nil, err
	}
	if addresses != "" {
		if p.addresses, err = newOpenPattern([]string{addresses}); err != nil {
			return nil, err
		}
		if p.addressEnd, err = newOpenEnd([]string{addresses}); err != nil {
			return nil, err
		}
	}
	if marked != nil {
		p.beginnings = newBeginningMarks(begin)
		p.open, err = newOpenPattern(marked)
	}
	return p, err
}

// newOpenEnd returns the expression whose group is what, at the end of a text, may be the beginning of a match
// of some patterns.
func newOpenEnd(patterns []string) (*regexp.Regexp, error) {
	text, err := openPrefixes(patterns)
	if err != nil {
		return nil, err
	}
	end, err := regexp.Compile(afterOne(text))
	if err != nil {
		return nil, errPrefixes
	}
	return end, nil
}

// newOpenPattern returns the open pattern of the rules with some patterns.
func newOpenPattern(patterns []string) (*regexp.Regexp, error) {
	text, err := openPrefixes(patterns)
	if err != nil {
		return nil, err
	}
	open, err := regexp.Compile(text + "|" + strings.Join(patterns, "|"))
	if err != nil {
		return nil, errPrefixes
	}
	return open, nil
}

// plainEnd returns up to where no rule matches in a text without escapes that follows another one, and no
// match begins that ends in what follows; below 0: it takes more to find out.
func plainEnd(p *streamPatterns, before, text string) int {
	begin := 0
	if last := len(before) - 1; last >= 0 {
		text = before[last:] + text // what is required before a match concerns ASCII only
		begin = 1
	}
	end := len(text)
	if p.beginnings != nil {
		marked := p.beginnings.Replace(digitReplacer.Replace(text) + endOfText)
		if at := strings.IndexAny(marked, openMark+mayMark); at >= 0 {
			if end = at; marked[at] == mayMark[0] || len(text)-at > maxOpenBytes {
				end = searchFrom(p.open, text, at)
			}
		}
	}
	if p.anywhere != nil {
		end = searchAnywhere(p.anywhere, text, end)
	}
	if p.addresses != nil {
		end = searchAddresses(p.addresses, text, end)
	}
	return end - begin // below 0 if it is in what has been decided on, too
}

// searchFrom returns the open place that a pattern finds in a text, in which no match begins before a place;
// below 0: there may be a complete match.
func searchFrom(open *regexp.Regexp, text string, from int) int {
	if from > 0 {
		from--
	}
	place := open.FindStringIndex(text[from:])
	if from+place[1] < len(text) {
		return -1
	}
	return from + place[0]
}

// searchAnywhere returns the first open place that patterns find, or the one that is known; below 0: there may
// be a complete match.
func searchAnywhere(patterns []*regexp.Regexp, text string, known int) int {
	for _, open := range patterns {
		if place := searchFrom(open, text, 0); place < known {
			known = place
		}
	}
	return known
}

// searchAddresses is searchAnywhere for the builtin email. An address has fewer characters than what may be one
// in a text without spaces.
func searchAddresses(open *regexp.Regexp, text string, known int) int {
	place := searchFrom(open, text, 0)
	if place >= 0 && place < len(text) {
		place = addressStart(text, place)
	}
	if place < known {
		return place
	}
	return known
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
	return optional(strings.Join(all, "|")) + `\z`, nil
}

// prefixes returns an expression that, made optional, matches all prefixes of the matches of another one.
func prefixes(re *syntax.Regexp) string {
	switch re.Op {
	case syntax.OpLiteral:
		return runePrefixes(re.Rune, re.Flags)
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return openEnded(re)
	case syntax.OpCapture, syntax.OpQuest:
		return prefixes(re.Sub[0])
	case syntax.OpStar, syntax.OpPlus:
		return openEnded(re.Sub[0]) + "*" + optional(prefixes(re.Sub[0]))
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

func optional(text string) string {
	return grouped(text) + "?"
}

// maxNestedPrefixes bounds how deep prefixes are nested character by character.
const maxNestedPrefixes = 16

// concatPrefixes returns the prefixes of a sequence: those of its first half, or that and those of the
// second one. Halves keep the nesting low.
func concatPrefixes(subs []*syntax.Regexp) string {
	if len(subs) == 1 {
		return prefixes(subs[0])
	}
	if isCharacter(subs[0]) && len(subs) <= maxNestedPrefixes {
		return openEnded(subs[0]) + optional(concatPrefixes(subs[1:]))
	}
	half := len(subs) / 2
	first := ""
	for _, sub := range subs[:half] {
		first += openEnded(sub)
	}
	return grouped(first + optional(concatPrefixes(subs[half:])) + "|" + concatPrefixes(subs[:half]))
}

// isCharacter reports whether an expression matches one character, whose only prefix is itself.
func isCharacter(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpLiteral:
		return len(re.Rune) == 1
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return true
	}
	return false
}

// runePrefixes is concatPrefixes for a literal.
func runePrefixes(runes []rune, flags syntax.Flags) string {
	if len(runes) == 1 {
		return literal(runes, flags)
	}
	if len(runes) <= maxNestedPrefixes {
		return literal(runes[:1], flags) + optional(runePrefixes(runes[1:], flags))
	}
	half := len(runes) / 2
	return grouped(literal(runes[:half], flags) + optional(runePrefixes(runes[half:], flags)) + "|" + runePrefixes(runes[:half], flags))
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
	return openEnded(&before) + optional(prefixes(re.Sub[0]))
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

// Bounds of the beginnings of matches that are looked for before an open pattern is.
const (
	beginningCharacters = 3
	maxBeginnings       = 400
	maxClassCharacters  = 64
)

// maxOpenBytes is more than what openMark stands for has.
const maxOpenBytes = beginningCharacters * utf8.UTFMax

// What follows a text in which beginnings are replaced, and what replaces them. A text with such a character,
// which a JSON string has as an escape, is searched without need, or held until some more of it has arrived.
const (
	endOfText = "\x00"
	openMark  = "\x01" // a match begins, so far as the text goes, which ends here
	mayMark   = "\x02" // a match may begin
)

// digitReplacer replaces digits by zeros.
var digitReplacer = strings.NewReplacer("1", "0", "2", "0", "3", "0", "4", "0", "5", "0", "6", "0", "7", "0", "8", "0", "9", "0")

// beginning is what a match may begin with, with zeros for digits.
type beginning struct {
	text    string
	isCut   bool // anything may follow
	isWord  bool // it is at the beginning of a word
	isVague bool // not every text with it begins like a match: there are assertions, or only some of the digits
	sure    int  // how many of its characters precede what makes it vague
}

// beginningsOfPattern returns what matches of an expression may begin with; nil: it may be nearly anything.
func beginningsOfPattern(pattern string) []beginning {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil
	}
	all := beginningsOf(parsed)
	for i := range all {
		b := &all[i]
		characters := []rune(b.text)
		if len(characters) == 0 || (b.isCut && len(characters) == 1 && unicode.IsLetter(characters[0])) {
			return nil
		}
		if b.isWord && !strings.Contains(wordCharacters, string(characters[0])) {
			b.isVague = true // what precedes it is part of a word
			b.sure = 0
		}
	}
	return all
}

// wordCharacters are the characters of words, with a zero for the digits.
const wordCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0"

// newBeginningMarks returns a replacer that marks where matches may begin, so far as their first characters have
// arrived. Of two marks for the same, the one that is certain counts. What begins words only is skipped where
// it continues one.
func newBeginningMarks(all []beginning) *strings.Replacer {
	var certain, others, skipped, known, ofWords []string
	for _, b := range all {
		others = append(others, b.text, mayMark)
		known = append(known, b.text)
		characters := []rune(b.text)
		for i := 1; i < len(characters); i++ {
			open := string(characters[:i]) + endOfText
			switch {
			case b.isVague && i > b.sure:
				others = append(others, open, mayMark)
				known = append(known, open)
			case b.isWord:
				ofWords = append(ofWords, open)
			default:
				certain = append(certain, open, openMark)
				known = append(known, open)
			}
		}
	}
	for _, open := range ofWords {
		if containsAny(open, known) || containsAny(open[1:], ofWords) {
			others = append(others, open, mayMark)
			continue
		}
		certain = append(certain, open, openMark)
		for _, character := range wordCharacters {
			skipped = append(skipped, string(character)+open, "")
		}
	}
	return strings.NewReplacer(append(append(certain, others...), skipped...)...)
}

// containsAny reports whether one of some texts is anywhere in another one.
func containsAny(text string, some []string) bool {
	for _, one := range some {
		if strings.Contains(text, one) {
			return true
		}
	}
	return false
}

// anyBeginning is what matches begin with that may begin with nearly anything.
var anyBeginning = []beginning{{isCut: true}}

// beginningsOf returns what the matches of an expression may begin with. Assertions are taken to hold.
func beginningsOf(re *syntax.Regexp) []beginning {
	switch re.Op {
	case syntax.OpLiteral:
		return beginningsOfLiteral(re)
	case syntax.OpCharClass:
		return beginningsOfClass(re.Rune)
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return anyBeginning
	case syntax.OpWordBoundary:
		return []beginning{{isWord: true}}
	case syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpNoWordBoundary:
		return []beginning{{isVague: true}}
	case syntax.OpCapture:
		return beginningsOf(re.Sub[0])
	case syntax.OpQuest:
		return append([]beginning{{}}, beginningsOf(re.Sub[0])...)
	case syntax.OpStar:
		return append([]beginning{{}}, cutBeginnings(beginningsOf(re.Sub[0]))...)
	case syntax.OpPlus:
		return cutBeginnings(beginningsOf(re.Sub[0]))
	case syntax.OpRepeat:
		return beginningsOfRepeat(re)
	case syntax.OpConcat:
		all := []beginning{{}}
		for _, sub := range re.Sub {
			all = continuedBeginnings(all, beginningsOf(sub))
		}
		return all
	case syntax.OpAlternate:
		var all []beginning
		for _, sub := range re.Sub {
			if all = append(all, beginningsOf(sub)...); len(all) > maxBeginnings {
				return anyBeginning
			}
		}
		return all
	}
	return []beginning{{}}
}

// beginningsOfLiteral returns what a literal begins with, in each case if it may have any.
func beginningsOfLiteral(re *syntax.Regexp) []beginning {
	all := []beginning{{}}
	for i := 0; i < len(re.Rune) && i < beginningCharacters; i++ {
		class := []rune{re.Rune[i], re.Rune[i]}
		if re.Flags&syntax.FoldCase != 0 {
			for r := unicode.SimpleFold(re.Rune[i]); r != re.Rune[i]; r = unicode.SimpleFold(r) {
				class = append(class, r, r)
			}
		}
		all = continuedBeginnings(all, beginningsOfClass(class))
	}
	return all
}

// beginningsOfClass returns the characters of a class, with a zero for digits. The class consists of pairs of
// the first and the last character of a range.
func beginningsOfClass(class []rune) []beginning {
	var all []beginning
	digitCount := 0
	for i := 0; i < len(class); i += 2 {
		if class[i+1]-class[i] > maxClassCharacters {
			return anyBeginning
		}
		for r := class[i]; r <= class[i+1]; r++ {
			if r >= '0' && r <= '9' {
				digitCount++
				continue
			}
			all = append(all, beginning{text: string(r)})
		}
		if len(all) > maxClassCharacters {
			return anyBeginning
		}
	}
	if digitCount > 0 {
		all = append(all, beginning{text: "0", isVague: digitCount < 10})
	}
	return all
}

func beginningsOfRepeat(re *syntax.Regexp) []beginning {
	one := beginningsOf(re.Sub[0])
	if re.Min == 0 {
		return append([]beginning{{}}, cutBeginnings(one)...)
	}
	all := []beginning{{}}
	for i := 0; i < re.Min && i < beginningCharacters; i++ {
		all = continuedBeginnings(all, one)
	}
	if re.Max != re.Min {
		return cutBeginnings(all)
	}
	return all
}

// cutBeginnings returns beginnings after which anything may follow.
func cutBeginnings(all []beginning) []beginning {
	var cut []beginning
	for _, b := range all {
		cut = append(cut, beginning{b.text, true, b.isWord, b.isVague, b.sure})
	}
	return cut
}

// continuedBeginnings returns each of some beginnings, continued by each of those that follow while characters
// are wanted.
func continuedBeginnings(all, next []beginning) []beginning {
	var longer []beginning
	for _, b := range all {
		if b.isCut || utf8.RuneCountInString(b.text) >= beginningCharacters {
			longer = append(longer, b)
			continue
		}
		for _, n := range next {
			longer = append(longer, continuedBy(b, n))
		}
		if len(longer) > maxBeginnings {
			return cutBeginnings(all)
		}
	}
	return longer
}

// continuedBy returns a beginning that goes on with another one.
func continuedBy(b, next beginning) beginning {
	longer := beginning{b.text + next.text, next.isCut, b.isWord, b.isVague, b.sure}
	if next.isWord && b.text == "" {
		longer.isWord = true
	} else if next.isWord {
		next.isVague = true
	}
	if next.isVague && !b.isVague {
		longer.isVague = true
		longer.sure = utf8.RuneCountInString(b.text) + next.sure
	}
	return longer
}
