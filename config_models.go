package chatcompletion

import (
	"regexp"
	"strings"
)

// parseModels reads the keys about models, and finds contradictions between them. pattern is Config.ModelPattern.
func parseModels(bad *problems, config *Config, pattern *regexp.Regexp) *modelRules {
	rules := &modelRules{model: strings.TrimSpace(config.Model)}
	rules.override = parseBool(bad, "allowModelOverride", config.AllowModelOverride, rules.model == "")
	rules.aliases = config.ModelAliases
	parseAllowedModels(bad, config.AllowedModels, rules)
	if !isModelName(rules.model) {
		bad.add("model", "%q is longer than %d bytes, has control characters or is not UTF-8", shortened(rules.model), modelMaxBytes)
	}
	if rules.model == "" && !rules.override {
		bad.add("allowModelOverride", "is false, but there is no model to enforce; set %q", "model")
	}
	if isTemplate(rules.model) {
		rules.template = parseTemplate(bad, "model", rules.model, pattern)
	} else {
		checkModel(bad, rules)
		if pattern != nil && !usesCaptures(config) {
			bad.add("modelPattern", "has no effect without $(%s.name) in %q, %q or %q", uriCaptures, "model", "path", "telemetry.labels")
		}
	}
	parseAliases(bad, rules)
	rules.configured = configuredModels(config, rules)
	rules.named = namedModels(config, rules)
	return rules
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
func configuredModels(config *Config, rules *modelRules) map[string]bool {
	models := map[string]bool{}
	for _, target := range rules.aliases {
		models[target] = true
	}
	for _, pattern := range parseNames(config.AllowedModels) {
		models[pattern] = true // a client cannot ask for more of one with * than itself
	}
	if rules.template == nil {
		models[rules.model] = true
	}
	return models
}

// namedModels returns the models that clients may ask for, nil if the configuration does not name them all.
func namedModels(config *Config, rules *modelRules) map[string]bool {
	isFixed := rules.model != "" && rules.template == nil
	if !rules.override && isFixed {
		return map[string]bool{rules.model: true}
	}
	if !rules.override || rules.allowed == nil || strings.Contains(rules.allowedText, "*") {
		return nil
	}
	names := map[string]bool{}
	for _, name := range parseNames(config.AllowedModels) {
		names[name] = true
	}
	for alias := range rules.aliases {
		names[alias] = true
	}
	if isFixed {
		names[rules.model] = true
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
func checkModel(bad *problems, rules *modelRules) {
	model := rules.model
	if target, isAlias := rules.aliases[model]; isAlias {
		model = target
	}
	if model != "" && !isAllowed(rules, model) {
		bad.add("model", "%q is not among allowedModels (%s)", model, rules.allowedText)
	}
}

func parseAliases(bad *problems, rules *modelRules) {
	for _, alias := range sortedKeys(rules.aliases) {
		key, target := "modelAliases."+alias, rules.aliases[alias]
		if alias == "" {
			bad.add("modelAliases", "has an alias without a name")
		}
		if _, chained := rules.aliases[target]; chained && target != alias {
			bad.add(key, "%q is an alias itself", target)
		}
		if target == "" || !isModelName(target) {
			bad.add(key, "%q is no name of a model", shortened(target))
		} else if !isAllowed(rules, target) {
			bad.add(key, "%q is not among allowedModels (%s)", target, rules.allowedText)
		}
	}
}

func parseAllowedModels(bad *problems, patterns []string, rules *modelRules) {
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
	rules.allowed = allowed
	rules.allowedText = strings.Join(patterns, ", ")
}
