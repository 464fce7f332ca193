package demo

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
)

// transcriptions responds to a form with the size and the name of its file. It reads the form as it arrives.
func (u *upstream) transcriptions(w http.ResponseWriter, r *http.Request) {
	model, text, err := readForm(r)
	if err != nil {
		writeError(w, http.StatusBadRequest, "", "", "We could not parse the form of your request: %v", err)
		return
	}
	u.log.record(r, nil)
	if u.knows(w, model) {
		writeJSON(w, http.StatusOK, map[string]any{"text": model + " heard " + text, "usage": map[string]any{"type": "duration", "seconds": 3}})
	}
}

// readForm returns the field model of a form, and what its file is.
func readForm(r *http.Request) (model, text string, err error) {
	_, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return "", "", err
	}
	form := multipart.NewReader(r.Body, parameters["boundary"])
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return model, text, nil
		}
		if err != nil {
			return "", "", err
		}
		if part.FormName() == "model" {
			var value strings.Builder
			_, err = io.Copy(&value, part)
			model = value.String()
		} else if part.FileName() != "" {
			var n int64
			n, err = io.Copy(io.Discard, part)
			text = fmt.Sprintf("%d bytes of %s", n, part.FileName())
		}
		if err != nil {
			return "", "", err
		}
	}
}
