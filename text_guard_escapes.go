package chatcompletion

import (
	"encoding/json"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Texts hold escapes of JSON, also below those of the body: the arguments of a tool are JSON in a string.
// A text is inspected as it is, and again without escapes as long as it has some.
const guardLevels = 3

// validEscape matches the escapes of JSON, from left to right, so that an escaped backslash escapes
// nothing. In the marked form of a text, a byte that is in no text stands for the backslash of each
// of them: the form has the length of the text, and a backslash in it is one that escapes nothing.
var validEscape = regexp.MustCompile(`\\(u[0-9a-fA-F]{4}|["\\/bfnrt])`)

const (
	escapeMark     = "\xff"
	escapeMarkByte = 0xff
	markedEscape   = escapeMark + "${1}"
)

// markedReplacer makes a JSON string of a marked text.
var markedReplacer = strings.NewReplacer(
	escapeMark+`\`, `\\`, escapeMark+`"`, `\"`, escapeMark, `\`, `\`, `\\`, `"`, `\"`,
	"\x00", `\u0000`, "\x01", `\u0001`, "\x02", `\u0002`, "\x03", `\u0003`, "\x04", `\u0004`, "\x05", `\u0005`, "\x06", `\u0006`, "\x07", `\u0007`,
	"\x08", `\b`, "\x09", `\t`, "\x0a", `\n`, "\x0b", `\u000b`, "\x0c", `\f`, "\x0d", `\r`, "\x0e", `\u000e`, "\x0f", `\u000f`,
	"\x10", `\u0010`, "\x11", `\u0011`, "\x12", `\u0012`, "\x13", `\u0013`, "\x14", `\u0014`, "\x15", `\u0015`, "\x16", `\u0016`, "\x17", `\u0017`,
	"\x18", `\u0018`, "\x19", `\u0019`, "\x1a", `\u001a`, "\x1b", `\u001b`, "\x1c", `\u001c`, "\x1d", `\u001d`, "\x1e", `\u001e`, "\x1f", `\u001f`,
)

// escapeReplacer marks escapes ten times as fast as validEscape, and those with u whatever follows.
var escapeReplacer = strings.NewReplacer(
	`\\`, escapeMark+`\`, `\"`, escapeMark+`"`, `\/`, escapeMark+`/`, `\b`, escapeMark+`b`, `\f`, escapeMark+`f`, `\n`, escapeMark+`n`,
	`\r`, escapeMark+`r`, `\t`, escapeMark+`t`, `\u`, escapeMark+`u`,
)

// withoutEscapes returns the marked form of a text, and the text without its escapes.
func withoutEscapes(text string) (string, string) {
	marked := escapeReplacer.Replace(text)
	decoded, err := decodeMarked(marked)
	if err != nil {
		marked = validEscape.ReplaceAllString(text, markedEscape)
		decoded, _ = decodeMarked(marked) // everything that is no escape has been escaped
	}
	return marked, decoded
}

// decodeMarked returns a text without its escapes, of which it has the marked form.
func decodeMarked(marked string) (string, error) {
	text := ""
	err := json.Unmarshal([]byte(`"`+markedReplacer.Replace(marked)+`"`), &text)
	return text, err
}

// decodedBytes returns the length of a part of a text without its escapes.
func decodedBytes(marked string) int {
	decoded, _ := decodeMarked(marked)
	return len(decoded)
}

// matchesAnyLevel is matchesAny for a text, and for it without its escapes.
func matchesAnyLevel(g *guardRules, text string) bool {
	for level := 1; level < guardLevels; level++ {
		if matchesAny(g, text) {
			return true
		}
		if strings.IndexByte(text, '\\') < 0 {
			return false
		}
		_, decoded := withoutEscapes(text)
		if decoded == text {
			return false
		}
		text = decoded
	}
	return matchesAny(g, text)
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
