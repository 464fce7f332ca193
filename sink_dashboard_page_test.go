package chatcompletion

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion/internal/dashboardpage"
)

// TestDashboardPageIsThatOfItsFolder checks that make page has written the constants.
func TestDashboardPageIsThatOfItsFolder(t *testing.T) {
	page, err := dashboardpage.Build(os.DirFS("dashboard"))
	if err != nil {
		t.Fatal(err)
	}
	if dashboardPage != page.HTML {
		t.Errorf("dashboardPage, %d bytes, is not the page of the folder dashboard, %d bytes: run make page", len(dashboardPage), len(page.HTML))
	}
	if dashboardPolicy != page.Policy {
		t.Errorf("dashboardPolicy = %q, want %q: run make page", dashboardPolicy, page.Policy)
	}
	if file := []byte(readText(t, dashboardpage.File)); !bytes.Equal(file, dashboardpage.Source(page)) {
		t.Errorf("%s is not as make page writes it", dashboardpage.File)
	}
}

func TestDashboardPageIsSmall(t *testing.T) {
	if got := len(dashboardPage); got > dashboardpage.MaxBytes {
		t.Errorf("dashboardPage has %d bytes, want at most %d", got, dashboardpage.MaxBytes)
	}
}

// TestDashboardPolicyAllowsOnlyThePage computes the hashes from the page, as a browser does.
func TestDashboardPolicyAllowsOnlyThePage(t *testing.T) {
	directives := map[string]string{}
	for _, directive := range strings.Split(dashboardPolicy, "; ") {
		name, value, _ := strings.Cut(directive, " ")
		directives[name] = value
	}
	for _, tag := range []string{"script", "style"} {
		elements := regexp.MustCompile(`(?s)<`+tag+`[^>]*>(.*?)</`+tag+`>`).FindAllStringSubmatch(dashboardPage, -1)
		if len(elements) != 1 {
			t.Fatalf("%d elements %s, want 1", len(elements), tag)
		}
		sum := sha256.Sum256([]byte(elements[0][1]))
		want := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
		if got := directives[tag+"-src"]; got != want {
			t.Errorf("%s-src = %q, want %q", tag, got, want)
		}
		delete(directives, tag+"-src")
	}
	want := map[string]string{
		"default-src": "'none'", "connect-src": "'self'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'",
	}
	for name, value := range directives {
		if want[name] != value {
			t.Errorf("%s = %q, want %q", name, value, want[name])
		}
	}
	if len(directives) != len(want) {
		t.Errorf("%d directives besides script-src and style-src, want %d", len(directives), len(want))
	}
}

// TestDashboardPageHasNoDangerousCode checks that the page loads nothing, and that no text of a
// client or a provider can become markup or code.
func TestDashboardPageHasNoDangerousCode(t *testing.T) {
	for _, forbidden := range []string{
		"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "createContextualFragment", "eval(", "Function(",
		"import(", "fetch(", "XMLHttpRequest", "WebSocket", "sendBeacon", "localStorage", "document.cookie", "@import", "url(", "javascript:", "<iframe", "<base",
	} {
		if strings.Contains(dashboardPage, forbidden) {
			t.Errorf("the page contains %q", forbidden)
		}
	}
	if got := regexp.MustCompile(`\s(on\w+|style)=["']`).FindString(dashboardPage); got != "" {
		t.Errorf("the page has the attribute %q, which its policy blocks", got)
	}
	rest := strings.ReplaceAll(dashboardPage, "http://www.w3.org/2000/svg", "") // a name, not an address
	if got := regexp.MustCompile(`(https?:)?//[\w.]+`).FindString(rest); got != "" {
		t.Errorf("the page contains the address %q", got)
	}
}
