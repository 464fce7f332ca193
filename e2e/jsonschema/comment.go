package jsonschema

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// remark is what the comment of a field says in the form that config.go keeps to: a description, and
// sentences that begin with "Default:" and "Refused:".
type remark struct {
	whole     string // plain text
	synopsis  string // without Default and Refused
	byDefault string
	refused   string
	code      []string // first columns of the lines of code
}

var (
	defaultSentence = regexp.MustCompile(`(?s)\bDefault: (.*?)(?: Refused: |$)`)
	refusedSentence = regexp.MustCompile(`(?s)\bRefused: (.*)$`)
	codeLine        = regexp.MustCompile(`(?m)^    (\S+(?: \S+)*)`)
	literal         = regexp.MustCompile(`^([^\s,;(]+?)(?:,.*| \([^)]*\))?\.?$`)
	listed          = regexp.MustCompile(`^\w+ is (?:[^.:]*: )?(\w[\w.]*(?:, \w[\w.]*)*,? or \w+)\b`)
	comma           = regexp.MustCompile(`,? or |, `)
	oneValue        = regexp.MustCompile(`\b[Ii]ts one value, (\w+),`)
	likeAnother     = regexp.MustCompile(`^\w+ is like (\w+)\.(\w+)\b`)
	lessThan        = regexp.MustCompile(`\b(?:less than|below) (-?[0-9.]*[0-9][a-z]*)( bytes)?`)
	moreThan        = regexp.MustCompile(`\b(?:more than|above) (-?[0-9.]*[0-9][a-z]*)( bytes)?`)
	fieldName       = regexp.MustCompile(`\b[A-Z][A-Za-z]*(?:\.[A-Z][A-Za-z]*)*\b`)
	refusedInEach   = regexp.MustCompile(`(?s)\bRefused in each: (.*)$`)
	calendarSpan    = regexp.MustCompile(`\b[0-9]+[dwM]\b`)
	otherWords      = regexp.MustCompile(`(?:Kubernetes|mounted) $`)
)

// newRemark reads a comment that is plain text.
func newRemark(whole string) remark {
	r := remark{whole: whole, synopsis: whole}
	for _, found := range codeLine.FindAllStringSubmatch(whole, -1) {
		r.code = append(r.code, found[1])
	}
	if found := refusedSentence.FindStringSubmatch(whole); found != nil {
		r.refused = found[1]
		r.synopsis, _, _ = strings.Cut(whole, "Refused: ")
	}
	if found := defaultSentence.FindStringSubmatch(whole); found != nil {
		r.byDefault = found[1]
		r.synopsis, _, _ = strings.Cut(whole, "Default: ")
	}
	return r
}

// literal returns the default if it is a literal, not a condition, and "" otherwise.
func (r remark) literal() string {
	found := literal.FindStringSubmatch(r.byDefault)
	if found == nil || (found[1] == "none" && !slices.Contains(r.values(), "none")) {
		return ""
	}
	return found[1]
}

// isRequired reports whether a field without a value is refused.
func (r remark) isRequired() bool {
	return strings.HasPrefix(r.refused, "none, ")
}

// isEnumeration reports whether all values but some are refused.
func (r remark) isEnumeration() bool {
	refused := strings.TrimPrefix(r.refused, "none, ")
	return strings.HasPrefix(refused, "other values") && !strings.HasPrefix(refused, "other values that")
}

// values returns the values that are accepted if all others are refused.
func (r remark) values() []string {
	if !r.isEnumeration() {
		return nil
	}
	if found := oneValue.FindStringSubmatch(r.synopsis); found != nil {
		return found[1:]
	}
	if found := listed.FindStringSubmatch(r.synopsis); found != nil {
		return comma.Split(found[1], -1)
	}
	return r.code
}

// bounds returns the least and the greatest value that are accepted, and "" for none.
func (r remark) bounds() (least, most string) {
	for bound, pattern := range map[*string]*regexp.Regexp{&least: lessThan, &most: moreThan} {
		if found := pattern.FindStringSubmatch(r.refused); found != nil && found[2] == "" { // not the size of a text
			*bound = found[1]
		}
	}
	return least, most
}

// withKeys returns a text about a struct with the keys of the configuration for the names of the
// fields.
func (s *source) withKeys(text string, about structType) string {
	var replaced strings.Builder
	end := 0
	for _, found := range fieldName.FindAllStringIndex(text, -1) {
		replaced.WriteString(text[end:found[0]])
		end = found[1]
		replaced.WriteString(s.asKeys(text[found[0]:end], text[:found[0]], text[end:], about))
	}
	return replaced.String() + text[end:]
}

// asKeys returns a word as the keys that it names between two texts about a struct, or the word
// itself. A word that is one only by its first letter may begin a sentence: it is a key of that struct
// or of Config.
func (s *source) asKeys(word, before, after string, about structType) string {
	names := strings.Split(word, ".")
	isHeader := strings.HasSuffix(before, "-") || strings.HasPrefix(after, "-")
	isAcronym := strings.ToUpper(word) == word && before != "" // TLS is a key, and more often a protocol
	isWord := before != "" && strings.LastIndexFunc(word, unicode.IsUpper) == 0 && !about.has(word) && !s.structs["Config"].has(word)
	if isHeader || isAcronym || isWord || otherWords.MatchString(before) {
		return word
	}
	if names[0] == "Config" && len(names) > 1 {
		names = names[1:]
	}
	for i := range names {
		if !s.isField(names[i]) {
			return word
		}
		names[i] = keyOf(names[i])
	}
	return strings.Join(names, ".")
}

// keyOf returns the key of a field in the spelling of the reference: TLS is tls, CAFile is caFile.
func keyOf(name string) string {
	if strings.ToUpper(name) == name {
		return strings.ToLower(name)
	}
	capitals := 0
	for capitals < len(name) && name[capitals] >= 'A' && name[capitals] <= 'Z' {
		capitals++
	}
	if capitals > 1 {
		capitals-- // the last one begins the next word
	}
	return strings.ToLower(name[:capitals]) + name[capitals:]
}
