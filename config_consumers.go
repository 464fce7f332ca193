package chatcompletion

import (
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"sync/atomic"
	"time"
)

// parseConsumers parses Config.Consumers.
func parseConsumers(bad *problems, config *Config, p *policy, secrets *secretSettings, pattern *regexp.Regexp) {
	settings := &config.Consumers
	parseGroups(bad, config, p, pattern)
	if !identifiesConsumers(config) {
		checkUnused(bad, "consumers.", []setting{{"required", settings.Required}}, `without "consumers.list", "consumers.from" or "consumers.header"`)
		if p.groups != nil {
			p.consumers = &consumers{onlyGroups: true, isUncommon: true}
		}
		return
	}
	cs := &consumers{list: map[string]*consumer{}, names: map[string]bool{}, more: &atomic.Value{}}
	cs.header = parseConsumersHeader(bad, config, p)
	cs.isUncommon = cs.header != ""
	cs.required = parseBool(bad, "consumers.required", settings.Required, cs.header == "")
	if cs.header == "" && strings.TrimSpace(config.Token) == "" {
		bad.add("consumers", `require "token": the keys of consumers must not reach a provider`)
	}
	for i := range settings.List {
		parseConsumer(bad, cs, i, &settings.List[i], secrets)
		checkGroup(bad, consumerPrefix(i)+"group", strings.TrimSpace(settings.List[i].Group), p)
	}
	parseConsumersFrom(bad, cs, p, settings.From, secrets)
	p.consumers = cs
	for _, pr := range p.providers {
		for _, auth := range pr.auths {
			auth.consumerHeader = cs.header
		}
	}
	for _, l := range p.telemetry.labels {
		if exposed := prometheusName(l.name); exposed == consumerLabel || exposed == groupLabel {
			bad.add("telemetry.labels."+l.name, "%q is set by %q", l.name, "consumers")
		}
	}
}

// consumerPrefix returns what the keys of one of the consumers begin with.
func consumerPrefix(place int) string {
	return fmt.Sprintf("consumers.list[%d].", place)
}

// groupPrefix returns what the keys of a group begin with.
func groupPrefix(name string) string {
	return "consumers.groups." + name + "."
}

// parseConsumersHeader parses Consumers.Header.
func parseConsumersHeader(bad *problems, config *Config, p *policy) string {
	const key = "consumers.header"
	text := strings.TrimSpace(config.Consumers.Header)
	if text == "" {
		return ""
	}
	name := parseHeaderName(bad, key, text)
	if isCredential(name) || name == http.CanonicalHeaderKey(config.AuthHeader.Name) {
		bad.add(key, "%q carries credentials", name)
	} else if name == p.modelHeader {
		bad.add(key, "%q carries the model", name)
	}
	return name
}

// parseConsumer parses one of Consumers.List.
func parseConsumer(bad *problems, cs *consumers, place int, config *Consumer, secrets *secretSettings) {
	prefix := consumerPrefix(place)
	name := strings.TrimSpace(config.Name)
	switch {
	case name == "" || !attributeText(name):
		bad.add(prefix+"name", "must be UTF-8 of 1 to %d bytes without control characters, got %q", labelMaxBytes, shortened(name))
	case cs.names[name]:
		bad.add(prefix+"name", "%q is also the name of another consumer", name)
	}
	cs.names[name] = true
	c := newConsumer(name, strings.TrimSpace(config.Group))
	checkAttribute(bad, prefix+"group", c.caller.group)
	c.disabled = parseBool(bad, prefix+"disabled", config.Disabled, false)
	c.expires = parseTime(bad, prefix+"expires", config.Expires)
	c.lapses = c.disabled || !c.expires.IsZero()
	setAllowedModels(c, parseNames(config.AllowedModels))
	if cs.header != "" {
		cs.list[name] = c
		checkUnused(bad, prefix, []setting{
			{"key", config.Key}, {"previousKey.key", config.PreviousKey.Key}, {"previousKey.until", config.PreviousKey.Until},
		}, `with "consumers.header"; remove one of them`)
		return
	}
	parseConsumerKey(bad, cs, prefix+"key", config.Key, c, secrets)
	if previous := &config.PreviousKey; !isUnset(previous.Key) || !isUnset(previous.Until) {
		own := *c
		own.until = parseTime(bad, prefix+"previousKey.until", previous.Until)
		own.lapses = true
		if strings.TrimSpace(previous.Until) == "" {
			bad.add(prefix+"previousKey.until", "must be set, such as 2027-01-01T00:00:00Z")
		}
		parseConsumerKey(bad, cs, prefix+"previousKey.key", previous.Key, &own, secrets)
	}
}

