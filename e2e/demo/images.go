package demo

import (
	"net/http"
	"strconv"
)

// pixel is a PNG file with one pixel, in base64.
const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="

// images draws pixels, each of which counts as many tokens as an image in a prompt.
func (u *upstream) images(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Model  string `json:"model"`
		Prompt string `json:"prompt"`
		N      int    `json:"n"`
	}
	if u.read(w, r, &request) && u.knows(w, r, request.Model) {
		writeImages(w, request.Prompt, max(request.N, 1), 0)
	}
}

// editedImages draws the same from a form with an image.
func (u *upstream) editedImages(w http.ResponseWriter, r *http.Request) {
	f, ok := u.readForm(w, r)
	if !ok {
		return
	}
	count, _ := strconv.Atoi(f.fields["n"]) // 0 without one
	writeImages(w, f.fields["prompt"], max(count, 1), imageTokens)
}

func writeImages(w http.ResponseWriter, prompt string, count, pictures int) {
	data := []any{}
	for range count {
		data = append(data, map[string]any{"b64_json": pixel})
	}
	texts, output := tokens(prompt), count*imageTokens
	writeJSON(w, http.StatusOK, map[string]any{
		"created": created, "data": data, "background": "opaque", "output_format": "png", "quality": "low", "size": "1024x1024",
		"usage": map[string]any{
			"input_tokens": texts + pictures, "input_tokens_details": map[string]any{"text_tokens": texts, "image_tokens": pictures},
			"output_tokens": output, "output_tokens_details": map[string]any{"text_tokens": 0, "image_tokens": output},
			"total_tokens": texts + pictures + output,
		},
	})
}
