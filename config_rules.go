package chatcompletion

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// parseRules parses params, limits and dropParams into one rule for each parameter of an endpoint.
func parseRules(bad *problems, config *Config, ep *endpoint, names map[string]string) {
	override := parseBool(bad, "allowParamsOverride", config.AllowParamsOverride, false)
	params, limits := config.Params, config.Limits
	own := []parameterKey{
		{"params.temperature", "temperature", params.Temperature},
		{"params.topP", "top_p", params.TopP},
		{"params.maxTokens", maxTokens, params.MaxTokens},
		{"params.maxCompletionTokens", maxCompletionTokens, params.MaxCompletionTokens},
		{"params.frequencyPenalty", "frequency_penalty", params.FrequencyPenalty},
		{"params.presencePenalty", "presence_penalty", params.PresencePenalty},
	}
	for i := range own {
		own[i].name = nameAt(ep, names, own[i].name)
		if value := parseNumberKey(bad, own[i], ep.parameters); value != nil {
			setValue(bad, ep, own[i], value, !override)
		}
	}
	for _, k := range parseExtra(bad, params.Extra, own, ep) {
		if value := parseExtraKey(bad, k, ep.parameters); value != nil {
			setValue(bad, ep, k, value, !override)
		}
	}
	for _, k := range []parameterKey{
		{"limits.temperature", "temperature", limits.Temperature},
		{"limits.topP", "top_p", limits.TopP},
		{"limits.maxTokens", maxTokens, limits.MaxTokens},
		{"limits.maxCompletionTokens", maxCompletionTokens, limits.MaxCompletionTokens},
		{"limits.frequencyPenalty", "frequency_penalty", limits.FrequencyPenalty},
		{"limits.presencePenalty", "presence_penalty", limits.PresencePenalty},
		{"limits.n", "n", limits.N},
	} {
		k.name = nameAt(ep, names, k.name)
		if value := parseNumberKey(bad, k, ep.parameters); value != nil {
			setCeiling(bad, ep, k, value)
		}
	}
	for _, name := range parseNames(config.DropParams) {
		setDropped(bad, ep, ownSpelling(ep, name))
	}
	if ep.tokenLimitName != "" {
		ruleFor(ep, ep.tokenLimitName) // renames the client's other spelling
	}
	for _, r := range ep.rules {
		if r.defaultValue != nil {
			r.addition = append([]byte(`,"`+r.name+`":`), r.defaultValue...)
		}
	}
}

// parameterKey is a key of params or limits: the key, the name of the parameter in a request, and
// the configured value.
type parameterKey struct {
	key   string
	name  string
	value any
}

// nameAt returns the name that a parameter of Config.Params or Config.Limits has at an endpoint: one of
// names, the only one of the token limit that the provider knows, or OpenAI's.
func nameAt(ep *endpoint, names map[string]string, name string) string {
	own := names[name]
	switch {
	case own != "":
		return own
	case ep.tokenLimitName != "" && (name == maxTokens || name == maxCompletionTokens):
		return ep.tokenLimitName
	}
	return name
}

// isTokenLimit reports whether a rule is for the token limit, whatever its name.
func isTokenLimit(r *rule) bool {
	return r.name == maxTokens || r.name == maxCompletionTokens || r.name == maxOutputTokens || r.name == contentMaxTokens
}

// ruleFor returns the rule of a parameter, and whether it was added. Both spellings of the token
// limit share one rule.
func ruleFor(ep *endpoint, name string) (r *rule, isNew bool) {
	id, known := ep.parameters.ids[name]
	if !known {
		addParameter(ep.parameters, ofAnyType(name))
		id = ep.parameters.ids[name]
	}
	for _, r := range ep.rules {
		if r.id == id || r.aliasID == id {
			return r, false
		}
	}
	r = &rule{name: name, id: id, aliasID: id}
	switch name {
	case maxTokens:
		r.aliasID = idOf(ep.parameters, maxCompletionTokens, id)
	case maxCompletionTokens:
		r.aliasID = idOf(ep.parameters, maxTokens, id)
	}
	ep.rules = append(ep.rules, r)
	return r, true
}

// idOf returns the id of a parameter, or another one if there is no such parameter.
func idOf(set *parameterSet, name string, otherwise int) int {
	if id, known := set.ids[name]; known {
		return id
	}
	return otherwise
}

func setValue(bad *problems, ep *endpoint, k parameterKey, value []byte, enforced bool) {
	r, isNew := ruleFor(ep, k.name)
	if !isNew {
		bad.add("params", "maxTokens and maxCompletionTokens are two spellings of one parameter; set one")
		return
	}
	r.defaultValue, r.defaultReason, r.enforced = value, "=set", enforced
}

// setCeiling adds a ceiling. A request without a token limit gets the ceiling as its limit, since the
// provider's maximum would apply otherwise. Other parameters that are left out keep the provider's
// default.
func setCeiling(bad *problems, ep *endpoint, k parameterKey, value []byte) {
	r, _ := ruleFor(ep, k.name)
	if r.hasCeiling {
		bad.add("limits", "maxTokens and maxCompletionTokens are two spellings of one parameter; set one")
		return
	}
	r.hasCeiling, r.ceilingRaw = true, value
	r.ceiling, _ = parseNumber(string(value))
	r.lowest = lowestNumber(ep.parameters.list[r.id])
	if r.defaultValue == nil {
		if isTokenLimit(r) {
			r.defaultValue, r.defaultReason = value, "=limited"
		}
		return
	}
	if configured, _ := parseNumber(string(r.defaultValue)); configured > r.ceiling {
		bad.add("params", "%s is %s, above its limit of %s", r.name, r.defaultValue, value)
	}
}

