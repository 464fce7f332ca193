package chatcompletion

import (
	"bytes"
	"encoding/json"
	"reflect"
	"sort"
	"strings"
)

// quoted returns the client's text for a message: marked as quoted, and not longer than is useful.
func quoted(text string) string {
	return "'" + shortened(text) + "'"
}

// quotedMaxBytes bounds what an error message repeats of the client's own text.
const quotedMaxBytes = 80

func shortened(text string) string {
	text = strings.ReplaceAll(text, string(placeholder), "...") // of a long string inside a parameter
	if len(text) > quotedMaxBytes {
		return strings.ToValidUTF8(text[:quotedMaxBytes], "") + "..."
	}
	return text
}

// truncated returns at most maxBytes of a text, in whole characters.
func truncated(text string, maxBytes int) string {
	if maxBytes < 0 {
		maxBytes = 0
	}
	if len(text) <= maxBytes {
		return text
	}
	for maxBytes > 0 && text[maxBytes]&0xc0 == 0x80 {
		maxBytes--
	}
	return text[:maxBytes]
}

// marshal returns the JSON of a value that is known to have one, without the escapes that only HTML needs.
func marshal(value any) []byte {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value)
	return bytes.TrimSpace(text.Bytes())
}

// unquote returns the text of a JSON string that has been parsed before.
func unquote(value []byte) string {
	if bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1])
	}
	var text string
	if json.Unmarshal(value, &text) != nil {
		return ""
	}
	return text
}

// controlCharacters may stand in no text that becomes a header's value.
const controlCharacters = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f" +
	"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f"

var (
	quote     = []byte{'"'}
	comma     = []byte{','}
	blankLine = []byte("\n\n")
	lineFeed  = []byte("\n")
	// placeholder stands for the inside of a long string where only the rest matters. JSON allows DEL, and nobody writes it.
	placeholder = []byte{0x7f}
)

func containsText(names []string, name string) bool {
	for _, known := range names {
		if known == name {
			return true
		}
	}
	return false
}

// sortedKeys returns the keys of a map from text, so that problems are always told in the same order.
func sortedKeys(m any) []string {
	var keys []string
	for _, key := range reflect.ValueOf(m).MapKeys() {
		keys = append(keys, key.String())
	}
	sort.Strings(keys)
	return keys
}

// headerText returns a key without the white space around it, and whether it can stand in a header.
func headerText(key string) (string, bool) {
	key = strings.TrimSpace(key)
	return key, key != "" && !strings.ContainsAny(key, controlCharacters)
}

// fold returns what is common to all spellings of a name that some JSON reader takes for the same. Upper case first
// folds the long s, lower case the Kelvin sign, as encoding/json does.
func fold(name string) string {
	if nul := strings.IndexByte(name, 0); nul >= 0 {
		name = name[:nul]
	}
	return strings.ReplaceAll(strings.ToLower(strings.ToUpper(name)), "_", "")
}

// modelMaxBytes bounds a model's name: it goes into a header and into telemetry.
const modelMaxBytes = 256
