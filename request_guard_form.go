package chatcompletion

import (
	"bytes"
	"regexp"
)

// fieldWithFile matches the header of a field that is a file. What is in files is no text. A parameter of
// another line makes no file.
var fieldWithFile = regexp.MustCompile(`(?i)(?:^|\r\n)content-disposition:[^\r]*[;\s]filename\*?\s*=`)

// otherCharset matches the header of a field in another character set than that in which texts are
// inspected.
var otherCharset = regexp.MustCompile(`(?i)charset[^;]*=`)

// inspectedCharset matches the only character sets of texts, as a header ends with them.
var inspectedCharset = regexp.MustCompile(`(?i)\r\ncontent-type:[^\r;]*; *charset="?(?:utf-8|us-ascii)"? *\r\n`)

// inspectForm inspects the fields of a form that is held in memory, apart from files, and masks in them.
// It finds the fields where scanForm finds them, or the form is refused.
func inspectForm(g *requestGuard, pl *plan) *apiError {
	fields := bytes.Split(pl.decoded, pl.form.delimiter)
	in := &inspection{rules: g.rules}
	isMasked := false
	for i := range fields {
		headerLength := bytes.Index(fields[i], headerEnd) + len(headerEnd)
		if headerLength < len(headerEnd) || fieldWithFile.Match(fields[i][:headerLength]) {
			continue
		}
		if header := fields[i][:headerLength]; otherCharset.Match(header) && !inspectedCharset.Match(header) {
			return notInspected(g, "a field has a character set other than UTF-8")
		}
		masked := inspectField(in, fields[i][headerLength:])
		switch {
		case in.blocking != nil:
			pl.guarded = []string{guardDecision(in.blocking)}
			return blockedBy(g, in.blocking)
		case in.isLimit:
			return notInspected(g, "a field has too many places that may match, or is not UTF-8")
		case masked != nil && !g.reportOnly:
			fields[i] = append(fieldLength.ReplaceAll(fields[i][:headerLength], nil), masked...)
			isMasked = true
		}
	}
	for _, r := range in.matched {
		pl.guarded = append(pl.guarded, guardDecision(r))
	}
	if isMasked {
		pl.decoded = bytes.Join(fields, pl.form.delimiter)
	}
	return nil
}

// inspectField inspects the value of a field, and returns the masked one; nil: nothing is masked in it.
func inspectField(in *inspection, value []byte) []byte {
	text := string(value)
	if !matchesAnyLevel(in.rules, text) {
		return nil
	}
	in.body = value
	in.edits = nil
	inspectText(in, 0, len(value))
	if in.edits == nil {
		return nil
	}
	return applyGuardEdits(value, in.edits)
}
