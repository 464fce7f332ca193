package chatcompletion

import (
	"context"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"
)

// promptKey is the key of the text of the system prompt.
const promptKey = "prompt.system.text"

// parsePrompt parses Config.Prompt. It returns nil if nothing is configured.
func parsePrompt(bad *problems, config *Prompt, secrets *secretSettings) *promptSettings {
	s := &promptSettings{forbids: parseBool(bad, "prompt.forbidClientSystem", config.ForbidClientSystem, false)}
	s.mode = parseOneOf(bad, "prompt.system.mode", config.System.Mode, promptPrepend, promptAppend, promptReplace, promptIfAbsent)
	text := strings.TrimSpace(config.System.Text)
	if text == "" {
		checkUnused(bad, "prompt.system.", []setting{{"mode", config.System.Mode}}, `without "`+promptKey+`"`)
		if !s.forbids {
			return nil
		}
		return s
	}
	if s.mode == "" {
		s.mode = promptPrepend
	}
	if s.forbids && (s.mode == promptReplace || s.mode == promptIfAbsent) {
		bad.add("prompt.system.mode", `%q has no effect with "prompt.forbidClientSystem"`, s.mode)
	}
	parsePromptText(bad, s, text, secrets)
	return s
}

// parsePromptText parses the text of a system prompt, or the reference to it.
func parsePromptText(bad *problems, s *promptSettings, text string, secrets *secretSettings) {
	switch {
	case strings.HasPrefix(text, filePrefix) && filepath.IsAbs(text[len(filePrefix):]):
		s.source = newDocumentSource(promptKey, "requests get status 503", text, secrets)
		s.source.path = text[len(filePrefix):]
		s.source.pace.refresh = documentRefresh
		useDocument(s.source, "prompt", parsePromptDocument)
	case strings.HasPrefix(text, filePrefix):
		bad.add(promptKey, "must name an absolute path, as in urn:file:/path")
	case strings.HasPrefix(text, referencePrefix):
		bad.add(promptKey, "must be the text, or a reference to a file: urn:file:/path")
	default:
		parsed, problem := newPromptText(text)
		s.fixed = parsed
		if problem != "" {
			bad.add(promptKey, "%s", problem)
		}
	}
}

// newPromptText returns a system prompt, and its problem, "" if there is none.
func newPromptText(text string) (*promptText, string) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return nil, "is empty"
	case len(text) > promptMaxBytes:
		return nil, "must be at most " + strconv.Itoa(promptMaxBytes) + " bytes"
	case !utf8.ValidString(text):
		return nil, "must be UTF-8"
	}
	return &promptText{text: text}, ""
}

// parsePromptDocument is newPromptText for a document.
func parsePromptDocument(text string) (parsed any, problem string) {
	prompt, invalid := newPromptText(text)
	parsed = prompt
	problem = invalid
	return parsed, problem
}

// startPrompt starts the look-ups of a system prompt that can change.
func startPrompt(ctx context.Context, s *promptSettings) {
	if s != nil && s.source != nil {
		s.secret = startDocument(ctx, s.source)
	}
}

// usePrompt has an endpoint insert the system prompt of its policy, or refuse that of clients.
func usePrompt(bad *problems, p *policy, pr *provider, row *endpointKind, ep *endpoint) {
	if p.prompt == nil {
		return
	}
	ep.prompt = newSystemPrompt(p.prompt, ep)
	if ep.prompt == nil {
		return
	}
	ep.prompt = promptAtPath(ep.prompt, pr.path)
	ep.isUncommon = true
	ep.parses = true // so that the number of elements is bounded
	if name := ep.prompt.place.name; name != "" && p.prompt.mode != "" && isRouted(p.routes, row) {
		for _, r := range ep.rules {
			if r.id == ep.parameters.ids[name] {
				bad.add("prompt.system", `cannot be used with a rule for %q in "params" or "dropParams"`, name)
			}
		}
	}
}