// parseTime parses a time in the form of RFC 3339; zero: there is none.
func parseTime(bad *problems, key, text string) time.Time {
	text = strings.TrimSpace(text)
	if text == "" {
		return time.Time{}
	}
	parsed, err := time.Parse(time.RFC3339, text)
	if err != nil {
		bad.add(key, "must be a time such as 2027-01-01T00:00:00Z, got %q", shortened(text))
	}
	return parsed
}

// parseConsumerKey parses a key of a consumer. It repeats none: a text that is not a reference could
// be the key itself.
func parseConsumerKey(bad *problems, cs *consumers, key, text string, c *consumer, secrets *secretSettings) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		bad.add(key, "must be set, to the SHA-256 of the consumer's key or a reference to it")
		return
	case !strings.HasPrefix(text, digestPrefix) && !strings.HasPrefix(text, referencePrefix):
		bad.add(key, "must not be the key itself; use sha256: and its SHA-256 in hexadecimal, urn:env:NAME, urn:file:/path or urn:k8s:secret:name:key. "+
			"In a Kubernetes Middleware, a Secret must contain sha256: and the SHA-256")
		return
	}
	id := strings.ToLower(text)
	if !strings.HasPrefix(text, digestPrefix) {
		cred, problem := newCredential(key, "requests with the key get status 401", text, "", "", secrets)
		if problem != "" {
			bad.add(key, "%s", problem)
			return
		}
		if cred.source != nil || cred.value == "" {
			cs.keys = append(cs.keys, &referencedKey{key: key, credential: cred, consumer: c})
			return
		}
		id = keyDigest(cred.value)
	} else if !digestForm.MatchString(id) {
		bad.add(key, "must be sha256: and the 64 hexadecimal digits of the key's SHA-256")
		return
	}
	if id == emptyDigest {
		bad.add(key, "is the SHA-256 of no text; the command that made it had no key")
	}
	if cs.list[id] != nil {
		bad.add(key, "is also a key of %q", cs.list[id].caller.name)
	}
	cs.list[id] = c
}

// parseConsumersFrom parses Consumers.From.
func parseConsumersFrom(bad *problems, cs *consumers, p *policy, text string, secrets *secretSettings) {
	const key = "consumers.from"
	if text = strings.TrimSpace(text); text == "" {
		return
	}
	source, literal, problem := newDocument(key, "requests of its consumers get status 503", text, "[{", secrets)
	var fixed *consumerList
	if problem == "" && source == nil {
		fixed, problem = parseConsumerList(literal, cs.header != "")
	}
	if problem != "" {
		bad.add(key, "%s", problem)
		return
	}
	if fixed != nil {
		checkFixedList(bad, cs, p, fixed)
		cs.more.Store(fixed)
		return
	}
	if cs.header != "" {
		useDocument(source, "names", parseNameList)
	} else {
		useDocument(source, "keys", parseKeyList)
	}
	cs.from = source
}

