package chatcompletion

import (
	"bytes"
	"regexp"
)

// endings tell whether a response of a kind has ended by itself. In a JSON string the quotes of a name
// would be escaped, so that no text of a client or a model can look like one. Names that are found in
// arguments of a tool are taken for reasons, too: such a response is not stored. Each pattern begins
// with text that is searched first, since responses are large.
type endings struct {
	required *regexp.Regexp   // a whole response has it
	refused  []*regexp.Regexp // a response that is not stored has one of them
	name     []byte           // of the reasons; nil: there are none
	normal   *regexp.Regexp   // the name with a reason that is normal, or with none
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
		refused:  []*regexp.Regexp{regexp.MustCompile(`"refusal` + afterName + anyText)},
		name:     []byte(`"finish_reason"`),
		normal:   regexp.MustCompile(`"finish_reason` + afterName + `(?:null|""|` + chatNormal + `)`),
	}
	responsesEndings = &endings{
		required: regexp.MustCompile(`"status` + afterName + `"completed"`),
		refused: []*regexp.Regexp{
			regexp.MustCompile(`"status` + afterName + `"(?:failed|incomplete|cancelled|cancelling|queued)"`),
			regexp.MustCompile(`"incomplete_details` + afterName + `\{`),
			regexp.MustCompile(`"type` + afterName + `"(?:refusal"|response\.(?:refusal|failed|incomplete))`),
		},
	}
	messagesEndings = &endings{
		required: regexp.MustCompile(`"stop_reason` + afterName + messagesNormal),
		name:     []byte(`"stop_reason"`),
		normal:   regexp.MustCompile(`"stop_reason` + afterName + `(?:null|` + messagesNormal + `)`),
	}
	contentEndings = &endings{
		required: regexp.MustCompile(`"finishReason` + afterName + `"STOP"`),
		refused:  []*regexp.Regexp{regexp.MustCompile(`"blockReason"`)},
		name:     []byte(`"finishReason"`),
		normal:   regexp.MustCompile(`"finishReason` + afterName + `"(?:STOP|` + noReason + `)"`),
	}
	embeddingsEndings = &endings{required: regexp.MustCompile(`"(?:data|embeddings?)` + afterName + `[\[{]`)}
)

const messagesNormal = `"(?:end_turn|tool_use|stop_sequence)"`

// endingsOf are the endings of a kind. The responses of other kinds are not stored.
var endingsOf = map[kind]*endings{
	completions: chatEndings, responses: responsesEndings, messages: messagesEndings,
	generateContent: contentEndings, streamGenerateContent: contentEndings,
	embeddings: embeddingsEndings, embedContent: embeddingsEndings, batchEmbedContents: embeddingsEndings,
}

// endsWell reports whether a whole response has ended by itself: it is neither refused nor cut at a
// limit, in any of its choices.
func endsWell(k kind, body []byte) bool {
	e := endingsOf[k]
	if e == nil || !e.required.Match(body) {
		return false
	}
	for _, refused := range e.refused {
		if refused.Match(body) {
			return false
		}
	}
	return e.name == nil || bytes.Count(body, e.name) == len(e.normal.FindAllIndex(body, -1))
}

var objectStart = []byte("{")
