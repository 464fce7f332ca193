package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/traefik/traefik/v3/pkg/plugins"

	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/gateway"
	"github.com/modelroute/chatcompletion/internal/replay"
)

// loadCases reads the corpus, which the root package replays against the compiled handler.
func loadCases(t *testing.T) []replay.Case {
	t.Helper()
	root, err := gateway.Root()
	if err != nil {
		t.Fatal(err)
	}
	return replay.Load(t, filepath.Join(root, "testdata", "cases"))
}

// loadThisPlugin loads this repository's plugin with Traefik's own loader, which interprets it.
func loadThisPlugin(t *testing.T) *plugins.Builder {
	t.Helper()
	root, err := gateway.Root()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := gateway.InstallPlugin(".", root); err != nil {
		t.Fatal(err)
	}
	builder, err := load(gateway.Module)
	if err != nil {
		t.Fatal(err)
	}
	return builder
}

func TestCasesWithTraefiksLoader(t *testing.T) {
	cases := loadCases(t)
	builder := loadThisPlugin(t)
	replay.InProcess(t, cases, func(config map[string]any, next http.Handler) (http.Handler, error) {
		construct, err := builder.Build("plugin", config, "chat-completion@file")
		if err != nil {
			return nil, err
		}
		return construct(context.Background(), next)
	})
}

func TestCasesWithTraefik(t *testing.T) { replayWith(t, gateway.Interpreted) }

func TestCasesWithCompiledTraefik(t *testing.T) { replayWith(t, gateway.Compiled) }

// replayWith replays the cases against a Traefik process.
func replayWith(t *testing.T, find backends.Binary) {
	binary, err := find(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	cases := loadCases(t)
	provider := replay.NewProvider(t, cases)
	traefik := start(t, gateway.Options{
		Binary:    binary,
		AccessLog: true,
		AccessLogHeaders: []string{replay.CaseHeader, "X-Ai-Model", "X-Ai-Policy", "X-Ai-Input-Tokens", "X-Ai-Output-Tokens", "X-Ai-Ttft-Ms", "X-Ai-Error-Type", "X-Ai-Attempts",
			"X-Ai-Consumer", "X-Ai-Group", "X-Ai-Cost", "X-Ai-Quota", "X-Ai-Cache"},
	})
	dynamic := gateway.Dynamic{
		Routers:     map[string]gateway.Router{},
		Middlewares: map[string]any{},
		Services:    map[string]string{"provider": provider.URL},
	}
	for _, c := range cases {
		name := strings.ReplaceAll(c.Name, "/", "-")
		router := gateway.Router{
			Rule:        "Header(`" + replay.CaseHeader + "`, `" + c.Name + "`)",
			Middlewares: []string{name},
			Service:     "provider",
		}
		dynamic.Middlewares[name] = gateway.Plugin(c.Config)
		if c.Then != nil {
			dynamic.Middlewares[name+"-then"] = gateway.Plugin(c.Then)
			router.Middlewares = append(router.Middlewares, name+"-then")
		}
		dynamic.Routers[name] = router
	}
	var refused gateway.RefusedError
	if err := traefik.Load(t.Context(), dynamic); err != nil && !errors.As(err, &refused) {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			reason, isRefused := refused[strings.ReplaceAll(c.Name, "/", "-")]
			if c.ConfigurationError != nil {
				if !isRefused {
					t.Fatalf("Traefik accepted the configuration, want an error with %q", c.ConfigurationError)
				}
				replay.CompareConfigurationError(t, c, errors.New(reason))
				return
			}
			if isRefused {
				t.Fatalf("Traefik rejected the configuration: %s", reason)
			}
			logged := sizeOf(t, traefik.AccessLogPath)
			replay.Run(t, c, traefik.URL, provider)
			replay.Run(t, c, traefik.URL, provider) // with the decisions that the first replay cached
			if len(c.OperatorSees) > 0 {
				replay.CompareOperator(t, c, loggedHeader(t, traefik.AccessLogPath, c, logged))
			}
		})
	}
}

// sizeOf returns the size of a file in bytes.
func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// loggedHeader returns the response headers of a case from the access log, after those of its earlier requests. It reads
// from the offset on: reading the whole log for each case would take most of the time.
func loggedHeader(t *testing.T, path string, c replay.Case, from int64) http.Header {
	t.Helper()
	var header http.Header
	await(t, "the access log has a line for "+c.Name, func() bool {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		header = findLogged(io.NewSectionReader(file, from, math.MaxInt64-from), c)
		_ = file.Close()
		return header != nil
	})
	return header
}

// findLogged returns the header of a case's request in the log; nil: not all of its lines are there. Each case is
// replayed twice. Traefik logs a request after the client has its response, so that lines may be out of order.
func findLogged(log io.Reader, c replay.Case) http.Header {
	var logged []map[string]any
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var line map[string]any
		if json.Unmarshal(lines.Bytes(), &line) == nil && line["request_"+replay.CaseHeader] == c.Name {
			logged = append(logged, line)
		}
	}
	if len(logged) < 2*(len(c.Earlier)+1) {
		return nil
	}
	slices.SortStableFunc(logged, func(a, b map[string]any) int {
		return startOf(a).Compare(startOf(b))
	})
	header := http.Header{}
	for key, value := range logged[len(c.Earlier)] {
		if text, isText := value.(string); isText && strings.HasPrefix(key, "downstream_") {
			header.Set(strings.TrimPrefix(key, "downstream_"), text)
		}
	}
	return header
}

// startOf returns when Traefik got the request of a line of its access log.
func startOf(line map[string]any) time.Time {
	text, _ := line["StartUTC"].(string)
	start, _ := time.Parse(time.RFC3339Nano, text)
	return start
}
