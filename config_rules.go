package chatcompletion

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// ruleFor returns the rule of a parameter, of which both spellings of the token limit share one.
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
		r.aliasID = ep.parameters.ids[maxCompletionTokens]
	case maxCompletionTokens:
		r.aliasID = ep.parameters.ids[maxTokens]
	}
	ep.rules = append(ep.rules, r)
	return r, true
}

// parameterName is what the name of a parameter looks like; such a name needs no escapes in JSON.
var parameterName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,63}$`)

// parameterKey is a key of params or limits: its name there, the parameter's name in a request, and what is configured.
type parameterKey struct {
	key   string
	name  string
	value any
}

// parseRules reads params, limits and dropParams into one rule for each parameter of an endpoint.
func parseRules(bad *problems, config *Config, ep *endpoint) {
	override := parseBool(bad, "allowParamsOverride", config.AllowParamsOverride, false)
	params, limits := config.Params, config.Limits
	own := []parameterKey{
		{"params.temperature", "temperature", params.Temperature},
		{"params.topP", "top_p", params.TopP},
		{"params.maxTokens", tokenLimitName(ep, maxTokens), params.MaxTokens},
		{"params.maxCompletionTokens", tokenLimitName(ep, maxCompletionTokens), params.MaxCompletionTokens},
		{"params.frequencyPenalty", "frequency_penalty", params.FrequencyPenalty},
		{"params.presencePenalty", "presence_penalty", params.PresencePenalty},
	}
	for _, k := range own {
		if value := parseNumberKey(bad, k, ep.parameters); value != nil {
			setValue(bad, ep, k, value, !override)
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
		{"limits.maxTokens", tokenLimitName(ep, maxTokens), limits.MaxTokens},
		{"limits.maxCompletionTokens", tokenLimitName(ep, maxCompletionTokens), limits.MaxCompletionTokens},
		{"limits.frequencyPenalty", "frequency_penalty", limits.FrequencyPenalty},
		{"limits.presencePenalty", "presence_penalty", limits.PresencePenalty},
		{"limits.n", "n", limits.N},
	} {
		if value := parseNumberKey(bad, k, ep.parameters); value != nil {
			setLimit(bad, ep, k, value)
		}
	}
	for _, name := range parseNames(config.DropParams) {
		setDropped(bad, ep, name)
	}
	if ep.tokenLimit != "" {
		ruleFor(ep, ep.tokenLimit) // which gives a client's other spelling this name
	}
	for _, r := range ep.rules {
		if r.defaultValue != nil {
			r.addition = append([]byte(`,"`+r.name+`":`), r.defaultValue...)
		}
	}
}

// tokenLimitName returns what the token limit of a configuration's key is called at an endpoint, "" if there is none.
func tokenLimitName(ep *endpoint, name string) string {
	switch {
	case ep.kind == responses:
		return maxOutputTokens
	case ep.tokenLimit != "":
		return ep.tokenLimit
	}
	return name
}

func setValue(bad *problems, ep *endpoint, k parameterKey, value []byte, enforced bool) {
	r, isNew := ruleFor(ep, k.name)
	if !isNew {
		bad.add("params", "maxTokens and maxCompletionTokens are two spellings of one parameter; set one")
		return
	}
	r.defaultValue, r.defaultReason, r.enforced = value, "=set", enforced
}

// setLimit adds a ceiling. Without a token limit the provider's own maximum would apply, so that a request without one
// gets the ceiling; for other parameters, what the provider chooses is its default.
func setLimit(bad *problems, ep *endpoint, k parameterKey, value []byte) {
	r, _ := ruleFor(ep, k.name)
	if r.limited {
		bad.add("limits", "maxTokens and maxCompletionTokens are two spellings of one parameter; set one")
		return
	}
	r.limited, r.maximumRaw = true, value
	r.maximum, _ = parseNumber(string(value))
	if r.defaultValue == nil {
		if r.aliasID != r.id || r.name == maxOutputTokens {
			r.defaultValue, r.defaultReason = value, "=limited"
		}
		return
	}
	if configured, _ := parseNumber(string(r.defaultValue)); configured > r.maximum {
		bad.add("params", "%s is %s, above its limit of %s", r.name, r.defaultValue, value)
	}
}

func setDropped(bad *problems, ep *endpoint, name string) {
	switch {
	case name == "model" || name == "messages" || name == "input" || name == "stream":
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
	r.dropped, r.aliasID = true, r.id // each spelling is dropped by its own name
}

// isParameterName refuses what cannot name a parameter, and other spellings of those that the schema knows.
func isParameterName(bad *problems, set *parameterSet, key, name string) bool {
	if !parameterName.MatchString(name) {
		bad.add(key, "%q is no name of a parameter", name)
		return false
	}
	if id, known := set.folded[fold(name)]; known && set.list[id].name != name {
		bad.add(key, "%q is no name of a parameter; did you mean %q?", name, set.list[id].name)
		return false
	}
	return true
}

// parseNumberKey returns the JSON of a configured number, nil without one, and where there is no such parameter.
func parseNumberKey(bad *problems, k parameterKey, set *parameterSet) []byte {
	id, known := set.ids[k.name]
	if isUnset(k.value) || !known {
		return nil
	}
	number, ok := parseNumber(k.value)
	if !ok {
		bad.add(k.key, "%q is not a number", fmt.Sprint(k.value))
		return nil
	}
	value := []byte(strconv.FormatFloat(number, 'f', -1, 64))
	if apiErr := checkParameter(set.list[id], k.key, value); apiErr != nil {
		bad.add(k.key, "%s", apiErr.message)
		return nil
	}
	return value
}

// parseExtra returns the keys of params.extra in order, without those that belong elsewhere: at completions they are all
// but those that are meant for others, at other endpoints those that the schema knows.
func parseExtra(bad *problems, extra map[string]any, own []parameterKey, ep *endpoint) []parameterKey {
	var keys []parameterKey
	spellings := map[string]string{}
	for _, name := range sortedKeys(extra) {
		key := "params.extra." + name
		elsewhere := ""
		for _, k := range own {
			if k.name == name {
				elsewhere = k.key
			}
		}
		switch {
		case elsewhere != "":
			bad.add(key, "has a key of its own, %q", elsewhere)
		case name == "model":
			bad.add(key, "has a key of its own, %q", "model")
		case name == "messages" || name == "input" || name == "stream":
			bad.add(key, "is the client's to choose")
		case spellings[fold(name)] != "":
			bad.add(key, "is another spelling of %q", spellings[fold(name)])
		case isParameterName(bad, ep.parameters, key, name):
			spellings[fold(name)] = name
			if _, known := ep.parameters.ids[name]; known || (ep.kind == completions && !ep.elsewhere[name]) {
				keys = append(keys, parameterKey{key, name, extra[name]})
			}
		}
	}
	return keys
}

// parseExtraKey returns the JSON of a parameter in params.extra: typed, or as it came if the schema takes it only so.
func parseExtraKey(bad *problems, k parameterKey, set *parameterSet) []byte {
	value := marshal(typedValue(k.value))
	id, published := set.ids[k.name]
	if !published || checkParameter(set.list[id], k.key, value) == nil {
		return value
	}
	value = marshal(k.value)
	if apiErr := checkParameter(set.list[id], k.key, value); apiErr != nil {
		bad.add(k.key, "%s", apiErr.message)
		return nil
	}
	return value
}

// typedValue gives a value the type that it had before Traefik's file provider or a label made strings of all scalars.
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
