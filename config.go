package chatcompletion

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// Values of Config.Mode.
const (
	modeEnforce = "enforce"
	modeReport  = "report"
)

// policy is a configuration with all decided that can be decided once.
type policy struct {
	model               string // enforced, or the default where clients may choose
	modelOverride       bool
	aliases             map[string]string
	allowedModels       *regexp.Regexp // nil: all
	allowedText         string         // the patterns, for the client
	params              []setting
	paramsOverride      bool
	limits              []limit
	governsTokenLimit   bool
	dropped             []string
	schema              map[string]parameter
	names               map[string]string // foldedNames of what the schema or the configuration knows
	modelHeader         string            // canonical
	credential          *credential       // nil: the client's own credentials pass
	maxRequestBodyBytes int64
	report              bool
}

// problems collects what is wrong with a configuration, so that all is said at once.
type problems struct {
	found []string
}

// add notes a problem; text says what is wrong with the value at key.
func (p *problems) add(key, format string, args ...any) {
	p.found = append(p.found, key+": "+fmt.Sprintf(format, args...))
}

// newPolicy checks the configuration and decides what it means.
func newPolicy(config *Config, name string) (*policy, error) {
	bad := &problems{}
	checkUnknown(bad, config)

	p := &policy{
		model:         strings.TrimSpace(config.Model),
		aliases:       config.ModelAliases,
		schema:        chatParameters(),
		report:        parseMode(bad, config.Mode),
		modelHeader:   parseModelHeader(bad, config),
		credential:    parseCredential(bad, config),
		modelOverride: parseBool(bad, "allowModelOverride", config.AllowModelOverride, config.Model == ""),
	}
	p.paramsOverride = parseBool(bad, "allowParamsOverride", config.AllowParamsOverride, false)
	p.maxRequestBodyBytes = parseBytes(bad, "maxRequestBodySize", config.MaxRequestBodySize)
	p.params = parseParams(bad, config.Params, p.schema)
	p.limits = parseLimits(bad, config.Limits, p.schema)
	p.dropped = parseNames(config.DropParams)
	p.names = foldedNames(knownNames(p))
	parseAllowedModels(bad, config.AllowedModels, p)
	checkModels(bad, p)
	checkParams(bad, p)

	if len(bad.found) > 0 {
		return nil, errors.New("chat-completion middleware " + strconv.Quote(name) + ": " + strings.Join(bad.found, "; "))
	}
	return p, nil
}

func parseMode(bad *problems, mode string) bool {
	switch strings.ToLower(mode) {
	case modeEnforce, "":
		return false
	case modeReport:
		return true
	}
	bad.add("mode", "%q is neither %q nor %q", mode, modeEnforce, modeReport)
	return false
}

// reservedHeaders cannot carry the model: HTTP needs them otherwise.
var reservedHeaders = map[string]bool{
	"Host": true, "Content-Length": true, "Content-Type": true, "Content-Encoding": true, "Transfer-Encoding": true,
	"Connection": true, "Accept-Encoding": true, "Authorization": true, "Cookie": true, "Upgrade": true, "Te": true, "Trailer": true,
}

var headerName = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")

func parseModelHeader(bad *problems, config *Config) string {
	name := http.CanonicalHeaderKey(config.ModelHeader)
	switch {
	case !headerName.MatchString(name):
		bad.add("modelHeader", "%q is no name of a header", config.ModelHeader)
	case reservedHeaders[name], name == http.CanonicalHeaderKey(config.AuthHeader.Name):
		bad.add("modelHeader", "%q is needed for something else", config.ModelHeader)
	}
	return name
}

func parseCredential(bad *problems, config *Config) *credential {
	name := config.AuthHeader.Name
	if !headerName.MatchString(name) {
		bad.add("authHeader.name", "%q is no name of a header", name)
	}
	prefix := ""
	if http.CanonicalHeaderKey(name) == "Authorization" {
		prefix = "Bearer "
	}
	if config.AuthHeader.Prefix != nil {
		prefix = *config.AuthHeader.Prefix
		if strings.ContainsAny(prefix, controlCharacters) {
			bad.add("authHeader.prefix", "%q has a character that cannot stand in a header", prefix)
		}
		if word := strings.TrimSpace(prefix); word != "" && word == prefix && !strings.HasSuffix(word, "=") && !strings.HasSuffix(word, ":") {
			prefix += " " // labels cannot end in a space, and YAML rarely does
		}
	}
	c, problem := newCredential(config.Token, name, prefix)
	if problem != "" {
		bad.add("token", "%s", problem)
	}
	return c
}

