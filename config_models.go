package chatcompletion

import (
	"regexp"
	"strings"
)

// parseModels parses the keys about models and reports contradictions among them. It returns the
// compiled Config.ModelPattern.
func parseModels(bad *problems, config *Config, p *policy) *regexp.Regexp {
	p.model = strings.TrimSpace(config.Model)
	p.modelOverride = parseBool(bad, "allowModelOverride", config.AllowModelOverride, p.model == "")
	p.aliases = config.ModelAliases
	parseAllowedModels(bad, config.AllowedModels, p)
	if !isModelName(p.model) {
		bad.add("model", "must be UTF-8 of at most %d bytes without control characters, got %q", modelMaxBytes, shortened(p.model))
	}
	if p.model == "" && !p.modelOverride {
		bad.add("allowModelOverride", "false requires a model to enforce; set %q", "model")
	}
	pattern := parseModelPattern(bad, config.ModelPattern)
	if isTemplate(p.model) {
		p.modelTemplate = parseTemplate(bad, "model", p.model, pattern)
	} else {
		checkModel(bad, p)
		if pattern != nil && !usesCaptures(config) {
			bad.add("modelPattern", "has no effect without $(%s.name) in %q, %q or %q", uriCaptures, "model", "path", "telemetry.labels")
		}
	}
	parseAliases(bad, p)
	p.configuredModels = configuredModels(config, p)
	p.namedModels = namedModels(config, p)
	return pattern
}

// parseModelPattern compiles Config.ModelPattern. Kong marks a regular expression with a leading
// tilde.
func parseModelPattern(bad *problems, text string) *regexp.Regexp {
	if text == "" {
		return nil
	}
	pattern, err := regexp.Compile(kongGroup.ReplaceAllString(strings.TrimPrefix(text, "~"), "(?P<$1"))
	if err != nil {
		bad.add("modelPattern", "%v", err)
		return nil
	}
	return pattern
}

// kongGroup matches a named group in the syntax of Kong and PCRE, which Go accepts only since 1.22.
var kongGroup = regexp.MustCompile(`\(\?<([A-Za-z_])`)

// configuredModels returns the model names in the configuration. Their number is bounded, so
// metrics may have all of them.
func configuredModels(config *Config, p *policy) map[string]bool {
	models := map[string]bool{}
	for _, target := range p.aliases {
		models[target] = true
	}
	for _, pattern := range parseNames(config.AllowedModels) {
		models[pattern] = true // with *, it counts only as the literal name
	}
	if p.modelTemplate == nil {
		models[p.model] = true
	}
	return models
}

// namedModels returns the models that clients may request, or nil if the configuration does not
// name them all.
func namedModels(config *Config, p *policy) map[string]bool {
	isFixed := p.model != "" && p.modelTemplate == nil
	if !p.modelOverride && isFixed {
		return map[string]bool{p.model: true}
	}
	if !p.modelOverride || p.allowedModels == nil || strings.Contains(p.allowedText, "*") {
		return nil
	}
	names := map[string]bool{}
	for _, name := range parseNames(config.AllowedModels) {
		names[name] = true
	}
	for alias := range p.aliases {
		names[alias] = true
	}
	if isFixed {
		names[p.model] = true
	}
	return names
}

// usesCaptures reports whether a path, a fallback's model or a label refers to a group of
// modelPattern.
func usesCaptures(config *Config) bool {
	texts := []string{config.Path}
	for _, fallback := range config.Fallbacks {
		texts = append(texts, fallback.Path, fallback.Model)
	}
	for _, text := range config.Telemetry.Labels {
		texts = append(texts, text)
	}
	return strings.Contains(strings.Join(texts, " "), "$("+uriCaptures+".")
}

// checkModel reports a configured model that allowedModels excludes.
func checkModel(bad *problems, p *policy) {
	model := p.model
	if target, isAlias := p.aliases[model]; isAlias {
		model = target
	}
	if model != "" && !isAllowed(p, model) {
		bad.add("model", "%q does not match allowedModels (%s)", model, p.allowedText)
	}
}

func parseAliases(bad *problems, p *policy) {
	for _, alias := range sortedKeys(p.aliases) {
		key, target := "modelAliases."+alias, p.aliases[alias]
		if alias == "" {
			bad.add("modelAliases", "alias names must not be empty")
		}
		if _, chained := p.aliases[target]; chained && target != alias {
			bad.add(key, "%q is itself an alias; use the name of the provider's model", target)
		}
		if target == "" || !isModelName(target) {
			bad.add(key, "invalid model name %q", shortened(target))
		} else if !isAllowed(p, target) {
			bad.add(key, "%q does not match allowedModels (%s)", target, p.allowedText)
		}
	}
}

func parseAllowedModels(bad *problems, patterns []string, p *policy) {
	patterns = parseNames(patterns)
	if len(patterns) == 0 {
		return
	}
	expressions := make([]string, len(patterns))
	for i, pattern := range patterns {
		expressions[i] = strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`)
	}
	allowed, err := regexp.Compile(`^(?s:` + strings.Join(expressions, "|") + `)$`)
	if err != nil {
		bad.add("allowedModels", "%v", err)
		return
	}
	p.allowedModels = allowed
	p.allowedText = strings.Join(patterns, ", ")
}
