package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/backends"
)

// TestScriptsInRedis runs the plugin's own tests that need a redis-server: they use its scripts directly.
func TestScriptsInRedis(t *testing.T) {
	binary, err := backends.RedisServerBinary(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-tags", "redis", "-count=1", "-v", "-run", "^TestServer", ".")
	cmd.Dir = filepath.Dir(examples(t))
	cmd.Env = append(os.Environ(), "REDIS_SERVER="+binary)
	output, err := cmd.CombinedOutput()
	t.Logf("%s", output)
	if err != nil {
		t.Error(err)
	}
}
