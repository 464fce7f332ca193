package chatcompletion

import "net/http"

// anthropicError is the body of an error in Anthropic's format.
type anthropicError struct {
	Type  string                `json:"type"`
	Error anthropicErrorMembers `json:"error"`
}

type anthropicErrorMembers struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

// anthropicErrorTypes are the types of errors that Anthropic publishes, by status. 529 is its status
// for an API that is overloaded.
var anthropicErrorTypes = map[int]string{
	http.StatusUnauthorized:          "authentication_error",
	http.StatusPaymentRequired:       "billing_error",
	http.StatusForbidden:             "permission_error",
	http.StatusNotFound:              "not_found_error",
	http.StatusRequestEntityTooLarge: "request_too_large",
	http.StatusTooManyRequests:       "rate_limit_error",
	http.StatusServiceUnavailable:    "overloaded_error",
	http.StatusGatewayTimeout:        "timeout_error",
	529:                              "overloaded_error",
}

// anthropicErrorType returns the type of an error with a status.
func anthropicErrorType(status int) string {
	name := anthropicErrorTypes[status]
	switch {
	case name != "":
		return name
	case status < http.StatusInternalServerError:
		return invalidRequestError
	}
	return "api_error"
}

// anthropicErrorBody returns the body of an error in Anthropic's format, which has no code.
func anthropicErrorBody(apiErr *apiError) []byte {
	return marshal(anthropicError{"error", anthropicErrorMembers{anthropicErrorType(apiErr.status), apiErr.message}})
}
