package e2e_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/demo"
)

// TestOpenAISDK runs the tests in openai against a gateway.
func TestOpenAISDK(t *testing.T) {
	g := serve(t, map[string]any{
		"token":               "sk-key-of-the-provider",
		"model":               "gpt-4o-mini",
		"allowModelOverride":  true,
		"allowedModels":       []string{"gpt-4o*"},
		"allowParamsOverride": true,
		"params":              map[string]any{"temperature": 0.5},
	}, demo.Handler(demo.Options{}))
	tests := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "./...")
	tests.Dir = "openai"
	tests.Env = append(os.Environ(), "OPENAI_BASE_URL="+g.URL+"/v1")
	output, err := tests.CombinedOutput()
	if err != nil {
		t.Error(err)
	}
	t.Logf("%s", output)
	checkNoErrors(t, g)
}
