package chatcompletion

import (
	"bytes"
	"encoding/json"
	"regexp"
)

// endings tell whether a response of a kind has ended by itself. In a JSON string the quotes of a name
// would be escaped, so that no text of a client or a model can look like one. Names that are found in
// arguments of a tool are taken for reasons, too: such a response is not stored.
type endings struct {
	required *regexp.Regexp // a whole response has it
	refused  *regexp.Regexp // a response that is not stored has it; nil: there is none
	names    *regexp.Regexp // the names of reasons; nil: there are none
	normal   *regexp.Regexp // names with a reason that is normal, or with none
}

// Parts of the patterns of endings.
const (
	afterName  = `"\s*:\s*`
	chatNormal = `"(?i:stop|tool_calls|function_call|tool_use|eos|eos_token|stop_sequence|end_turn|complete)"`
	anyText    = `"[^"]`
)

var (
	chatEndings = &endings{
		required: regexp.MustCompile(`"finish_reason` + afterName + chatNormal),
		refused:  regexp.MustCompile(`"refusal` + afterName + anyText),
		names:    regexp.MustCompile(`"finish_reason"`),
		normal:   regexp.MustCompile(`"finish_reason` + afterName + `(?:null|""|` + chatNormal + `)`),
	}
	responsesEndings = &endings{
		required: regexp.MustCompile(`"status` + afterName + `"completed"`),
		refused: regexp.MustCompile(`"status` + afterName + `"(?:failed|incomplete|cancelled|cancelling|queued)"|"incomplete_details` + afterName +
			`\{|"type` + afterName + `"(?:refusal"|response\.(?:refusal|failed|incomplete))`),
	}
	messagesEndings = &endings{
		required: regexp.MustCompile(`"stop_reason` + afterName + messagesNormal),
		names:    regexp.MustCompile(`"stop_reason"`),
		normal:   regexp.MustCompile(`"stop_reason` + afterName + `(?:null|` + messagesNormal + `)`),
	}
	contentEndings = &endings{
		required: regexp.MustCompile(`"finishReason` + afterName + `"STOP"`),
		names:    regexp.MustCompile(`"(?:finishReason|blockReason)"`),
		normal:   regexp.MustCompile(`"finishReason` + afterName + `"(?:STOP|` + noReason + `)"`),
	}
	embeddingsEndings = &endings{required: regexp.MustCompile(`"(?:data|embeddings?)` + afterName + `[\[{]`)}
)

const messagesNormal = `"(?:end_turn|tool_use|stop_sequence)"`

// endingsOf returns the endings of a kind; nil: its responses are not stored.
func endingsOf(k kind) *endings {
	switch k {
	case completions:
		return chatEndings
	case responses:
		return responsesEndings
	case messages:
		return messagesEndings
	case generateContent, streamGenerateContent:
		return contentEndings
	case embeddings, embedContent, batchEmbedContents:
		return embeddingsEndings
	}
	return nil
}

// endsWell reports whether a whole response has ended by itself: it is neither refused nor cut at a
// limit, in any of its choices.
func endsWell(k kind, body []byte) bool {
	e := endingsOf(k)
	if e == nil || !e.required.Match(body) || (e.refused != nil && e.refused.Match(body)) {
		return false
	}
	return e.names == nil || len(e.names.FindAllIndex(body, -1)) == len(e.normal.FindAllIndex(body, -1))
}

var objectStart = []byte("{")

// validJSON reports whether a text is JSON. A mark may precede it.
func validJSON(text []byte) bool {
	return json.Valid(bytes.TrimPrefix(text, byteOrderMark))
}
