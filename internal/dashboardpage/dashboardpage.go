// Package dashboardpage makes the page of the dashboard, one HTML document, from the files in the
// folder dashboard. Traefik interprets the plugin with Yaegi, which has no embed: the page is a
// constant of the plugin.
package dashboardpage

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// MaxBytes bounds the page. Yaegi reads it with every load of the plugin.
const MaxBytes = 60_000

// File is the generated file, in the root of the repository.
const File = "sink_dashboard_page.go"

// Page is the document, and the value of its Content-Security-Policy header.
type Page struct {
	HTML   string
	Policy string
}

// The references of index.html that are replaced by what they refer to.
const (
	styleReference  = `<link rel="stylesheet" href="style.css">`
	scriptReference = `<script src="script.js"></script>`
)

// Build inlines style.css and script.js into index.html. Indentation and comments are left out.
func Build(folder fs.FS) (Page, error) {
	texts := map[string]string{}
	for _, name := range []string{"index.html", "style.css", "script.js"} {
		text, err := fs.ReadFile(folder, name)
		if err != nil {
			return Page{}, err
		}
		texts[name] = string(text)
	}
	style := "\n" + compactStyle(texts["style.css"])
	script := "\n" + compactScript(texts["script.js"])
	html := compactHTML(texts["index.html"])
	for _, part := range []struct{ reference, inlined string }{
		{styleReference, "<style>" + style + "</style>"}, {scriptReference, "<script>" + script + "</script>"},
	} {
		if strings.Count(html, part.reference) != 1 {
			return Page{}, fmt.Errorf("index.html must contain %s once", part.reference)
		}
		html = strings.Replace(html, part.reference, part.inlined, 1)
	}
	page := Page{HTML: html, Policy: policy(style, script)}
	return page, page.check(style, script)
}

// check reports what a page must not contain.
func (p Page) check(style, script string) error {
	switch {
	case len(p.HTML) > MaxBytes:
		return fmt.Errorf("the page has %d bytes, at most %d are allowed", len(p.HTML), MaxBytes)
	case strings.ContainsAny(p.HTML, "`\r"):
		return errors.New("the page must have no backquote and no carriage return, which a raw string of Go cannot hold")
	case strings.Contains(strings.ToLower(style), "</style") || strings.Contains(strings.ToLower(script), "</script"):
		return errors.New("style.css and script.js must not contain their end tags")
	case strings.Contains(script, "<!--"):
		return errors.New("script.js must not contain <!--, which changes how HTML ends a script")
	}
	return nil
}

// policy allows the page its own style and script, its own URL, and the icon in it.
func policy(style, script string) string {
	return "default-src 'none'; script-src " + hash(script) + "; style-src " + hash(style) +
		"; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// hash returns a text as a source expression of a Content-Security-Policy.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// compactScript leaves out comments and white space. The script has no string that spans lines, and
// neither quotes nor slashes in its regular expressions.
func compactScript(text string) string {
	return squeeze(lines(text), "(){}[],;:?=<>&|!*/+-", "{,;")
}

// compactStyle leaves out comments and white space, but not the spaces that mean a descendant.
func compactStyle(text string) string {
	text = squeeze(strings.ReplaceAll(lines(without(text, "/*", "*/")), ": ", ":"), "{};,>", "{},;")
	return strings.ReplaceAll(text, ";}", "}")
}

// squeeze removes, except in strings, comments that begin with two slashes, the spaces beside some
// characters, and the ends of lines after some.
func squeeze(text, beside, after string) string {
	var out []byte
	quote := byte(0)
	for i := 0; i < len(text); i++ {
		c, previous := text[i], byte('\n')
		if len(out) > 0 {
			previous = out[len(out)-1]
		}
		switch {
		case quote != 0 && c == '\\':
			out = append(out, c)
			i++
			c = text[i]
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
		case c == '\'' || c == '"':
			quote = c
		case strings.HasPrefix(text[i:], "//"):
			i += strings.IndexByte(text[i:], '\n') - 1
			continue
		case c == ' ' && previous == text[i+1] && previous != ' ': // not "a + +b"
		case c == ' ' && (strings.IndexByte(beside+" \n", previous) >= 0 || strings.IndexByte(beside+" /", text[i+1]) >= 0):
			continue
		case c == '\n' && strings.IndexByte(after+"\n", previous) >= 0:
			continue
		}
		out = append(out, c)
	}
	return string(out)
}

// compactHTML leaves out comments, indentation, and the ends of lines between elements.
func compactHTML(text string) string {
	return strings.ReplaceAll(lines(without(text, "<!--", "-->")), ">\n<", "><")
}

// lines returns the lines of a text that are not empty, without white space around them.
func lines(text string) string {
	var out strings.Builder
	for _, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}

// without returns a text without its comments.
func without(text, start, end string) string {
	for {
		before, rest, found := strings.Cut(text, start)
		if !found {
			return text
		}
		_, after, _ := strings.Cut(rest, end)
		text = before + after
	}
}

// Source returns the page as a file of the plugin.
func Source(p Page) []byte {
	var out bytes.Buffer
	out.WriteString("// Code generated by make page from the folder dashboard. DO NOT EDIT.\n\npackage chatcompletion\n\n")
	fmt.Fprintf(&out, "// dashboardPolicy is the Content-Security-Policy of dashboardPage.\nconst dashboardPolicy = %q\n\n", p.Policy)
	fmt.Fprintf(&out, "// dashboardPage is the page of the dashboard.\nconst dashboardPage = `%s`\n", p.HTML)
	return out.Bytes()
}
