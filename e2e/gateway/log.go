package gateway

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// Errors returns what the process logged as an error or worse so far, and all that it wrote past its
// log, such as a panic.
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

// errorText is the text of a line at the level of an error, and empty for any other.
func errorText(line string) string {
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

// lastWords is one line that says what went wrong in the process.
func (p *Process) lastWords() string {
	found, err := p.Errors()
	if err != nil {
		return err.Error()
	}
	if len(found) == 0 {
		return "its log shows no error"
	}
	return fmt.Sprintf("its log says %s", strings.Join(found, "; "))
}
