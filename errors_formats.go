package chatcompletion

// errorFormat is how a protocol writes errors.
type errorFormat int

// The formats of errors: those of OpenAI, Anthropic and Google. The Responses API has OpenAI's, and an event
// of its own.
const (
	openAIErrors errorFormat = iota
	anthropicErrors
	googleErrors
	responsesErrors
)

// errorBody returns the body of an error.
func errorBody(format errorFormat, apiErr *apiError) []byte {
	switch format {
	case anthropicErrors:
		return anthropicErrorBody(apiErr)
	case googleErrors:
		return googleErrorBody(apiErr)
	}
	return openAIErrorBody(apiErr)
}

// errorEvent returns the event that ends a stream with an error. Clients of the Responses API require its
// type, and a number, which nothing depends on.
func errorEvent(format errorFormat, apiErr *apiError) []byte {
	start := "data: "
	body := errorBody(format, apiErr)
	switch format {
	case anthropicErrors:
		start = "event: error\n" + start
	case responsesErrors:
		start = "event: error\n" + start + `{"type":"error","sequence_number":0,`
		body = body[1:]
	}
	return append(append([]byte(start), body...), blankLine...)
}
