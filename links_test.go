package chatcompletion

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// markdownDocuments returns the paths of all documents for readers.
func markdownDocuments(t *testing.T) []string {
	t.Helper()
	documents := []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"}
	for _, pattern := range []string{"docs/*.md", "examples/*/README.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d documents, %v", pattern, len(found), err)
		}
		documents = append(documents, found...)
	}
	return documents
}

// Elements of Markdown, and of HTML in Markdown.
var (
	fencedBlock     = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	markdownLink    = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	htmlLink        = regexp.MustCompile(`(?:href|src|srcset)="([^"]+)"`)
	markdownHeading = regexp.MustCompile(`(?m)^#{1,6} +(.+)$`)
	linkedText      = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	absoluteURL     = regexp.MustCompile(`^[a-z]+:`)
)

// links returns the targets of the links in a Markdown text.
func links(text string) []string {
	text = fencedBlock.ReplaceAllString(text, "")
	var targets []string
	for _, link := range []*regexp.Regexp{markdownLink, htmlLink} {
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			targets = append(targets, found[1])
		}
	}
	return targets
}

// anchors returns the anchors that GitHub generates for the headings of a Markdown text.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, heading := range markdownHeading.FindAllStringSubmatch(fencedBlock.ReplaceAllString(text, ""), -1) {
		slug := slugOf(linkedText.ReplaceAllString(heading[1], "$1"))
		unique := slug
		for n := 1; found[unique]; n++ {
			unique = fmt.Sprintf("%s-%d", slug, n)
		}
		found[unique] = true
	}
	return found
}

// slugOf returns the anchor that GitHub generates for a heading: it lower-cases letters, keeps digits, hyphens and
// underscores, replaces spaces by hyphens, and drops everything else.
func slugOf(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(heading))
}

func TestDocumentLinksResolve(t *testing.T) {
	found, known := 0, map[string]map[string]bool{}
	for _, path := range markdownDocuments(t) {
		for _, target := range links(readText(t, path)) {
			if absoluteURL.MatchString(target) {
				continue
			}
			found++
			if problem := linkProblem(t, known, path, target); problem != "" {
				t.Errorf("%s links to %s: %s", path, target, problem)
			}
		}
	}
	if found == 0 {
		t.Error("links between documents: 0, want some")
	}
}

// linkProblem returns what is wrong with a relative link in the document at path, or an empty string. known are
// the anchors of the documents that have been read.
func linkProblem(t *testing.T, known map[string]map[string]bool, path, target string) string {
	t.Helper()
	file, anchor, hasAnchor := strings.Cut(target, "#")
	linked := path
	if file != "" {
		linked = filepath.Join(filepath.Dir(path), filepath.FromSlash(file))
	}
	if strings.HasPrefix(linked, "..") || filepath.IsAbs(file) {
		return "it leaves the repository"
	}
	if _, err := os.Stat(linked); err != nil {
		return err.Error()
	}
	if !hasAnchor {
		return ""
	}
	if filepath.Ext(linked) != ".md" {
		return "only Markdown has anchors"
	}
	if known[linked] == nil {
		known[linked] = anchors(readText(t, linked))
	}
	if !known[linked][anchor] {
		return "there is no such heading"
	}
	return ""
}

func TestAnchorsMatchGitHub(t *testing.T) {
	const text = "# One, two: `three`\n\n## What it costs\n\n```sh\n# no heading\n```\n\n## What it costs\n\n### [A_b](c.md#d) – ü/e?\n"
	got := anchors(text)
	for _, want := range []string{"one-two-three", "what-it-costs", "what-it-costs-1", "a_b--üe"} {
		if !got[want] {
			t.Errorf("anchors %v, want %s in it", got, want)
		}
	}
	if len(got) != 4 {
		t.Errorf("anchors %v, want 4", got)
	}
}

func TestLinkExtraction(t *testing.T) {
	const text = "[a\nb](one.md) ![c](two.svg) <img src=\"three.svg\"> <a href=\"four.md\">\n\n```\n[d](five.md)\n```\n"
	if got, want := fmt.Sprint(links(text)), "[one.md two.svg three.svg four.md]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestReadmeDocumentIsShort(t *testing.T) {
	const most = 150
	if lines := strings.Count(readText(t, "README.md"), "\n"); lines > most {
		t.Errorf("README.md has %d lines, want at most %d: details belong in docs", lines, most)
	}
}