func parseBool(bad *problems, key string, value any, byDefault bool) bool {
	switch v := value.(type) {
	case nil:
		return byDefault
	case bool:
		return v
	case string:
		switch strings.ToLower(strings.TrimSpace(v)) {
		case "true":
			return true
		case "false":
			return false
		case "":
			return byDefault
		}
	}
	bad.add(key, "%q is neither true nor false", fmt.Sprint(value))
	return byDefault
}

func parseBytes(bad *problems, key string, value any) int64 {
	number, ok := parseNumber(value)
	if !ok || number != math.Trunc(number) || number < 1 || number > math.MaxInt32 {
		bad.add(key, "%q is not a whole number of bytes from 1 to %d", fmt.Sprint(value), math.MaxInt32)
	}
	return int64(number)
}

// parseNumber reads a number that came as one or as a string.
func parseNumber(value any) (float64, bool) {
	text := strings.TrimSpace(fmt.Sprint(value))
	if !json.Valid([]byte(text)) {
		return 0, false // so that no "Inf", "0x10" or "1_000" passes, which ParseFloat takes
	}
	number, err := strconv.ParseFloat(text, 64)
	return number, err == nil
}

// numberSetting is a configured number: its key, its name in the request, and its value.
type numberSetting struct {
	key   string
	name  string
	value any
}

func parseParams(bad *problems, params Params, schema map[string]parameter) []setting {
	var settings []setting
	own := []numberSetting{
		{"params.temperature", "temperature", params.Temperature},
		{"params.topP", "top_p", params.TopP},
		{"params.maxTokens", maxTokens, params.MaxTokens},
		{"params.maxCompletionTokens", maxCompletionTokens, params.MaxCompletionTokens},
		{"params.frequencyPenalty", "frequency_penalty", params.FrequencyPenalty},
		{"params.presencePenalty", "presence_penalty", params.PresencePenalty},
	}
	ownKey := map[string]string{"model": "model", "messages": "", "stream": ""}
	for _, s := range own {
		ownKey[s.name] = s.key
		if value := parseNumberSetting(bad, s, schema); value != nil {
			settings = append(settings, setting{s.name, value})
		}
	}
	names := make([]string, 0, len(params.Extra))
	for name := range params.Extra {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		key := "params.extra." + name
		if other, taken := ownKey[name]; taken {
			if other == "" {
				bad.add(key, "cannot be set, only the client knows it")
			} else {
				bad.add(key, "is set by %q", other)
			}
			continue
		}
		if !parameterName.MatchString(name) {
			bad.add(key, "%q is no name of a parameter", name)
			continue
		}
		value, err := json.Marshal(typedExtra(params.Extra[name], schema[name].jsonType))
		if err != nil {
			bad.add(key, "cannot be written as JSON")
			continue
		}
		if p, published := schema[name]; published {
			if r := checkParameter(key, p, value); r != nil {
				bad.add(key, "%s", r.message)
				continue
			}
		}
		settings = append(settings, setting{name, value})
	}
	return settings
}

