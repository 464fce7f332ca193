package chatcompletion

import (
	"bytes"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// form is a body of type multipart/form-data. Parsers of forms are lenient, each in its own way:
// what is forwarded has the one spelling that all of them read in the same way.
type form struct {
	contentType []string      // for the provider
	delimiter   []byte        // two dashes and the boundary
	reserved    []string      // names of other fields that would select a model
	needsModel  bool          // a form without a model is refused
	reportOnly  bool          // nothing is changed
	guard       *requestGuard // nil: there is none
}

// multipartType matches the headers of a body that some server may take for a form.
var multipartType = regexp.MustCompile(`(?i)(?:^|,)[ \t]*multipart/`)

// formType matches the type of a form with its boundary. Its characters are those of RFC 2046, without
// the space. A character set may stand on either side, if it is the one that everybody assumes.
var formType = regexp.MustCompile(`(?i)^multipart/form-data *(?:; *charset="?utf-8"? *)?; *boundary=("[0-9a-z'()+_,./:=?-]{1,70}"|[0-9a-z'+_.-]{1,70}) *(?:; *charset="?utf-8"?)?$`)

// isForm reports whether the body of a request has to be read as a form.
func isForm(header http.Header) bool {
	types := header["Content-Type"]
	return len(types) > 0 && multipartType.MatchString(strings.Join(types, ","))
}

// newForm returns the form that the header of a request announces.
func newForm(header http.Header) (*form, *apiError) {
	types := header["Content-Type"]
	match := formType.FindStringSubmatch(types[0])
	if len(types) > 1 || match == nil {
		return nil, invalidForm("the header Content-Type must be given once, as multipart/form-data; boundary=TEXT. " +
			"The boundary is 1 to 70 letters, digits, dashes, dots and underscores, and other characters in quotes")
	}
	if encoding := contentEncoding(header); encoding != "" && encoding != "identity" {
		return nil, invalidRequest("invalid_content_encoding", "", "A multipart body must not have the Content-Encoding "+quoted(encoding)+". Send it uncompressed.")
	}
	return &form{
		contentType: []string{"multipart/form-data; boundary=" + match[1]},
		delimiter:   []byte("--" + strings.Trim(match[1], `"`)),
	}, nil
}

// invalidForm returns the error for a form that is not accepted.
func invalidForm(reason string) *apiError {
	return invalidRequest("invalid_multipart", "", "We could not parse the multipart body of your request: "+reason+".")
}

// Bounds on the work for one form.
const (
	maxFormFields       = 1000
	fieldHeaderMaxBytes = 8 << 10
)

// formState is what a window of a form begins with.
type formState int

const (
	atFirstBoundary formState = iota
	atBoundary                // and the line end before it
	atValue                   // what is left of it
	atFormEnd                 // nothing
)

// formScanner finds the fields of a form in windows of its body. Wherever the boundary occurs, it has to
// be the end of a field, or the body is refused: a parser that tolerates other line ends finds no other
// fields.
type formScanner struct {
	form        *form
	state       formState
	isLast      bool // the window is the last one
	fields      int
	field       *formField // the latest one
	valueBytes  int64      // of the latest field, so far
	textBytes   int        // of the fields that are no files
	hasModel    bool
	modelIsNext bool // the window begins with the field of the model, of which everything is there
	valueStart  int  // of its value, in the window
	valueEnd    int
}

// formField is what the header of a field says.
type formField struct {
	name      string
	isFile    bool
	mediaType string // in lower case; empty: none
	length    int64  // that it announces; -1: none
}

var (
	lineEnd     = []byte("\r\n")
	headerEnd   = []byte("\r\n\r\n")
	formEnd     = []byte("--")
	fieldLength = regexp.MustCompile(`(?i)\r\ncontent-length:[^\r]*`)
)

// scanForm reads a window, and returns how many bytes of it are free to be forwarded. It stops at the
// field of the model, if modelIsNext: the caller then goes on with the window after its value.
func scanForm(s *formScanner, window []byte) (int, *apiError) {
	free := 0
	s.modelIsNext = false
	for !s.modelIsNext {
		n, apiErr := scanStep(s, window[free:])
		if apiErr != nil {
			return free, apiErr
		}
		if n == 0 {
			break
		}
		free += n
	}
	return free, nil
}

// scanStep reads one part of a window, and returns its length; 0: more of the body is needed, or the
// field of the model is next.
func scanStep(s *formScanner, window []byte) (int, *apiError) {
	switch s.state {
	case atValue:
		return scanValue(s, window)
	case atFormEnd:
		return 0, nil
	}
	start := len(s.form.delimiter)
	if s.state == atBoundary {
		start += len(lineEnd)
	} else if len(window) >= start && !bytes.HasPrefix(window, s.form.delimiter) {
		return 0, invalidForm("it must begin with two dashes and the boundary of the header Content-Type")
	}
	if len(window) < start+len(formEnd) {
		return moreOfForm(s)
	}
	after := window[start:]
	if bytes.HasPrefix(after, formEnd) {
		return scanFormEnd(s, after[len(formEnd):], len(window))
	}
	if !bytes.HasPrefix(after, lineEnd) {
		return 0, invalidForm("a boundary must be followed by CRLF, and the last one by two dashes")
	}
	return scanField(s, window, start)
}

// moreOfForm returns 0 if more of a form is needed, or the error if there is no more.
func moreOfForm(s *formScanner) (int, *apiError) {
	if s.isLast {
		return 0, invalidForm("it ends before its last boundary, which two dashes follow")
	}
	return 0, nil
}

// scanFormEnd reads what follows the last boundary. Some parsers would find fields there.
func scanFormEnd(s *formScanner, after []byte, length int) (int, *apiError) {
	switch {
	case s.fields == 0:
		return 0, invalidForm("it has no fields")
	case len(after) > len(lineEnd) || (s.isLast && len(after) > 0 && !bytes.Equal(after, lineEnd)):
		return 0, invalidForm("nothing but CRLF may follow its last boundary")
	case !s.isLast:
		return 0, nil
	case s.form.needsModel && !s.hasModel:
		return 0, noModel()
	}
	s.state = atFormEnd
	return length, nil
}

// scanValue reads the value of a field. What may be the beginning of a boundary is left for the next
// window.
func scanValue(s *formScanner, window []byte) (int, *apiError) {
	at := bytes.Index(window, s.form.delimiter)
	if at < 0 {
		n := len(window) - len(s.form.delimiter) - 1
		if n <= 0 || s.isLast {
			return moreOfForm(s)
		}
		addValueBytes(s, n)
		return n, nil
	}
	n := at - len(lineEnd)
	if n < 0 || !bytes.Equal(window[n:at], lineEnd) {
		return 0, boundaryInside()
	}
	addValueBytes(s, n)
	if s.field.length >= 0 && s.field.length != s.valueBytes {
		return 0, wrongLength()
	}
	s.state = atBoundary
	if n == 0 {
		return scanStep(s, window)
	}
	return n, nil
}

func addValueBytes(s *formScanner, n int) {
	s.valueBytes += int64(n)
	if !s.field.isFile {
		s.textBytes += n
	}
}

func wrongLength() *apiError {
	return invalidForm("the Content-Length of a field is not the length of its value. Remove the header")
}

func boundaryInside() *apiError {
	return invalidForm("the boundary occurs where no field ends. Choose a boundary that is in no field, and use CRLF as line end")
}

// scanField reads the header of a field after a boundary that ends at start, and all of the field if it
// is that of the model.
func scanField(s *formScanner, window []byte, start int) (int, *apiError) {
	header := window[start:]
	if len(header) > fieldHeaderMaxBytes {
		header = header[:fieldHeaderMaxBytes]
	}
	end := bytes.Index(header, headerEnd)
	if end < 0 && len(header) == fieldHeaderMaxBytes {
		return 0, invalidForm("the header of a field has more than " + strconv.Itoa(fieldHeaderMaxBytes) + " bytes")
	}
	if end < 0 {
		return moreOfForm(s)
	}
	valueStart := start + end + len(headerEnd)
	field, apiErr := readFieldHeader(s, window[start:valueStart])
	if apiErr != nil {
		return 0, apiErr
	}
	if field.name == modelName {
		return scanModel(s, field, window, valueStart)
	}
	addField(s, field)
	s.state = atValue
	return valueStart, nil
}

func addField(s *formScanner, field *formField) {
	s.field = field
	s.fields++
	s.valueBytes = 0
}

// modelName is the name of the field with the model.
const modelName = "model"

// scanModel looks for the end of the field of the model.
func scanModel(s *formScanner, field *formField, window []byte, valueStart int) (int, *apiError) {
	if s.hasModel {
		return 0, ambiguousName(modelName, modelName)
	}
	if field.isFile || !modelMediaType.MatchString(field.mediaType) {
		return 0, fieldError(s, "the model must be a text, without a filename and a Content-Type other than text/plain")
	}
	value := window[valueStart:]
	at := bytes.Index(value, s.form.delimiter)
	n := at - len(lineEnd)
	switch {
	case at < 0 && len(value) > modelMaxBytes+len(lineEnd)+len(s.form.delimiter):
		return 0, invalidModel()
	case at < 0:
		return moreOfForm(s)
	case n < 0 || !bytes.Equal(value[n:at], lineEnd):
		return 0, boundaryInside()
	case field.length >= 0 && field.length != int64(n):
		return 0, wrongLength()
	case !utf8.Valid(value[:n]):
		return 0, invalidModel()
	}
	addField(s, field)
	s.state = atBoundary
	s.hasModel = true
	s.modelIsNext = true
	s.valueStart = valueStart
	s.valueEnd = valueStart + n
	return 0, nil
}

// modelField returns the pieces of the field of the model, with which a window begins, for a model.
func modelField(s *formScanner, window []byte, model string) [][]byte {
	header := window[:s.valueStart]
	if model == string(window[s.valueStart:s.valueEnd]) {
		return [][]byte{window[:s.valueEnd]}
	}
	return [][]byte{fieldLength.ReplaceAll(header, nil), []byte(model)}
}

// modelMediaType matches the media types of the field of the model: with another one, or in another
// character set, a server could read another model.
var modelMediaType = regexp.MustCompile(`^(?:text/plain *(?:; *charset="?(?:utf-8|us-ascii)"? *)?)?$`)

// fieldDisposition matches the content disposition of a field, and finds its name, in quotes or
// without, and the file name. No name has an escape, and none a character that a server could decode,
// remove or cut at.
var fieldDisposition = regexp.MustCompile(`^form-data *; *name=(?:"([0-9A-Za-z_.:$@\[\]-]+)"|([0-9A-Za-z_.$-]+))` +
	`( *; *filename=(?:"([^"\\]*)"|[0-9A-Za-z!#$%&'*+.^_|~-]+))?( *; *filename\*=(?i:utf-8)''[0-9A-Za-z!#$%&+.^_|~-]+)?$`)

// hiddenName matches what a careless parser could take for another parameter inside of a file name.
var hiddenName = regexp.MustCompile(`(?i);[^;]*name[^;]*=`)

// mediaTypeForm matches media types, with parameters or without.
var mediaTypeForm = regexp.MustCompile(`^[0-9a-z!#$&^_.+-]+/[0-9a-z!#$&^_.+*-]+ *(?:;.*)?$`)

// readFieldHeader reads the header of a field, which begins with the line end of its boundary and ends
// with an empty line.
func readFieldHeader(s *formScanner, header []byte) (*formField, *apiError) {
	if s.fields == maxFormFields {
		return nil, invalidForm("it has more than " + strconv.Itoa(maxFormFields) + " fields")
	}
	text := string(header)
	if bytes.Contains(header, s.form.delimiter) {
		return nil, boundaryInside()
	}
	lines := strings.Split(strings.TrimPrefix(strings.TrimSuffix(text, "\r\n\r\n"), "\r\n"), "\r\n")
	if strings.ContainsAny(strings.Join(lines, ""), controlCharacters) || !utf8.ValidString(text) {
		return nil, fieldError(s, "its header must be UTF-8 without control characters, with CRLF as line end")
	}
	field := &formField{length: -1}
	seen := map[string]bool{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		name = strings.ToLower(name)
		if seen[name] {
			return nil, fieldError(s, "the header "+quoted(name)+" is given more than once")
		}
		seen[name] = true
		if apiErr := readFieldLine(s, field, name, strings.Trim(value, " ")); apiErr != nil {
			return nil, apiErr
		}
	}
	if field.name == "" {
		return nil, fieldError(s, `it must have a header Content-Disposition: form-data; name="NAME"`)
	}
	return field, nil
}

// readFieldLine reads a line of the header of a field. name is in lower case.
func readFieldLine(s *formScanner, field *formField, name, value string) *apiError {
	switch name {
	case "content-disposition":
		return readDisposition(s, field, value)
	case "content-type":
		field.mediaType = strings.ToLower(value)
		if !mediaTypeForm.MatchString(field.mediaType) || strings.HasPrefix(field.mediaType, "multipart/") || strings.HasPrefix(field.mediaType, "message/") {
			return fieldError(s, "its Content-Type "+quoted(value)+" is not accepted. Use a media type such as application/octet-stream")
		}
	case "content-length":
		length, err := strconv.ParseUint(value, 10, 62)
		if err != nil {
			return fieldError(s, "its Content-Length is not a number")
		}
		field.length = int64(length)
	case "content-transfer-encoding":
		if value != "binary" && value != "8bit" && value != "7bit" {
			return fieldError(s, "its Content-Transfer-Encoding must be binary. Remove the header")
		}
	default:
		return fieldError(s, "the header "+quoted(name)+" is not accepted. Send Content-Disposition and Content-Type")
	}
	return nil
}

// readDisposition reads the name of a field, and whether it is a file.
func readDisposition(s *formScanner, field *formField, value string) *apiError {
	match := fieldDisposition.FindStringSubmatch(value)
	if match == nil || hiddenName.MatchString(match[4]) {
		return fieldError(s, `its Content-Disposition must be form-data; name="NAME", and for a file also filename="NAME". `+
			"The name has letters, digits and _.:$@[]- only; the name of the file has no quotes, backslashes and parameters")
	}
	field.name = match[1] + match[2]
	field.isFile = match[3] != "" || match[5] != ""
	return checkFieldName(s, field.name)
}

// checkFieldName refuses names that some server could take for that of the model, and those of fields
// that select a model in another way, or the character set of all fields.
func checkFieldName(s *formScanner, name string) *apiError {
	if name == modelName {
		return nil
	}
	root := strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune("[].:", r) })
	if len(root) == 0 {
		return fieldError(s, "its name "+quoted(name)+" has no letters")
	}
	folded := foldField(root[0])
	if folded == modelName {
		return ambiguousName(name, modelName)
	}
	if strings.EqualFold(name, "_charset_") {
		return fieldError(s, "the name _charset_ is not accepted. Send UTF-8")
	}
	for _, reserved := range s.form.reserved {
		if folded == foldField(reserved) {
			return invalidRequest("unsupported_parameter", reserved, "The field "+quoted(name)+" is not accepted, since it selects a model. Send the field 'model' alone.")
		}
	}
	return nil
}

// foldField returns one form for the spellings of a name of a field, beyond those of a JSON member.
func foldField(name string) string {
	return fold(strings.Map(func(r rune) rune {
		if strings.ContainsRune("-$@", r) {
			return -1
		}
		return r
	}, name))
}

// fieldError returns the error for a field, the number of which it names.
func fieldError(s *formScanner, reason string) *apiError {
	return invalidForm("field " + strconv.Itoa(s.fields+1) + ": " + reason)
}
