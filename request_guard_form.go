package chatcompletion

import (
	"bytes"
	"net/url"
	"regexp"
)

// fieldWithFile matches the header of a field that is a file. What is in files is no text. A parameter of
// another line makes no file.
var fieldWithFile = regexp.MustCompile(`(?i)(?:^|\r\n)content-disposition:[^\r]*[;\s]filename\*?\s*=`)

// fileName matches the name of a file in the header of a field. Names are texts; letters in one may be in
// percent-encoding.
var fileName = regexp.MustCompile(`(?i)[;\s]filename\*?\s*=\s*("(?:[^"\\]|\\.)*"|[^;\r]*)`)

// maxFileNames bounds the names of one file.
const maxFileNames = 4

// otherCharset matches the header of a field in another character set than that in which texts are
// inspected.
var otherCharset = regexp.MustCompile(`(?i)charset[^;]*=`)

// inspectedCharset matches the only character sets of texts, as a header ends with them.
var inspectedCharset = regexp.MustCompile(`(?i)\r\ncontent-type:[^\r;]*; *charset="?(?:utf-8|us-ascii)"? *\r\n`)

// inspectForm inspects the fields of a form that is held in memory and the names of its files, and masks in
// them. It finds the fields where scanForm finds them, or the form is refused.
func inspectForm(g *requestGuard, pl *plan) *apiError {
	fields := bytes.Split(pl.decoded, pl.form.delimiter)
	in := &inspection{rules: g.rules}
	isMasked := false
	for i := range fields {
		masked, apiErr := inspectPartOfForm(g, in, fields[i])
		if apiErr != nil {
			if in.blocking != nil {
				pl.guarded = []string{guardDecision(in.blocking)}
			}
			return apiErr
		}
		if masked != nil && !g.reportOnly {
			fields[i] = masked
			isMasked = true
		}
	}
	pl.guarded = guardDecisions(g, nil, in.matched)
	if isMasked {
		pl.decoded = bytes.Join(fields, pl.form.delimiter)
	}
	return nil
}

// inspectPartOfForm inspects a field or the name of a file, and returns the masked field; nil: nothing is masked
// in it.
func inspectPartOfForm(g *requestGuard, in *inspection, field []byte) ([]byte, *apiError) {
	headerLength := bytes.Index(field, headerEnd) + len(headerEnd)
	if headerLength < len(headerEnd) {
		return nil, nil
	}
	header, value := field[:headerLength], field[headerLength:]
	var masked []byte
	if fieldWithFile.Match(header) {
		if masked = inspectFileNames(in, header); masked != nil {
			masked = append(masked, value...)
		}
	} else if otherCharset.Match(header) && !inspectedCharset.Match(header) {
		return nil, notInspected(g, "a field has a character set other than UTF-8")
	} else if masked = inspectField(in, value); masked != nil {
		masked = append(fieldLength.ReplaceAll(header, nil), masked...)
	}
	switch {
	case in.blocking != nil:
		return nil, blockedBy(g, in.blocking)
	case in.isLimit:
		return nil, notInspected(g, "a field has too many places that may match, or is not UTF-8")
	}
	return masked, nil
}

// inspectFileNames inspects the names of a file, and returns the masked header of its field; nil: nothing is
// masked in it. A name in percent-encoding that may match cannot be inspected.
func inspectFileNames(in *inspection, header []byte) []byte {
	places := fileName.FindAllSubmatchIndex(header, maxFileNames+1)
	if len(places) > maxFileNames {
		in.isLimit = true
	}
	var edits []guardEdit
	for _, place := range places {
		from, to := place[2], place[3]
		decoded, err := url.PathUnescape(string(header[from:to]))
		if err == nil && decoded != string(header[from:to]) && matchesAnyLevel(in.rules, decoded) {
			in.isLimit = true
		}
		if masked := inspectField(in, header[from:to]); masked != nil {
			edits = append(edits, guardEdit{from, to, masked})
		}
	}
	if edits == nil {
		return nil
	}
	return applyGuardEdits(header, edits)
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
