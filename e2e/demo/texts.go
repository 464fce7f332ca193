package demo

import "net/http"

// texts serves legacy completions.
func (u *upstream) texts(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Model  string `json:"model"`
		Prompt string `json:"prompt"`
		Stream bool   `json:"stream"`
	}
	if !u.read(w, r, &request) || !u.knows(w, r, request.Model) {
		return
	}
	content := request.Model + " heard: " + request.Prompt
	document := func(text string, finish any) map[string]any {
		return map[string]any{
			"id": "cmpl-demo", "object": "text_completion", "created": created, "model": request.Model,
			"choices": []any{map[string]any{"index": 0, "text": text, "logprobs": nil, "finish_reason": finish}},
		}
	}
	whole := document(content, "stop")
	input, output := tokens(request.Prompt), tokens(content)
	whole["usage"] = map[string]any{"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output}
	if !request.Stream {
		writeJSON(w, http.StatusOK, whole)
		return
	}
	var events []string
	for _, piece := range pieces(content, u.chunks) {
		events = append(events, "data: "+encoded(document(piece, nil))+"\n\n")
	}
	u.send(w, r, append(events, "data: "+encoded(document("", "stop"))+"\n\n", "data: [DONE]\n\n"))
}
