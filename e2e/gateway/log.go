package gateway

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// Errors returns the lines that the process has logged at level error or above so far, and
// everything that it wrote outside its log, such as a panic.
func (p *Process) Errors() ([]string, error) {
	content, err := os.ReadFile(p.LogPath)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, line := range strings.Split(string(content), "\n") {
		if text := errorText(line); text != "" {
			found = append(found, text)
		}
	}
	return found, nil
}

// startLine is what the plugin writes outside the log at its start.
const startLine = "chat-completion: the plugin is "

// errorText returns the text of a line that is at level error or above or is no log entry, else "".
func errorText(line string) string {
	if strings.HasPrefix(line, startLine) {
		return ""
	}
	var entry struct {
		Level   string `json:"level"`
		Message string `json:"message"`
		Error   string `json:"error"`
	}
	if json.Unmarshal([]byte(line), &entry) != nil {
		return strings.TrimSpace(line)
	}
	switch entry.Level {
	case "error", "fatal", "panic":
		return strings.TrimSpace(strings.TrimSpace(entry.Message) + " " + entry.Error)
	}
	return ""
}

// errorSummary describes the logged errors in one line, for failure messages.
func (p *Process) errorSummary() string {
	found, err := p.Errors()
	if err != nil {
		return err.Error()
	}
	if len(found) == 0 {
		return "its log shows no error"
	}
	return fmt.Sprintf("its log says %s", strings.Join(found, "; "))
}
