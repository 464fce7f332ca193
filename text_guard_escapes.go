package chatcompletion

import (
	"crypto/subtle"
	"encoding/json"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Texts hold escapes of JSON, also below those of the body: the arguments of a tool are JSON in a string.
// A text is inspected as it is, and again without escapes as long as it has some. What has more levels of
// them in a document cannot be inspected.
const (
	guardLevels    = 3 // of a stream
	documentLevels = 8
)

// deepEscape matches an escape that is left after the last level. Runs of backslashes alone are none.
var deepEscape = regexp.MustCompile(`\\(?:u[0-9a-fA-F]{4}|["/bfnrt])`)

// In the marked form of a text, a byte that is in no text stands for the backslash of each escape: the form
// has the length of the text, and a backslash in it is one that escapes nothing.
const (
	escapeMark     = "\xff"
	escapeMarkByte = 0xff
)

// markedReplacer makes a JSON string of a marked text.
var markedReplacer = strings.NewReplacer(
	escapeMark+`\`, `\\`, escapeMark+`"`, `\"`, escapeMark, `\`, `\`, `\\`, `"`, `\"`,
	"\x00", `\u0000`, "\x01", `\u0001`, "\x02", `\u0002`, "\x03", `\u0003`, "\x04", `\u0004`, "\x05", `\u0005`, "\x06", `\u0006`, "\x07", `\u0007`,
	"\x08", `\b`, "\x09", `\t`, "\x0a", `\n`, "\x0b", `\u000b`, "\x0c", `\f`, "\x0d", `\r`, "\x0e", `\u000e`, "\x0f", `\u000f`,
	"\x10", `\u0010`, "\x11", `\u0011`, "\x12", `\u0012`, "\x13", `\u0013`, "\x14", `\u0014`, "\x15", `\u0015`, "\x16", `\u0016`, "\x17", `\u0017`,
	"\x18", `\u0018`, "\x19", `\u0019`, "\x1a", `\u001a`, "\x1b", `\u001b`, "\x1c", `\u001c`, "\x1d", `\u001d`, "\x1e", `\u001e`, "\x1f", `\u001f`,
)

// hexFolder makes hexadecimal digits zeros, apart from the letters of escapes.
var hexFolder = strings.NewReplacer(
	"1", "0", "2", "0", "3", "0", "4", "0", "5", "0", "6", "0", "7", "0", "8", "0", "9", "0",
	"a", "0", "c", "0", "d", "0", "e", "0", "A", "0", "B", "0", "C", "0", "D", "0", "E", "0", "F", "0",
)

// escapeReplacer marks the escapes in what hexFolder makes of a text, from left to right, so that an escaped
// backslash escapes nothing.
var escapeReplacer = newEscapeReplacer()

func newEscapeReplacer() *strings.Replacer {
	var pairs []string
	for _, escaped := range []string{`\`, `"`, `/`, `b`, `f`, `n`, `r`, `t`} {
		pairs = append(pairs, `\`+escaped, "\xff"+escaped)
	}
	digits := []string{"0", "b", "f"} // as they are folded
	for _, first := range digits {
		for _, second := range digits {
			for _, third := range digits {
				for _, fourth := range digits {
					code := "u" + first + second + third + fourth
					pairs = append(pairs, `\`+code, "\xff"+code)
				}
			}
		}
	}
	return strings.NewReplacer(pairs...)
}

// markEscapes returns the marked form of a text. A search for the escapes by an expression would take ten
// times as long: what the marks change in the folded text is changed in the text.
func markEscapes(text string) string {
	folded := hexFolder.Replace(text)
	changes := []byte(escapeReplacer.Replace(folded))
	subtle.XORBytes(changes, changes, []byte(folded))
	subtle.XORBytes(changes, changes, []byte(text))
	return string(changes)
}

// withoutEscapes returns the marked form of a text, and the text without its escapes.
func withoutEscapes(text string) (string, string) {
	marked := markEscapes(text)
	if strings.IndexByte(marked, escapeMarkByte) < 0 {
		return marked, text
	}
	return marked, decodeMarked(marked)
}

// decodeMarked returns a text without its escapes, of which it has the marked form.
func decodeMarked(marked string) string {
	text := ""
	_ = json.Unmarshal([]byte(`"`+markedReplacer.Replace(marked)+`"`), &text) // everything that is no escape has been escaped
	return text
}

// decodedBytes returns the length of a part of a text without its escapes.
func decodedBytes(marked string) int {
	if strings.Contains(marked, escapeMark+"u") {
		return len(decodeMarked(marked))
	}
	return len(marked) - strings.Count(marked, escapeMark)
}

// shortReplacer decodes all escapes but those with u. escapeMark stands for a backslash.
var shortReplacer = strings.NewReplacer(
	`\\`, escapeMark, `\"`, `"`, `\/`, `/`, `\b`, "\b", `\f`, "\f", `\n`, "\n", `\r`, "\r", `\t`, "\t",
)

// backslashReplacer replaces what stands for a backslash.
var backslashReplacer = strings.NewReplacer(escapeMark, `\`)

// unescaped returns a text without its escapes.
func unescaped(text string) string {
	short := shortReplacer.Replace(text)
	if !strings.Contains(short, `\u`) {
		return backslashReplacer.Replace(short)
	}
	_, decoded := withoutEscapes(text)
	return decoded
}

// matchesAnyLevel is matchesAny for a text, and for it without its escapes. It reports a match as well if the
// text has more levels of escapes than are inspected.
func matchesAnyLevel(g *guardRules, text string) bool {
	if lacksMarks(g, text) {
		return false
	}
	for level := 1; level < documentLevels; level++ {
		if matchesAny(g, text) {
			return true
		}
		if strings.IndexByte(text, '\\') < 0 {
			return false
		}
		decoded := unescaped(text)
		if decoded == text {
			return false
		}
		text = decoded
	}
	return matchesAny(g, text) || deepEscape.MatchString(text)
}

// escapeCursor finds places in a marked text by their places in that text without escapes, from left to
// right.
type escapeCursor struct {
	marked  string
	at      int // in the marked text
	decoded int // the same without escapes
}

// placeOfDecoded moves the cursor to a place in the text without escapes, and returns where that is in the
// text with them. It reads the text in parts: no escape is shorter than what it stands for.
func placeOfDecoded(c *escapeCursor, place int) int {
	for c.decoded < place && c.at < len(c.marked) {
		end := wholeEscapesEnd(c.marked, c.at, c.at+place-c.decoded)
		c.decoded += decodedBytes(c.marked[c.at:end])
		c.at = end
	}
	return c.at
}

// wholeEscapesEnd returns where a part of a marked text ends that cuts no escape and no character: at a
// place, or before it, but after one of them at least.
func wholeEscapesEnd(marked string, from, end int) int {
	if end >= len(marked) {
		return len(marked)
	}
	near := end - surrogatePairBytes
	if near < from {
		near = from
	}
	if i := strings.LastIndexByte(marked[near:end], escapeMarkByte); i >= 0 {
		start := near + i
		if high := start - surrogateBytes; high >= from && escapeBytes(marked[high:]) == surrogatePairBytes {
			start = high
		}
		if start+escapeBytes(marked[start:]) > end {
			end = start
		}
	}
	for end > from && !utf8.RuneStart(marked[end]) {
		end--
	}
	if end > from {
		return end
	}
	if marked[from] == escapeMarkByte {
		return from + escapeBytes(marked[from:])
	}
	_, size := utf8.DecodeRuneInString(marked[from:])
	return from + size
}

// Lengths of escapes.
const (
	surrogateBytes     = 6
	surrogatePairBytes = 2 * surrogateBytes
)

// surrogatePair matches two escapes that stand for one character, in a marked text.
var surrogatePair = regexp.MustCompile(`^.?u[dD][89abAB][0-9a-fA-F]{2}.?u[dD][c-fC-F][0-9a-fA-F]{2}`)

// escapeBytes returns the length of the escape with which a marked text begins; 0: it begins with none.
func escapeBytes(marked string) int {
	switch {
	case len(marked) < 2 || marked[0] != escapeMarkByte:
		return 0
	case marked[1] != 'u':
		return 2
	case len(marked) >= surrogatePairBytes && marked[surrogateBytes] == escapeMarkByte && surrogatePair.MatchString(marked[:surrogatePairBytes]):
		return surrogatePairBytes
	}
	return surrogateBytes
}
