package chatcompletion

import (
	"bytes"
	"encoding/json"
	"regexp"
)

// responseMaxBytes is up to which size an answer of the Responses API, or the begun event of one, is kept so that it can be
// read as a whole: it repeats tools and formats as the client sent them, and there names such as error and usage stand, too.
// What is larger holds images, and is read in windows as other answers are.
const responseMaxBytes = 1 << 20

// lastEvent is the line that tells how a stream of the Responses API ends: the name of an event, or the beginning of its data.
// No line can begin inside of JSON, so that no text of a client or a model can look like it.
var lastEvent = regexp.MustCompile(`\n(?:event:[ \t]*|data:[ \t]*\{[ \t]*"(?:type"[ \t]*:[ \t]*")?)` +
	`(response\.(?:completed|incomplete|failed|cancelled|done)|error)(?:\n|"[ \t]*(?:[,}]|:[ \t]*[{"]))`)

// isInsideEvent tells whether a window of a stream holds nothing but the beginning of an event, as it did before. Such a window may
// become large, and is not searched from its beginning then.
func isInsideEvent(resp *Response, window []byte) bool {
	if !resp.stream || resp.partial == 0 || len(window) > responseMaxBytes {
		return false
	}
	seen := resp.partial - 3 // the end of an event may have begun
	if seen < 0 || lastEventEnd(window[seen:]) > 0 {
		return false
	}
	resp.partial = len(window)
	return true
}

// scanResponses reads a window of an answer of the Responses API.
func scanResponses(resp *Response, window []byte, last bool) {
	if !resp.stream && last && readResponsesObject(resp, window) {
		return
	}
	if resp.Model == "" {
		findModel(resp, window)
	}
	if resp.wantsDetails && resp.ID == "" {
		resp.ID = textAfter(window, bytes.Index(window, idKey), idKey)
	}
	if resp.stream && resp.ending == "" {
		place := lastEvent.FindSubmatchIndex(window)
		if place == nil {
			return
		}
		resp.ending = string(window[place[2]:place[3]])
		resp.failed = resp.ending == "error" || resp.ending == "response.failed"
		window = window[place[0]:]
		if readLastEvent(resp, window) || (last && len(window) <= responseMaxBytes) {
			return // it is whole, or broken off
		}
	}
	if resp.stream && resp.finished {
		return // what comes behind the last event is not its usage
	}
	if hit := bytes.LastIndex(window, tokensKey); hit >= 0 {
		findUsage(resp, window, hit)
	}
	resp.finished = bytes.Contains(window, blankLine)
}

// readLastEvent reads the last event of a stream, and tells whether it is whole.
func readLastEvent(resp *Response, event []byte) bool {
	at := bytes.Index(event, dataLine)
	if at < 0 {
		return false
	}
	var members struct {
		Response json.RawMessage `json:"response"`
	}
	data := bytes.ReplaceAll(event[at:], dataLine, lineFeed)
	if json.NewDecoder(bytes.NewReader(data)).Decode(&members) != nil {
		return false
	}
	resp.finished = true
	if members.Response != nil {
		readResponsesObject(resp, members.Response)
	}
	return true
}

// readResponsesObject reads a whole answer, and tells whether it is one.
func readResponsesObject(resp *Response, body []byte) bool {
	var members struct {
		ID     string          `json:"id"`
		Model  string          `json:"model"`
		Status string          `json:"status"`
		Error  json.RawMessage `json:"error"`
		Usage  json.RawMessage `json:"usage"`
	}
	if json.Unmarshal(body, &members) != nil {
		return false
	}
	resp.failed = resp.failed || members.Status == "failed" || holdsError(members.Error)
	if members.Model != "" && isModelName(members.Model) {
		resp.Model = members.Model
	}
	if len(members.Usage) > 0 && members.Usage[0] == '{' {
		readUsage(resp, members.Usage)
	}
	if resp.wantsDetails {
		takeResponsesDetails(resp, members.ID, members.Status)
	}
	return true
}

// takeResponsesDetails takes over what only spans and log lines hold.
func takeResponsesDetails(resp *Response, id, status string) {
	if id != "" && isModelName(id) {
		resp.ID = id
	}
	if status != "" && isModelName(status) {
		resp.FinishReasons = []string{status}
	}
}
