package chatcompletion

import (
	"encoding/json"
	"net/http"
	"reflect"
	"testing"
)

// TestErrorsOfProtocols decodes errors in the formats of other protocols, and compares what their clients see.
func TestErrorsOfProtocols(t *testing.T) {
	for _, test := range []struct {
		status    int
		anthropic string
		google    string
	}{
		{http.StatusBadRequest, "invalid_request_error", "INVALID_ARGUMENT"},
		{http.StatusUnauthorized, "authentication_error", "UNAUTHENTICATED"},
		{http.StatusPaymentRequired, "billing_error", "FAILED_PRECONDITION"},
		{http.StatusForbidden, "permission_error", "PERMISSION_DENIED"},
		{http.StatusNotFound, "not_found_error", "NOT_FOUND"},
		{http.StatusMethodNotAllowed, "invalid_request_error", "INVALID_ARGUMENT"},
		{http.StatusRequestTimeout, "invalid_request_error", "DEADLINE_EXCEEDED"},
		{http.StatusConflict, "invalid_request_error", "ABORTED"},
		{http.StatusRequestEntityTooLarge, "request_too_large", "INVALID_ARGUMENT"},
		{http.StatusUnsupportedMediaType, "invalid_request_error", "INVALID_ARGUMENT"},
		{http.StatusTooManyRequests, "rate_limit_error", "RESOURCE_EXHAUSTED"},
		{http.StatusInternalServerError, "api_error", "INTERNAL"},
		{http.StatusNotImplemented, "api_error", "UNIMPLEMENTED"},
		{http.StatusBadGateway, "api_error", "UNAVAILABLE"},
		{http.StatusServiceUnavailable, "overloaded_error", "UNAVAILABLE"},
		{http.StatusGatewayTimeout, "timeout_error", "DEADLINE_EXCEEDED"},
		{529, "overloaded_error", "UNAVAILABLE"},
	} {
		apiErr := &apiError{test.status, serverError, "some_code", "messages[0].role", `Said "no" to <a & b>.`}
		var got any
		if err := json.Unmarshal(anthropicErrorBody(apiErr), &got); err != nil {
			t.Fatal(err)
		}
		want := any(map[string]any{"type": "error", "error": map[string]any{"type": test.anthropic, "message": apiErr.message}})
		if !reflect.DeepEqual(got, want) {
			t.Errorf("status %d for Anthropic: got %v, want %v", test.status, got, want)
		}
		if err := json.Unmarshal(googleErrorBody(apiErr), &got); err != nil {
			t.Fatal(err)
		}
		want = map[string]any{"error": map[string]any{
			"code": float64(test.status), "message": apiErr.message, "status": test.google, "details": []any{
				map[string]any{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SOME_CODE", "domain": "chatcompletion"},
				map[string]any{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": []any{
					map[string]any{"field": "messages[0].role", "description": apiErr.message},
				}},
			},
		}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("status %d for Google: got %v, want %v", test.status, got, want)
		}
	}
}

// TestErrorsWithoutMember checks the whole bodies of an error that no member is at fault for.
func TestErrorsWithoutMember(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{string(anthropicErrorBody(denied())), `{"type":"error","error":{"type":"permission_error","message":"Access to this endpoint is denied."}}`},
		{string(googleErrorBody(denied())), `{"error":{"code":403,"message":"Access to this endpoint is denied.","status":"PERMISSION_DENIED",` +
			`"details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"ENDPOINT_DENIED","domain":"chatcompletion"}]}}`},
	} {
		if test.got != test.want {
			t.Errorf("got %s, want %s", test.got, test.want)
		}
	}
}
