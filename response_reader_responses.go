package chatcompletion

import (
	"bytes"
	"encoding/json"
	"regexp"
)

// responseMaxBytes is the size up to which a response of the Responses API, or a partial event of
// one, is kept to be read as a whole: it repeats tools and formats as the client sent them, and
// those contain names such as error and usage, too. What is larger holds images, and is scanned in
// windows as other responses are.
const responseMaxBytes = 1 << 20

// lastEvent matches the line that shows how a stream of the Responses API ends: the name of an
// event, or the beginning of its data. No line can begin inside JSON, so that no text of a client
// or a model can look like it.
var lastEvent = regexp.MustCompile(`\n(?:event:[ \t]*|data:[ \t]*\{[ \t]*"(?:type"[ \t]*:[ \t]*")?)` +
	`(response\.(?:completed|incomplete|failed|cancelled|done)|error)(?:\n|"[ \t]*(?:[,}]|:[ \t]*[{"]))`)

// isInsideEvent reports whether a window of a stream still holds only the beginning of an event, as
// it did at the last scan. Such a window may become large, and is not searched from its beginning
// each time.
func isInsideEvent(reader *responseReader, window []byte) bool {
	if !reader.stream || reader.partial == 0 || len(window) > responseMaxBytes {
		return false
	}
	seen := reader.partial - 3 // the window may have ended in the middle of the event's end
	if seen < 0 || lastEventEnd(window[seen:]) > 0 {
		return false
	}
	reader.partial = len(window)
	return true
}

// scanResponses scans a window of a response of the Responses API.
func scanResponses(reader *responseReader, window []byte, last bool) {
	if !reader.stream && last && readResponsesObject(reader, window) {
		return
	}
	if reader.record.Model == "" {
		findModel(reader, window)
	}
	if reader.wantsDetails && reader.record.ID == "" {
		reader.record.ID = textAfter(window, bytes.Index(window, idKey), idKey)
	}
	if reader.stream && reader.ending == "" {
		place := lastEvent.FindSubmatchIndex(window)
		if place == nil {
			return
		}
		reader.ending = string(window[place[2]:place[3]])
		reader.failed = reader.ending == "error" || reader.ending == "response.failed"
		window = window[place[0]:]
		if readLastEvent(reader, window) || (last && len(window) <= responseMaxBytes) {
			return // the event is complete, or the response broke off
		}
	}
	if reader.stream && reader.finished {
		return // what follows the last event is not its usage
	}
	if match := bytes.LastIndex(window, tokensKey); match >= 0 {
		findUsage(reader, window, match)
	}
	reader.finished = bytes.Contains(window, blankLine)
}

// readLastEvent reads the last event of a stream, and reports whether it is complete.
func readLastEvent(reader *responseReader, event []byte) bool {
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
	reader.finished = true
	if members.Response != nil {
		readResponsesObject(reader, members.Response)
	}
	return true
}

// readResponsesObject reads a whole response object, and reports whether body is valid JSON for
// one.
func readResponsesObject(reader *responseReader, body []byte) bool {
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
	reader.failed = reader.failed || members.Status == "failed" || holdsError(members.Error)
	if members.Model != "" && isModelName(members.Model) {
		reader.record.Model = members.Model
	}
	if len(members.Usage) > 0 && members.Usage[0] == '{' {
		readUsage(reader, members.Usage)
	}
	if reader.wantsDetails {
		takeResponsesDetails(reader, members.ID, members.Status)
	}
	return true
}

// takeResponsesDetails takes the fields that only spans and log lines have.
func takeResponsesDetails(reader *responseReader, id, status string) {
	if id != "" && isModelName(id) {
		reader.record.ID = id
	}
	if status != "" && isModelName(status) {
		reader.record.FinishReasons = []string{status}
	}
}
