package chatcompletion

import (
	"net/http"
	"strconv"
)

// apiError is an error response of the middleware, in OpenAI's words; errorBody writes it in the format
// of any protocol. The policy header, and so the access log, also reports the code.
type apiError struct {
	status    int
	errorType string // "type" in the body
	code      string
	param     string
	message   string
}

// Values of the member "type" of an error, as OpenAI defines them.
const (
	invalidRequestError = "invalid_request_error"
	serverError         = "server_error"
)

// retryAfterSeconds is the Retry-After of responses with status 503, whose cause is temporary.
const retryAfterSeconds = 10

// openAIError is the body of an error in OpenAI's format, with the members in its order.
type openAIError struct {
	Error openAIErrorMembers `json:"error"`
}

type openAIErrorMembers struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

// invalidRequest returns the error for a request that the client has to change. param names the
// member at fault, and is empty if there is none.
func invalidRequest(code, param, message string) *apiError {
	return &apiError{http.StatusBadRequest, invalidRequestError, code, param, message}
}

// invalidJSON returns the error for a body that is not JSON from the given byte on.
func invalidJSON(reason string, offsetBytes int) *apiError {
	return invalidRequest("invalid_json", "", "We could not parse the JSON body of your request: "+reason+
		" (at byte "+strconv.Itoa(offsetBytes)+").")
}

func methodNotAllowed(method, allowed string) *apiError {
	return &apiError{http.StatusMethodNotAllowed, invalidRequestError, "method_not_supported", "",
		"Method " + shortened(method) + " is not allowed. Use " + allowed + "."}
}

func denied() *apiError {
	return &apiError{http.StatusForbidden, invalidRequestError, "endpoint_denied", "", "Access to this endpoint is denied."}
}

// modelNotFound returns OpenAI's error for a model that the client may not use. name is the name
// that the client knows, such as an alias.
func modelNotFound(name string) *apiError {
	return &apiError{http.StatusNotFound, invalidRequestError, "model_not_found", "model",
		"The model `" + shortened(name) + "` does not exist or you do not have access to it."}
}

func providerTimeout() *apiError {
	return &apiError{http.StatusGatewayTimeout, serverError, "provider_timeout", "", "The provider did not respond in time. Try again later."}
}

func providerUnreachable() *apiError {
	return &apiError{http.StatusBadGateway, serverError, "provider_unreachable", "", "The provider could not be reached. Try again later."}
}

func credentialsUnavailable() *apiError {
	return &apiError{http.StatusServiceUnavailable, serverError, "credentials_unavailable", "",
		"The gateway has no credentials for the provider at the moment. Try again later. The gateway's log states the reason."}
}

func promptUnavailable() *apiError {
	return &apiError{http.StatusServiceUnavailable, serverError, "prompt_unavailable", "",
		"The gateway has no system prompt at the moment. Try again later. The gateway's log states the reason."}
}

func storeUnavailable() *apiError {
	return &apiError{http.StatusServiceUnavailable, serverError, "quota_store_unavailable", "",
		"The gateway cannot check your quotas at the moment. Try again later. The gateway's log states the reason."}
}

func invalidModelList() *apiError {
	return &apiError{http.StatusBadGateway, serverError, "invalid_model_list", "", "The provider returned an invalid list of models."}
}

// openAIErrorBody returns the body of an error in OpenAI's format.
func openAIErrorBody(apiErr *apiError) []byte {
	members := openAIErrorMembers{Message: apiErr.message, Type: apiErr.errorType, Code: &apiErr.code}
	if apiErr.param != "" {
		members.Param = &apiErr.param
	}
	return marshal(openAIError{members})
}

// writeAPIError responds with an error.
func writeAPIError(rw http.ResponseWriter, format errorFormat, apiErr *apiError) {
	header := rw.Header()
	switch apiErr.status {
	case http.StatusMethodNotAllowed:
		if header["Allow"] == nil {
			header.Set("Allow", "POST, OPTIONS")
		}
	case http.StatusUnauthorized:
		header.Set("WWW-Authenticate", "Bearer")
	case http.StatusUnsupportedMediaType:
		header.Set("Accept-Encoding", "gzip, deflate")
	case http.StatusServiceUnavailable:
		header.Set("Retry-After", strconv.Itoa(retryAfterSeconds))
	}
	writeJSON(rw, apiErr.status, errorBody(format, apiErr))
}

// policyHeader is the access-log header that reports decisions and rejections.
const policyHeader = "X-Ai-Policy"

// writePolicyError responds with an error, and reports it to the access log. The policy header is
// set last, so that the client does not receive it.
func writePolicyError(rw http.ResponseWriter, format errorFormat, apiErr *apiError) {
	writeAPIError(rw, format, apiErr)
	rw.Header().Set(policyHeader, "refused="+apiErr.code)
}

// write500 responds to a panic. It first removes the headers of a response that was being prepared.
func write500(rw http.ResponseWriter, format errorFormat) {
	removeRepresentation(rw.Header())
	writeAPIError(rw, format, &apiError{http.StatusInternalServerError, serverError, "internal_error", "",
		"The gateway had an internal error while processing your request."})
}

// representationHeaders are the response headers that describe the body, and those that say how long caches
// may store it. Those of the request, the account and the connection are not among them, nor is Set-Cookie:
// Traefik's sticky sessions use it.
var representationHeaders = []string{
	"Content-Encoding", "Content-Length", "Content-Range", "Content-Language", "Content-Location", "Content-Disposition",
	"Content-Md5", "Content-Digest", "Repr-Digest", "Digest", "Etag", "Last-Modified", "Accept-Ranges", "Link", "Trailer",
	"Cache-Control", "Cdn-Cache-Control", "Surrogate-Control", "Expires", "Pragma", "Age",
}

func removeRepresentation(header http.Header) {
	for _, name := range representationHeaders {
		delete(header, name)
	}
}

// writeJSON responds with a body that is JSON.
func writeJSON(rw http.ResponseWriter, status int, body []byte) {
	rw.Header().Set("Content-Type", "application/json")
	rw.Header().Set("Content-Length", strconv.Itoa(len(body)))
	rw.WriteHeader(status)
	_, _ = rw.Write(body)
}
