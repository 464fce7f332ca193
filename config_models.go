package chatcompletion

import (
	"regexp"
	"strings"
)

// parseModels parses the keys about models and reports contradictions among them. pattern is the
// compiled Config.ModelPattern.
func parseModels(bad *problems, config *Config, pattern *regexp.Regexp) *modelRules {
	rules := &modelRules{model: strings.TrimSpace(config.Model)}
	rules.override = parseBool(bad, "allowModelOverride", config.AllowModelOverride, rules.model == "")
	rules.aliases = config.ModelAliases
	parseAllowedModels(bad, config.AllowedModels, rules)
	if !isModelName(rules.model) {
		bad.add("model", "must be UTF-8 of at most %d bytes without control characters, got %q", modelMaxBytes, shortened(rules.model))
	}
	if rules.model == "" && !rules.override {
		bad.add("allowModelOverride", "false requires a model to enforce; set %q", "model")
	}
	if isTemplate(rules.model) {
		rules.template = parseTemplate(bad, "model", rules.model, pattern)
	} else {
		checkModel(bad, rules)
	}
	parseAliases(bad, rules)
	rules.configured = configuredModels(config, rules)
	rules.named = namedModels(config, rules)
	return rules
}

// checkModelPattern reports a pattern that nothing refers to.
func checkModelPattern(bad *problems, config *Config, pattern *regexp.Regexp) {
	if pattern != nil && !isTemplate(config.Model) && !usesCaptures(config) {
		bad.add("modelPattern", "has no effect without $(%s.name) in %q, %q, %q or %q", uriCaptures, "model", "path", "quotas[].per", "telemetry.labels")
	}
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
func configuredModels(config *Config, rules *modelRules) map[string]bool {
	models := map[string]bool{}
	for _, target := range rules.aliases {
		models[target] = true
	}
	for _, pattern := range parseNames(config.AllowedModels) {
		models[pattern] = true // with *, it counts only as the literal name
	}
	if rules.template == nil {
		models[rules.model] = true
	}
	return models
}

// namedModels returns the models that clients may request, or nil if the configuration does not
// name them all.
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

// usesCaptures reports whether a path, a fallback's model or a label refers to a group of
// modelPattern.
func usesCaptures(config *Config) bool {
	return strings.Contains(templateTexts(config), "$("+uriCaptures+".")
}

// templateTexts returns all texts in which a configuration may refer to the request, apart from its
// model.
func templateTexts(config *Config) string {
	texts := []string{config.Path}
	quotas := append([]Quota(nil), config.Quotas...)
	for _, group := range config.Consumers.Groups {
		texts = append(texts, group.Model)
		quotas = append(quotas, group.Quotas...)
	}
	for _, fallback := range config.Fallbacks {
		texts = append(texts, fallback.Path, fallback.Model)
	}
	for _, text := range config.Telemetry.Labels {
		texts = append(texts, text)
	}
	for _, quota := range quotas {
		texts = append(texts, quota.Per)
	}
	return strings.Join(texts, " ")
}

// checkModel reports a configured model that allowedModels excludes.
func checkModel(bad *problems, rules *modelRules) {
	model := rules.model
	if target, isAlias := rules.aliases[model]; isAlias {
		model = target
	}
	if model != "" && !isAllowed(rules, model) {
		bad.add("model", "%q does not match allowedModels (%s)", model, rules.allowedText)
	}
}

func parseAliases(bad *problems, rules *modelRules) {
	for _, alias := range sortedKeys(rules.aliases) {
		key, target := "modelAliases."+alias, rules.aliases[alias]
		if alias == "" {
			bad.add("modelAliases", "alias names must not be empty")
		}
		if _, chained := rules.aliases[target]; chained && target != alias {
			bad.add(key, "%q is itself an alias; use the name of the provider's model", target)
		}
		if target == "" || !isModelName(target) {
			bad.add(key, "invalid model name %q", shortened(target))
		} else if !isAllowed(rules, target) {
			bad.add(key, "%q does not match allowedModels (%s)", target, rules.allowedText)
		}
	}
}

func parseAllowedModels(bad *problems, patterns []string, rules *modelRules) {
	rules.allowed, rules.allowedText = modelPatterns(bad, "allowedModels", patterns)
}

// modelPatterns returns the regular expression of configured patterns of models, and their text. It
// returns nil if there are none.
func modelPatterns(bad *problems, key string, patterns []string) (*regexp.Regexp, string) {
	patterns = parseNames(patterns)
	if len(patterns) == 0 {
		return nil, ""
	}
	allowed, err := compilePatterns(patterns)
	if err != nil {
		bad.add(key, "%v", err)
		return nil, ""
	}
	return allowed, strings.Join(patterns, ", ")
}
