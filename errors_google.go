package chatcompletion

import (
	"net/http"
	"strings"
)

// googleError is the body of an error in the format of Google's APIs.
type googleError struct {
	Error googleErrorMembers `json:"error"`
}

type googleErrorMembers struct {
	Code    int                 `json:"code"`
	Message string              `json:"message"`
	Status  string              `json:"status"`
	Details []googleErrorDetail `json:"details"`
}

// googleErrorDetail is a google.rpc.ErrorInfo or a google.rpc.BadRequest, by its type.
type googleErrorDetail struct {
	Type       string            `json:"@type"`
	Reason     string            `json:"reason,omitempty"`
	Domain     string            `json:"domain,omitempty"`
	Violations []googleViolation `json:"fieldViolations,omitempty"`
}

// googleViolation says which member of a request is at fault.
type googleViolation struct {
	Field       string `json:"field"`
	Description string `json:"description"`
}

// googleErrorDomain tells the reasons of this plugin from those of Google.
const googleErrorDomain = "chatcompletion"

// googleStatuses are Google's names of errors, by HTTP status.
var googleStatuses = map[int]string{
	http.StatusUnauthorized:        "UNAUTHENTICATED",
	http.StatusPaymentRequired:     "FAILED_PRECONDITION",
	http.StatusForbidden:           "PERMISSION_DENIED",
	http.StatusNotFound:            "NOT_FOUND",
	http.StatusRequestTimeout:      "DEADLINE_EXCEEDED",
	http.StatusConflict:            "ABORTED",
	http.StatusTooManyRequests:     "RESOURCE_EXHAUSTED",
	http.StatusInternalServerError: "INTERNAL",
	http.StatusNotImplemented:      "UNIMPLEMENTED",
	http.StatusGatewayTimeout:      "DEADLINE_EXCEEDED",
}

// googleStatus returns Google's name of an error with an HTTP status.
func googleStatus(status int) string {
	name := googleStatuses[status]
	switch {
	case name != "":
		return name
	case status < http.StatusInternalServerError:
		return "INVALID_ARGUMENT"
	}
	return "UNAVAILABLE"
}

// googleErrorBody returns the body of an error in Google's format: the code is the reason in its
// details, and the member at fault a violation.
func googleErrorBody(apiErr *apiError) []byte {
	details := []googleErrorDetail{{Type: "type.googleapis.com/google.rpc.ErrorInfo", Reason: strings.ToUpper(apiErr.code), Domain: googleErrorDomain}}
	if apiErr.param != "" {
		violations := []googleViolation{{apiErr.param, apiErr.message}}
		details = append(details, googleErrorDetail{Type: "type.googleapis.com/google.rpc.BadRequest", Violations: violations})
	}
	return marshal(googleError{googleErrorMembers{apiErr.status, apiErr.message, googleStatus(apiErr.status), details}})
}