// lowestNumber returns the value below which a number has a meaning that only its provider knows,
// such as -1 as a token limit: the published minimum, unless that is negative itself.
func lowestNumber(p *parameter) float64 {
	if p.minimum < 0 {
		return -math.MaxFloat64
	}
	return p.minimum
}

// clientsOnly are the parameters that no configuration sets or drops.
var clientsOnly = map[string]bool{"model": true, "messages": true, "input": true, "contents": true, "stream": true}

// ownSpelling returns how an endpoint spells the name of a parameter. Google's protocol knows some
// parameters of the others in lowerCamelCase, such as topK.
func ownSpelling(ep *endpoint, name string) string {
	if id, known := ep.parameters.folded[fold(name)]; known && ep.protocol == geminiProtocol {
		return ep.parameters.list[id].name
	}
	return name
}

func setDropped(bad *problems, ep *endpoint, name string) {
	switch {
	case clientsOnly[name]:
		bad.add("dropParams", "%q cannot be dropped", name)
		return
	case !isParameterName(bad, ep.parameters, "dropParams", name):
		return
	}
	r, isNew := ruleFor(ep, name)
	if !isNew && !r.dropped {
		bad.add("dropParams", "%q is set by params or limits", name)
		return
	}
	r.dropped, r.aliasID = true, r.id // dropping one spelling keeps the other
}

// isParameterName reports whether name is a valid name of a parameter, and adds a problem if not. A
// different spelling of a name in the schema is not valid.
func isParameterName(bad *problems, set *parameterSet, key, name string) bool {
	if !parameterName.MatchString(name) {
		bad.add(key, "invalid parameter name %q", name)
		return false
	}
	if id, known := set.folded[fold(name)]; known && set.list[id].name != name {
		bad.add(key, "invalid parameter name %q; did you mean %q?", name, set.list[id].name)
		return false
	}
	return true
}

// parameterName matches the valid names of parameters. They need no escapes in JSON.
var parameterName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,63}$`)

// parseNumberKey returns the JSON of a configured number. It returns nil if there is none, or if
// the endpoint has no such parameter.
func parseNumberKey(bad *problems, k parameterKey, set *parameterSet) []byte {
	id, known := set.ids[k.name]
	if isUnset(k.value) || !known {
		return nil
	}
	number, ok := parseNumber(k.value)
	if !ok {
		bad.add(k.key, "must be a number, got %q", fmt.Sprint(k.value))
		return nil
	}
	value := []byte(strconv.FormatFloat(number, 'f', -1, 64))
	if apiErr := checkParameter(set.list[id], k.key, value); apiErr != nil {
		bad.add(k.key, "%s", apiErr.message)
		return nil
	}
	return value
}

// parseExtra returns the sorted keys of params.extra that apply to an endpoint. At completions
// these are all keys except those meant for other endpoints; elsewhere they are the keys that the
// schema knows.
func parseExtra(bad *problems, extra map[string]any, own []parameterKey, ep *endpoint) []parameterKey {
	var keys []parameterKey
	spellings := map[string]string{}
	for _, configured := range sortedKeys(extra) {
		key := "params.extra." + configured
		name := ownSpelling(ep, configured)
		elsewhere := ""
		for _, k := range own {
			if k.name == name {
				elsewhere = k.key
			}
		}
		switch {
		case elsewhere != "":
			bad.add(key, "must be set with %q", elsewhere)
		case name == "model":
			bad.add(key, "must be set with %q", "model")
		case clientsOnly[name]:
			bad.add(key, "must be left to the client")
		case spellings[fold(name)] != "":
			bad.add(key, "is another spelling of %q", spellings[fold(name)])
		case isParameterName(bad, ep.parameters, key, name):
			spellings[fold(name)] = name
			if _, known := ep.parameters.ids[name]; known || (ep.kind == completions && !ep.elsewhere[name]) {
				keys = append(keys, parameterKey{key, name, extra[configured]})
			}
		}
	}
	return keys
}

// parseExtraKey returns the JSON of a parameter in params.extra: with its type restored, or as
// configured if the schema accepts only that.
func parseExtraKey(bad *problems, k parameterKey, set *parameterSet) []byte {
	value := marshal(typedValue(k.value))
	id, published := set.ids[k.name]
	if !published {
		return value
	}
	apiErr := checkParameter(set.list[id], k.key, value)
	if apiErr == nil {
		return value
	}
	value = marshal(k.value)
	if checkParameter(set.list[id], k.key, value) == nil {
		return value
	}
	bad.add(k.key, "%s", apiErr.message)
	return nil
}

// typedValue restores the types of scalars that Traefik's file provider or a label turned into
// strings.
func typedValue(value any) any {
	switch v := value.(type) {
	case string:
		trimmed := strings.TrimSpace(v)
		if strings.HasPrefix(trimmed, `"`) || !json.Valid([]byte(trimmed)) {
			return v
		}
		return json.RawMessage(trimmed)
	case []any:
		list := make([]any, len(v))
		for i, element := range v {
			list[i] = typedValue(element)
		}
		return list
	case map[string]any:
		members := make(map[string]any, len(v))
		for name, member := range v {
			members[name] = typedValue(member)
		}
		return members
	}
	return value
}
