package chatcompletion

import (
	"net/http"
	"strconv"
)

// apiError is an answer of our own, in the shape of OpenAI's errors. Code is also what the policy header, and so the
// access log, names the refusal by.
type apiError struct {
	status    int
	errorType string // "type" in the answer
	code      string
	param     string
	message   string
}

// Values of the member "type" of an error, as OpenAI uses them.
const (
	invalidRequestError = "invalid_request_error"
	serverError         = "server_error"
)

// retryAfterSeconds is what a client is told when we refuse for a reason that passes by itself.
const retryAfterSeconds = 10

// errorBody and errorMembers are the body of every error, with the members in OpenAI's order.
type errorBody struct {
	Error errorMembers `json:"error"`
}

type errorMembers struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

// invalidRequest refuses a request whose body has to change; param names the member at fault, if one is.
func invalidRequest(code, param, message string) *apiError {
	return &apiError{http.StatusBadRequest, invalidRequestError, code, param, message}
}

// invalidJSON refuses a body that is not JSON from the given byte on.
func invalidJSON(reason string, offsetBytes int) *apiError {
	return invalidRequest("invalid_json", "", "We could not parse the JSON body of your request: "+reason+
		" (at byte "+strconv.Itoa(offsetBytes)+").")
}

func methodNotAllowed(method, allowed string) *apiError {
	return &apiError{http.StatusMethodNotAllowed, invalidRequestError, "method_not_supported", "",
		"Not allowed to " + shortened(method) + " here. Send the request with " + allowed + "."}
}

func denied() *apiError {
	return &apiError{http.StatusForbidden, invalidRequestError, "endpoint_denied", "", "This endpoint is not available here."}
}

// modelNotFound is OpenAI's answer to a model that a client may not use, by the name that the client knows.
func modelNotFound(name string) *apiError {
	return &apiError{http.StatusNotFound, invalidRequestError, "model_not_found", "model",
		"The model `" + shortened(name) + "` does not exist or you do not have access to it."}
}

func providerTimeout() *apiError {
	return &apiError{http.StatusGatewayTimeout, serverError, "provider_timeout", "", "The provider did not answer in time. Try again later."}
}

func providerUnreachable() *apiError {
	return &apiError{http.StatusBadGateway, serverError, "provider_unreachable", "", "The provider could not be reached. Try again later."}
}

func credentialsUnavailable() *apiError {
	return &apiError{http.StatusServiceUnavailable, serverError, "credentials_unavailable", "",
		"The gateway has no key for the provider at the moment. Try again later; its operator finds the reason in the log."}
}

func invalidModelList() *apiError {
	return &apiError{http.StatusBadGateway, serverError, "invalid_model_list", "", "The provider's list of models cannot be read."}
}

// errorJSON is a refusal in the shape of OpenAI's errors.
func errorJSON(apiErr *apiError) []byte {
	members := errorMembers{Message: apiErr.message, Type: apiErr.errorType, Code: &apiErr.code}
	if apiErr.param != "" {
		members.Param = &apiErr.param
	}
	return marshal(errorBody{members})
}

// writeAPIError answers with the refusal.
func writeAPIError(rw http.ResponseWriter, apiErr *apiError) {
	header := rw.Header()
	switch apiErr.status {
	case http.StatusMethodNotAllowed:
		if header["Allow"] == nil {
			header.Set("Allow", "POST, OPTIONS")
		}
	case http.StatusUnsupportedMediaType:
		header.Set("Accept-Encoding", "gzip, deflate")
	case http.StatusServiceUnavailable:
		header.Set("Retry-After", strconv.Itoa(retryAfterSeconds))
	}
	writeJSON(rw, apiErr.status, errorJSON(apiErr))
}

// policyHeader is the access-log header that says what was decided, a refusal included.
const policyHeader = "X-Ai-Policy"

// writePolicyError answers with the refusal, and tells the operator.
func writePolicyError(rw http.ResponseWriter, apiErr *apiError) {
	writeAPIError(rw, apiErr)
	rw.Header().Set(policyHeader, "refused="+apiErr.code)
}

// write500 answers for a fault, in the place of an answer that may have begun to be prepared.
func write500(rw http.ResponseWriter) {
	removeRepresentation(rw.Header())
	writeAPIError(rw, &apiError{http.StatusInternalServerError, serverError, "internal_error", "",
		"The gateway had an internal error while it processed your request. Sorry about that."})
}

// representationHeaders are headers of an answer that say something of its body.
var representationHeaders = []string{
	"Content-Encoding", "Content-Length", "Content-Range", "Content-Language", "Content-Location", "Content-Disposition",
	"Accept-Ranges", "Cache-Control", "Etag", "Expires", "Last-Modified", "Trailer",
}

func removeRepresentation(header http.Header) {
	for _, name := range representationHeaders {
		delete(header, name)
	}
}

// writeJSON answers with a value that is JSON.
func writeJSON(rw http.ResponseWriter, status int, body []byte) {
	rw.Header().Set("Content-Type", "application/json")
	rw.Header().Set("Content-Length", strconv.Itoa(len(body)))
	rw.WriteHeader(status)
	_, _ = rw.Write(body)
}

// recoverUngoverned is deferred where a request is not governed, and has not been handed on.
func recoverUngoverned(name string, rw http.ResponseWriter) {
	cause := recover()
	if cause == nil {
		return
	}
	if isAbort(cause) {
		abort()
	}
	logPanic(name, cause)
	write500(rw)
}
