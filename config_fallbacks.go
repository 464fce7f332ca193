package chatcompletion

import (
	"fmt"
	"regexp"
)

// parseFallbacks reads Config.Fallbacks into policies that differ from p in the provider.
func parseFallbacks(bad *problems, config *Config, p *policy, secrets *secretSettings, pattern *regexp.Regexp) []*policy {
	if len(config.Fallbacks) > 0 && p.upstream == nil {
		bad.add("fallbacks", "need %q for the first provider; without it, Traefik's failover services can be used", "host")
	}
	var all []*policy
	for i, keys := range config.Fallbacks {
		parent := fallbackParent(i)
		q := *p
		q.isFallback = true
		parseProvider(bad, &providerConfig{prefix: parent, keys: keys, timeouts: config.Timeouts}, &q, secrets, pattern)
		p.keyNames = append(p.keyNames, q.keyNames...)
		q.circuit = &circuit{}
		if keys.Model != "" {
			setFallbackModel(bad, parent+"model", keys.Model, &q, pattern)
		}
		q.endpoints = newEndpoints(bad, config, &q)
		all = append(all, &q)
	}
	for _, q := range all {
		q.keyNames = p.keyNames
	}
	return all
}

// setFallbackModel enforces the model of a fallback, whatever the client asks for.
func setFallbackModel(bad *problems, key, model string, p *policy, pattern *regexp.Regexp) {
	p.model, p.modelOverride = model, false
	p.modelTemplate = nil // not in one assignment: Yaegi panics at a nil there
	p.aliases = nil
	p.allowedModels = nil
	p.configuredModels = map[string]bool{model: true}
	if !isModelName(model) {
		bad.add(key, "%q is longer than %d bytes, has control characters or is not UTF-8", shortened(model), modelMaxBytes)
	}
	if isTemplate(model) {
		p.modelTemplate = parseTemplate(bad, key, model, pattern)
	}
}

// fallbackParent is what stands before the keys of one of the fallbacks.
func fallbackParent(place int) string {
	return fmt.Sprintf("fallbacks[%d].", place)
}