// checkFixedList reports what a list in the configuration has in common with Consumers.List, and its
// unknown groups.
func checkFixedList(bad *problems, cs *consumers, p *policy, fixed *consumerList) {
	for i := range fixed.entries {
		e := &fixed.entries[i]
		if cs.names[e.Name] {
			bad.add("consumers.from", "[%d].name: %q is also a name in %q", i, shortened(e.Name), "consumers.list")
		}
		if cs.list[e.Key] != nil {
			bad.add("consumers.from", "[%d].key: is also a key in %q", i, "consumers.list")
		}
		checkGroup(bad, fmt.Sprintf("consumers.from: [%d].group", i), e.Group, p)
	}
}

// checkGroup reports a group that the configuration does not have.
func checkGroup(bad *problems, key, group string, p *policy) {
	if group != "" && p.groups != nil && p.groups[group] == nil {
		bad.add(key, "unknown group %q; must be one of %s", shortened(group), shortened(strings.Join(sortedKeys(p.groups), ", ")))
	}
}

// parseGroups parses Consumers.Groups into the policies of their members.
func parseGroups(bad *problems, config *Config, p *policy, pattern *regexp.Regexp) {
	known := append([]string{}, bad.found...)
	for _, name := range sortedKeys(config.Consumers.Groups) {
		if name == "" || !attributeText(name) {
			bad.add("consumers.groups", "names must be UTF-8 of 1 to %d bytes without control characters, got %q", labelMaxBytes, shortened(name))
		}
		if p.groups == nil {
			p.groups = map[string]*policy{}
		}
		own := &problems{}
		group := config.Consumers.Groups[name]
		p.groups[name] = newGroupPolicy(own, config, &group, p, pattern)
		p.groups[name].restrictsModels = len(parseNames(group.AllowedModels)) > 0
		bad.addBelow(groupPrefix(name), own, known)
	}
}

// groupConfig returns a configuration with the keys of a group.
func groupConfig(config *Config, group *ConsumerGroup) *Config {
	own := *config
	if strings.TrimSpace(group.Model) != "" {
		own.Model = group.Model
	}
	if !isUnset(group.AllowModelOverride) {
		own.AllowModelOverride = group.AllowModelOverride
	}
	if len(group.AllowedModels) > 0 {
		own.AllowedModels = group.AllowedModels
	}
	if len(group.ModelAliases) > 0 {
		own.ModelAliases = group.ModelAliases
	}
	if len(group.DropParams) > 0 {
		own.DropParams = group.DropParams
	}
	if len(group.Quotas) > 0 {
		own.Quotas = group.Quotas
	}
	if !reflect.DeepEqual(group.Params, Params{}) {
		own.Params = group.Params
	}
	if !reflect.DeepEqual(group.Limits, Limits{}) {
		own.Limits = group.Limits
	}
	return &own
}

// newGroupPolicy returns the policy of a group: that of the configuration with rules of its own. All
// else is shared, and so are the credentials, the circuits and the handlers of the providers.
func newGroupPolicy(bad *problems, configured *Config, group *ConsumerGroup, p *policy, pattern *regexp.Regexp) *policy {
	config := groupConfig(configured, group)
	own := *p
	own.groups = nil
	own.models = parseModels(bad, config, pattern)
	if len(group.Quotas) > 0 {
		own.quotas = parseQuotas(bad, config, &own, pattern)
	}
	own.providers = nil
	for i, pr := range p.providers {
		copied := *pr
		own.providers = append(own.providers, &copied)
		rules := own.models
		if i > 0 && config.Fallbacks[i-1].Model != "" {
			rules = pr.endpoints[completions].models
		}
		copied.endpoints = newEndpoints(bad, config, &own, &copied, rules)
	}
	own.hasRules = hasRules(&own)
	return &own
}

// identifiesConsumers reports whether a configuration identifies consumers.
func identifiesConsumers(config *Config) bool {
	c := &config.Consumers
	return len(c.List) > 0 || strings.TrimSpace(c.From) != "" || strings.TrimSpace(c.Header) != ""
}
