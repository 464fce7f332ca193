package main

import (
	"io"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/progress"
)

// reported returns what is written of the events, and the progress at their end.
func reported(t *testing.T, events string) (text, state string) {
	t.Helper()
	line := progress.Start(io.Discard, "testing")
	defer line.End()
	var out strings.Builder
	r := &report{out: &out, line: line, all: 4, kept: map[string]string{}}
	if err := r.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	return out.String(), line.State()
}

func TestOnlyFailedTestsAreWritten(t *testing.T) {
	text, state := reported(t, `
{"Action":"start","Package":"e2e"}
{"Action":"run","Package":"e2e","Test":"TestGood"}
{"Action":"output","Package":"e2e","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"output","Package":"e2e","Test":"TestGood","Output":"    a_test.go:1: a note\n"}
{"Action":"output","Package":"e2e","Test":"TestGood","Output":"--- PASS: TestGood (0.00s)\n"}
{"Action":"pass","Package":"e2e","Test":"TestGood"}
{"Action":"run","Package":"e2e","Test":"TestBad"}
{"Action":"output","Package":"e2e","Test":"TestBad","Output":"=== RUN   TestBad\n"}
{"Action":"run","Package":"e2e","Test":"TestBad/sub"}
{"Action":"output","Package":"e2e","Test":"TestBad/sub","Output":"    a_test.go:2: got 1, want 2\n"}
{"Action":"fail","Package":"e2e","Test":"TestBad/sub"}
{"Action":"output","Package":"e2e","Test":"TestBad","Output":"--- FAIL: TestBad (1.00s)\n"}
{"Action":"fail","Package":"e2e","Test":"TestBad"}
{"Action":"output","Package":"e2e","Output":"FAIL\n"}
{"Action":"output","Package":"e2e","Output":"FAIL\te2e\t1.00s\n"}
{"Action":"fail","Package":"e2e"}
{"Action":"output","Package":"e2e/other","Output":"PASS\n"}
{"Action":"output","Package":"e2e/other","Output":"ok  \te2e/other\t0.10s\n"}
{"Action":"pass","Package":"e2e/other"}
{"Action":"run","Package":"e2e/last","Test":"TestLast"}
`)
	const want = "    a_test.go:2: got 1, want 2\n--- FAIL: TestBad (1.00s)\nFAIL\n" + "FAIL\te2e\t1.00s\nok  \te2e/other\t0.10s\n"
	if text != want {
		t.Errorf("wrote %q, want %q", text, want)
	}
	if want := "testing: 2 of 4 tests, TestLast, 50 %, "; !strings.HasPrefix(state, want) {
		t.Errorf("progress = %q, want it to begin with %q", state, want)
	}
}

func TestOutputOfTestsThatDoNotEndIsWritten(t *testing.T) {
	text, _ := reported(t, `{"Action":"run","Package":"e2e","Test":"TestHangs"}
{"Action":"output","Package":"e2e","Test":"TestHangs","Output":"panic: test timed out after 1s\n"}
{"Action":"output","Package":"e2e","Output":"FAIL\te2e\t1.00s\n"}
{"Action":"fail","Package":"e2e"}`)
	if want := "panic: test timed out after 1s\nFAIL\te2e\t1.00s\n"; text != want {
		t.Errorf("wrote %q, want %q", text, want)
	}
}

func TestSelectedTestsAreCounted(t *testing.T) {
	const own = 4 // tests in this file
	for _, test := range []struct {
		arguments []string
		want      int
	}{
		{[]string{"-p", "1", "."}, own},
		{[]string{"-count=1", "-run", "^TestBuildFailuresAreWritten$/none", "."}, 1},
		{[]string{"-run", "Written$", "."}, 3},
	} {
		if got, err := countTests(t.Context(), test.arguments); got != test.want || err != nil {
			t.Errorf("%q: %d tests, %v, want %d", test.arguments, got, err, test.want)
		}
	}
}

func TestBuildFailuresAreWritten(t *testing.T) {
	text, _ := reported(t, `{"ImportPath":"e2e [e2e.test]","Action":"build-output","Output":"a_test.go:1:1: undefined: x\n"}
{"ImportPath":"e2e [e2e.test]","Action":"build-fail"}
{"Action":"output","Package":"e2e","Output":"FAIL\te2e [build failed]\n"}
{"Action":"fail","Package":"e2e","FailedBuild":"e2e [e2e.test]"}`)
	if want := "a_test.go:1:1: undefined: x\nFAIL\te2e [build failed]\n"; text != want {
		t.Errorf("wrote %q, want %q", text, want)
	}
}
