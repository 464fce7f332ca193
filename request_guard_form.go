package chatcompletion

import (
	"bytes"
	"regexp"
)

// fieldWithFile matches the header of a field that is a file, as readDisposition takes it for one: a
// parameter of another line makes none. What is in files is no text.
var fieldWithFile = regexp.MustCompile(`(?im)^content-disposition:[^\r\n]*;\s*filename\*?\s*=`)

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
