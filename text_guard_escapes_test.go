package chatcompletion

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// validEscape matches the escapes of JSON, from left to right.
var validEscape = regexp.MustCompile(`\\(u[0-9a-fA-F]{4}|["\\/bfnrt])`)

// FuzzEscapedPlaces compares the places that the cursor finds, with the decoded lengths of all beginnings.
func FuzzEscapedPlaces(f *testing.F) {
	for _, text := range []string{
		`a\nb\\n\u0041`, `\ud83d\ude00x\ud83d\ude00`, `\ud83d`, `\ud83dA\ude00`, `é😀\/\"`, strings.Repeat(`\u0041`, 300), strings.Repeat(`\\`, 300),
		strings.Repeat(`\ud83d\ude00`, 100), strings.Repeat("x", 500) + `\t` + strings.Repeat("é", 90), `C:\x\q\`, `\ud83d\ud83d\ude00`, "\x00\n",
		`\users\ubfBF\u00fg\\\ub\`, `\u005cu005cu0041`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) || len(text) > 4<<10 {
			return
		}
		marked, decoded := withoutEscapes(text)
		if len(marked) != len(text) {
			t.Fatalf("%q: the marked form has %d bytes, want %d", text, len(marked), len(text))
		}
		var want string
		if json.Unmarshal([]byte(`"`+text+`"`), &want) == nil && decoded != want {
			t.Fatalf("%q: got %q, want %q", text, decoded, want)
		}
		if got := unescaped(text); got != decoded {
			t.Fatalf("%q: unescaped returns %q, want %q", text, got, decoded)
		}
		if again := validEscape.ReplaceAllString(text, escapeMark+"${1}"); marked != again {
			t.Fatalf("%q: got the marked form %q, want %q", text, marked, again)
		}
		// Between two characters of the decoded text, what is before the place decodes to what is before.
		steps := &escapeCursor{marked: marked}
		for place := range decoded {
			at := placeOfDecoded(steps, place)
			if before := decodeMarked(marked[:at]); before != decoded[:place] {
				t.Fatalf("%q: the place of byte %d is %d, before which is %q, want %q", text, place, at, before, decoded[:place])
			}
			if jump := placeOfDecoded(&escapeCursor{marked: marked}, place); jump != at {
				t.Fatalf("%q: the place of byte %d is %d at once, %d in steps", text, place, jump, at)
			}
		}
	})
}
