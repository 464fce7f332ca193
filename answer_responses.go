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
func isInsideEvent(a *Answer, window []byte) bool {
	if !a.stream || a.begun == 0 || len(window) > responseMaxBytes {
		return false
	}
	seen := a.begun - 3 // the end of an event may have begun
	if seen < 0 || lastEventEnd(window[seen:]) > 0 {
		return false
	}
	a.begun = len(window)
	return true
}

// lookAtResponse reads a window of an answer of the Responses API.
func lookAtResponse(a *Answer, window []byte, last bool) {
	if !a.stream && last && readResponse(a, window) {
		return
	}
	if a.Model == "" {
		findModel(a, window)
	}
	if a.details && a.ID == "" {
		a.ID = textBehind(window, bytes.Index(window, idKey), idKey)
	}
	if a.stream && a.ending == "" {
		place := lastEvent.FindSubmatchIndex(window)
		if place == nil {
			return
		}
		a.ending = string(window[place[2]:place[3]])
		a.failed = a.ending == "error" || a.ending == "response.failed"
		window = window[place[0]:]
		if readLastEvent(a, window) || (last && len(window) <= responseMaxBytes) {
			return // it is whole, or broken off
		}
	}
	if a.stream && a.finished {
		return // what comes behind the last event is not its usage
	}
	if hit := bytes.LastIndex(window, tokensKey); hit >= 0 {
		findUsage(a, window, hit)
	}
	a.finished = bytes.Contains(window, blankLine)
}

// readLastEvent reads the last event of a stream, and tells whether it is whole.
func readLastEvent(a *Answer, event []byte) bool {
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
	a.finished = true
	if members.Response != nil {
		readResponse(a, members.Response)
	}
	return true
}

// readResponse reads a whole answer, and tells whether it is one.
func readResponse(a *Answer, body []byte) bool {
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
	a.failed = a.failed || members.Status == "failed" || holdsError(members.Error)
	if members.Model != "" && isModelName(members.Model) {
		a.Model = members.Model
	}
	if len(members.Usage) > 0 && members.Usage[0] == '{' {
		readUsage(a, members.Usage)
	}
	if a.details {
		takeResponseDetails(a, members.ID, members.Status)
	}
	return true
}

// takeResponseDetails takes over what only spans and log lines hold.
func takeResponseDetails(a *Answer, id, status string) {
	if id != "" && isModelName(id) {
		a.ID = id
	}
	if status != "" && isModelName(status) {
		a.FinishReasons = []string{status}
	}
}
