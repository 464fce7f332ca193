package chatcompletion

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
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

// quotedMaxBytes bounds what an error message repeats of the client's own text.
const quotedMaxBytes = 80

// invalidRequest refuses a request whose body has to change; param names the member at fault, if one is.
func invalidRequest(code, param, message string) *apiError {
	return &apiError{http.StatusBadRequest, invalidRequestError, code, param, message}
}

// invalidJSON refuses a body that is not JSON from the given byte on.
func invalidJSON(reason string, offsetBytes int) *apiError {
	return invalidRequest("invalid_json", "", "We could not parse the JSON body of your request: "+reason+
		" (at byte "+strconv.Itoa(offsetBytes)+").")
}

// quoted returns the client's text for a message: marked as quoted, and not longer than is useful.
func quoted(text string) string {
	return "'" + shortened(text) + "'"
}

func shortened(text string) string {
	text = strings.ReplaceAll(text, string(placeholder), "...") // of a long string inside a parameter
	if len(text) > quotedMaxBytes {
		return strings.ToValidUTF8(text[:quotedMaxBytes], "") + "..."
	}
	return text
}

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

// marshal returns the JSON of a value that is known to have one, without the escapes that only HTML needs.
func marshal(value any) []byte {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value)
	return bytes.TrimSpace(text.Bytes())
}

// rejectExchange answers with the refusal, and records the call.
func rejectExchange(w *responseWriter, apiErr *apiError) {
	c, rw := w.call, w.ResponseWriter
	writePolicyError(rw, apiErr)
	w.status = apiErr.status
	w.complete = true
	rw.Header()[errorTypeHeader] = []string{apiErr.code}
	c.Duration = time.Since(c.Start)
	c.GatewayDuration = c.Duration
	c.Status = apiErr.status
	c.ErrorType = apiErr.code
	c.Request = &Request{Policy: "refused=" + apiErr.code}
	publish(w.policy.telemetry, c)
	w.recorded = true
}

// writePolicyError answers with the refusal, and tells the operator.
func writePolicyError(rw http.ResponseWriter, apiErr *apiError) {
	writeAPIError(rw, apiErr)
	rw.Header().Set(policyHeader, "refused="+apiErr.code)
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

// errorJSON is a refusal in the shape of OpenAI's errors.
func errorJSON(apiErr *apiError) []byte {
	members := errorMembers{Message: apiErr.message, Type: apiErr.errorType, Code: &apiErr.code}
	if apiErr.param != "" {
		members.Param = &apiErr.param
	}
	return marshal(errorBody{members})
}

// writeJSON answers with a value that is JSON.
func writeJSON(rw http.ResponseWriter, status int, body []byte) {
	rw.Header().Set("Content-Type", "application/json")
	rw.Header().Set("Content-Length", strconv.Itoa(len(body)))
	rw.WriteHeader(status)
	_, _ = rw.Write(body)
}