// parameterName is what the name of a parameter looks like; such a name needs no escapes in JSON.
var parameterName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,63}$`)

// typedExtra gives a value the type that it had before Traefik's file provider or a label made strings of all scalars.
func typedExtra(value any, want jsonType) any {
	switch v := value.(type) {
	case string:
		var typed any
		if want == stringType || json.Unmarshal([]byte(v), &typed) != nil {
			return v
		}
		return json.RawMessage(v)
	case []any:
		list := make([]any, len(v))
		for i, element := range v {
			list[i] = typedExtra(element, anyType)
		}
		return list
	case map[string]any:
		members := make(map[string]any, len(v))
		for name, member := range v {
			members[name] = typedExtra(member, anyType)
		}
		return members
	}
	return value
}

func parseNumberSetting(bad *problems, s numberSetting, schema map[string]parameter) []byte {
	if s.value == nil || s.value == "" {
		return nil
	}
	number, ok := parseNumber(s.value)
	if !ok {
		bad.add(s.key, "%q is not a number", fmt.Sprint(s.value))
		return nil
	}
	value := []byte(strconv.FormatFloat(number, 'f', -1, 64))
	if r := checkParameter(s.key, schema[s.name], value); r != nil {
		bad.add(s.key, "%s", r.message)
		return nil
	}
	return value
}

func parseLimits(bad *problems, limits Limits, schema map[string]parameter) []limit {
	var ceilings []limit
	for _, s := range []numberSetting{
		{"limits.temperature", "temperature", limits.Temperature},
		{"limits.topP", "top_p", limits.TopP},
		{"limits.maxTokens", maxTokens, limits.MaxTokens},
		{"limits.maxCompletionTokens", maxCompletionTokens, limits.MaxCompletionTokens},
		{"limits.frequencyPenalty", "frequency_penalty", limits.FrequencyPenalty},
		{"limits.presencePenalty", "presence_penalty", limits.PresencePenalty},
		{"limits.n", "n", limits.N},
	} {
		if value := parseNumberSetting(bad, s, schema); value != nil {
			maximum, _ := parseNumber(s.value)
			ceilings = append(ceilings, limit{s.name, maximum, value})
		}
	}
	return ceilings
}

func parseNames(names []string) []string {
	var trimmed []string
	for _, name := range names {
		if name = strings.TrimSpace(name); name != "" {
			trimmed = append(trimmed, name)
		}
	}
	return trimmed
}

// knownNames returns the names that may stand in a request only once and in one spelling.
func knownNames(p *policy) []string {
	var names []string
	for name := range p.schema {
		names = append(names, name)
	}
	for _, s := range p.params {
		names = append(names, s.name)
	}
	return append(names, p.dropped...)
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

// checkModels finds what the keys about models say against each other.
func checkModels(bad *problems, p *policy) {
	if r := checkModelName("model", p.model); r != nil {
		bad.add("model", "%s", r.message)
	}
	if strings.Contains(p.model, "$(") {
		bad.add("model", "%q: templates are not supported yet", p.model)
	}
	if p.model == "" && !p.modelOverride {
		bad.add("allowModelOverride", "is false, but there is no model to enforce; set %q", "model")
	}
	aliases := make([]string, 0, len(p.aliases))
	for alias := range p.aliases {
		aliases = append(aliases, alias)
	}
	sort.Strings(aliases)
	for _, alias := range aliases {
		key, target := "modelAliases."+alias, p.aliases[alias]
		if r := checkModelName(key, target); r != nil || target == "" {
			bad.add(key, "%q is no name of a model", target)
		}
		if _, chained := p.aliases[target]; chained && target != alias {
			bad.add(key, "%q is an alias itself", target)
		}
		if p.allowedModels != nil && !p.allowedModels.MatchString(target) {
			bad.add(key, "%q is not among allowedModels (%s)", target, p.allowedText)
		}
	}
	model := p.model
	if target, isAlias := p.aliases[model]; isAlias {
		model = target
	}
	if model != "" && p.allowedModels != nil && !p.allowedModels.MatchString(model) {
		bad.add("model", "%q is not among allowedModels (%s)", model, p.allowedText)
	}
}

// checkParams finds what the keys about parameters say against each other.
func checkParams(bad *problems, p *policy) {
	var limitOfTokens, paramOfTokens string
	ceilings := map[string]limit{}
	for _, l := range p.limits {
		if isTokenLimit(l.name) {
			if limitOfTokens != "" {
				bad.add("limits", "maxTokens and maxCompletionTokens are two spellings of one parameter; set one")
			}
			limitOfTokens = l.name
			ceilings[maxTokens], ceilings[maxCompletionTokens] = l, l
		}
		ceilings[l.name] = l
	}
	governed := map[string]bool{}
	for _, s := range p.params {
		governed[s.name] = true
		if isTokenLimit(s.name) {
			if paramOfTokens != "" {
				bad.add("params", "maxTokens and maxCompletionTokens are two spellings of one parameter; set one")
			}
			paramOfTokens = s.name
		}
		value, isNumber := parseNumber(string(s.value))
		if ceiling, limited := ceilings[s.name]; limited && isNumber && value > ceiling.maximum {
			bad.add("params", "%s is %s, above its limit of %s", s.name, s.value, ceiling.value)
		}
	}
	for name := range ceilings {
		governed[name] = true
	}
	p.governsTokenLimit = limitOfTokens != "" || paramOfTokens != ""
	for _, name := range p.dropped {
		switch {
		case name == "model" || name == "messages" || name == "stream":
			bad.add("dropParams", "%q cannot be dropped", name)
		case governed[name]:
			bad.add("dropParams", "%q is set by params or limits", name)
		case !parameterName.MatchString(name):
			bad.add("dropParams", "%q is no name of a parameter", name)
		}
	}
}
