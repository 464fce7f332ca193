package chatcompletion

import (
	"bytes"
	"encoding/json"
	"regexp"
)

// Bounds of the messages of clients of realtime endpoints, where they are looked at.
const (
	// sessionMessageMaxBytes bounds a message that names a model. Longer ones, which are audio, must not
	// contain anything that could be such a name.
	sessionMessageMaxBytes = 1 << 20
	// heldMaxBytes bounds the frames of a message that are held, of which there may be many without content.
	heldMaxBytes = 2 * sessionMessageMaxBytes
	// maxSessionModels bounds the models that a message names.
	maxSessionModels = 64
)

// modelWordBytes is what of a message must be known before its next part: a name of a model may begin there.
const modelWordBytes = 8

var (
	quotedModel   = []byte(`"model"`)
	unicodeEscape = []byte(`\u00`)
)

// mentionsModel reports whether a text may have a member model, however its name is spelled. It is cheap:
// audio, which has no quotes, passes without more.
func mentionsModel(text []byte) bool {
	return bytes.Contains(text, unicodeEscape) || bytes.IndexByte(text, 0) >= 0 || bytes.Contains(bytes.ToLower(text), quotedModel)
}

// escapedLetters matches letters of the name that are escaped, which no client does.
var escapedLetters = regexp.MustCompile(`(?i)\\u00[46][45cdf]`)

// modelMember matches a member model with its value, in a JSON text without white space and without
// escaped quotes. In such a text, each quote begins or ends a string, and a colon follows names only.
var modelMember = regexp.MustCompile(`(?i)"model":("[^"]*")`)

// sessionModel is a model that a message of a client names.
type sessionModel struct {
	name       string
	start, end int // of the JSON string in the message
}

// sessionModels returns the models that a message of a client names, wherever, and the message in the
// form that they were found in. It reports whether the message can be read: parsers must not disagree on
// what it names.
func sessionModels(message []byte) (named []sessionModel, compact []byte, isReadable bool) {
	named = nil
	var text bytes.Buffer
	if json.Compact(&text, message) != nil {
		return named, nil, false
	}
	compact = text.Bytes()
	neutral := coverEscapes(bytes.ReplaceAll(compact, escapedBackslash, escapedSlash))
	if escapedLetters.Match(neutral) {
		return named, nil, false
	}
	places := modelMember.FindAllSubmatchIndex(neutral, maxSessionModels+1)
	for _, place := range places {
		start, end := place[2], place[3]
		var name string
		if json.Unmarshal(compact[start:end], &name) != nil {
			return named, nil, false
		}
		named = append(named, sessionModel{name: name, start: start, end: end})
	}
	return named, compact, len(places) <= maxSessionModels
}

// renameModels returns a message in which a model has another name.
func renameModels(compact []byte, named []sessionModel, from, to string) []byte {
	var renamed []byte
	written, value := 0, marshal(to)
	for _, m := range named {
		if m.name == from {
			renamed = append(append(renamed, compact[written:m.start]...), value...)
			written = m.end
		}
	}
	return append(renamed, compact[written:]...)
}
