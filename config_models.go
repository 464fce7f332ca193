package chatcompletion

import (
	"regexp"
	"strings"
)

// parseModels reads the keys about models, and finds what they say against each other. It returns modelPattern.
func parseModels(bad *problems, config *Config, p *policy) *regexp.Regexp {
	p.model = strings.TrimSpace(config.Model)
	p.modelOverride = parseBool(bad, "allowModelOverride", config.AllowModelOverride, p.model == "")
	p.aliases = config.ModelAliases
	parseAllowedModels(bad, config.AllowedModels, p)
	if !isModelName(p.model) {
		bad.add("model", "%q is longer than %d bytes, has control characters or is not UTF-8", shortened(p.model), modelMaxBytes)
	}
	if p.model == "" && !p.modelOverride {
		bad.add("allowModelOverride", "is false, but there is no model to enforce; set %q", "model")
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

// parseModelPattern reads a regular expression on the path; Kong marks one with a tilde.
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

// kongGroup is a named group as Kong and PCRE write it, which Go reads since 1.22 only.
var kongGroup = regexp.MustCompile(`\(\?<([A-Za-z_])`)

// configuredModels are the names of models that are in the configuration: there are only so many.
func configuredModels(config *Config, p *policy) map[string]bool {
	models := map[string]bool{}
	for _, target := range p.aliases {
		models[target] = true
	}
	for _, pattern := range parseNames(config.AllowedModels) {
		models[pattern] = true // a client cannot ask for more of one with * than itself
	}
	if p.modelTemplate == nil {
		models[p.model] = true
	}
	return models
}

// namedModels returns the models that clients may ask for, nil if the configuration does not name them all.
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

// usesCaptures tells whether anything refers to what modelPattern finds.
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

// checkModel finds whether a configured model could ever be used.
func checkModel(bad *problems, p *policy) {
	model := p.model
	if target, isAlias := p.aliases[model]; isAlias {
		model = target
	}
	if model != "" && !isAllowed(p, model) {
		bad.add("model", "%q is not among allowedModels (%s)", model, p.allowedText)
	}
}

func parseAliases(bad *problems, p *policy) {
	for _, alias := range sortedKeys(p.aliases) {
		key, target := "modelAliases."+alias, p.aliases[alias]
		if alias == "" {
			bad.add("modelAliases", "has an alias without a name")
		}
		if _, chained := p.aliases[target]; chained && target != alias {
			bad.add(key, "%q is an alias itself", target)
		}
		if target == "" || !isModelName(target) {
			bad.add(key, "%q is no name of a model", shortened(target))
		} else if !isAllowed(p, target) {
			bad.add(key, "%q is not among allowedModels (%s)", target, p.allowedText)
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
