package chatcompletion

// errorFormat is how a protocol writes errors.
type errorFormat int

// The formats of errors: those of OpenAI, Anthropic and Google.
const (
	openAIErrors errorFormat = iota
	anthropicErrors
	googleErrors
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

// errorEvent returns the event that ends a stream with an error.
func errorEvent(format errorFormat, apiErr *apiError) []byte {
	start := "data: "
	if format == anthropicErrors {
		start = "event: error\n" + start
	}
	return append(append([]byte(start), errorBody(format, apiErr)...), blankLine...)
}
