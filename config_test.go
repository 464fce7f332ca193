package chatcompletion

import (
	"strings"
	"testing"
)

// TestEmptyModelAliasIsRefused is not a case in testdata: Traefik's file provider panics on an empty key.
func TestEmptyModelAliasIsRefused(t *testing.T) {
	config := CreateConfig()
	config.ModelAliases = map[string]string{"": "gpt-4o"}
	_, err := newPolicy(config, "test")
	if want := "modelAliases: alias names must not be empty"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

func TestAllConfigurationErrorsAreReported(t *testing.T) {
	config := CreateConfig()
	config.Mode = "watch"
	config.Token = "urn:x"
	config.MaxRequestBodySize = "much"
	config.Params.Temperature = 3
	config.Unknown = map[string]any{"tokens": 1}
	_, err := newPolicy(config, "governed@file")
	if err == nil {
		t.Fatal("newPolicy accepts the configuration, want an error")
	}
	for _, want := range []string{`middleware "governed@file"`, `unknown key "tokens"; did you mean "token"?`, "mode: ", "token: ", "maxRequestBodySize: ", "params.temperature: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q, want %q in it", err, want)
		}
	}
}

// TestExposingMiddlewareAcceptsSecretReferences configures a key for the OTLP export in the middleware that exposes metrics.
func TestExposingMiddlewareAcceptsSecretReferences(t *testing.T) {
	config := CreateConfig()
	config.Expose = exposePrometheus
	config.Secrets.Dir = "/secrets"
	config.Telemetry.OTLP.Endpoint = "http://collector:4318"
	config.Telemetry.OTLP.Headers = map[string]string{"Api-Key": "urn:k8s:secret:collector:key"}
	if _, err := newPolicy(config, "test"); err != nil {
		t.Errorf("error %v, want none", err)
	}
}
