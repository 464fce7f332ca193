package chatcompletion

import (
	"fmt"
	"regexp"
)

// parseFallbacks adds the providers of Config.Fallbacks to those of a policy.
func parseFallbacks(bad *problems, config *Config, p *policy, secrets *secretSettings, pattern *regexp.Regexp) {
	first := p.providers[0]
	if len(config.Fallbacks) > 0 && first.upstream == nil {
		bad.add("fallbacks", "require %q for the first provider; without it, use a failover service of Traefik", "host")
	}
	keyHeaders := headersOf(first.auths)
	for i, keys := range config.Fallbacks {
		prefix := fallbackPrefix(i)
		pr := parseProvider(bad, &providerConfig{prefix: prefix, keys: keys, timeouts: config.Timeouts}, p.modelHeader, secrets, pattern)
		keyHeaders = append(keyHeaders, headersOf(pr.auths)...)
		rules := p.models
		if keys.Model != "" {
			rules = fallbackModel(bad, prefix+"model", keys.Model, pattern)
		}
		pr.endpoints = newEndpoints(bad, config, p, pr, rules)
		p.providers = append(p.providers, pr)
	}
	for _, pr := range p.providers[1:] {
		for _, auth := range pr.auths {
			auth.dropsClientKey = true
			auth.keyHeaders = keyHeaders
		}
	}
}

// headersOf returns the headers that carry the keys of a provider.
func headersOf(auths map[string]*providerAuth) []string {
	var names []string
	for _, auth := range auths {
		if !containsText(names, auth.header) {
			names = append(names, auth.header)
		}
	}
	return names
}

// fallbackModel returns the rules of a fallback with a model of its own: it is enforced, whatever
// the client requests.
func fallbackModel(bad *problems, key, model string, pattern *regexp.Regexp) *modelRules {
	rules := &modelRules{model: model, configured: map[string]bool{model: true}}
	if !isModelName(model) {
		bad.add(key, "must be UTF-8 of at most %d bytes without control characters, got %q", modelMaxBytes, shortened(model))
	}
	if isTemplate(model) {
		rules.template = parseTemplate(bad, key, model, pattern)
	}
	return rules
}

// fallbackPrefix returns what the keys of one of the fallbacks begin with.
func fallbackPrefix(place int) string {
	return fmt.Sprintf("fallbacks[%d].", place)
}
