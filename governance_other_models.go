package chatcompletion

import (
	"encoding/json"
	"regexp"
	"strings"
)

// mayNameModel matches a JSON value in which a member may be named "model", in any spelling, or may
// have a name that a skeleton lacks.
var mayNameModel = regexp.MustCompile(`(?i)model|\\u|\x7f"[ \t\r\n]*:`)

// otherModels returns the models that a request names in addition to its own, in elements of arrays:
// of a tool that calls another model, or those that the provider tries if the first one declines. It
// refuses those that the policy does not allow.
func otherModels(ep *endpoint, obj *jsonObject, own string) ([]string, *apiError) {
	var models []string
	for _, id := range ep.naming {
		place := obj.found[id]
		if place == 0 || obj.members[place-1].removed {
			continue
		}
		more, apiErr := modelsNamed(obj, &obj.members[place-1])
		if apiErr != nil {
			return nil, apiErr
		}
		models = append(models, more...)
	}
	if models == nil {
		return nil, nil
	}
	return models, checkOtherModels(ep.models, own, models)
}

// modelsNamed returns the models that the elements of an array name, or a text in its place.
func modelsNamed(obj *jsonObject, m *member) ([]string, *apiError) {
	value := skeletonValue(obj, m)
	if value[0] == '"' {
		return []string{unquote(bodyValue(obj, m))}, nil
	}
	if value[0] != '[' || !mayNameModel.Match(value) {
		return nil, nil
	}
	var elements []json.RawMessage
	if json.Unmarshal(bodyValue(obj, m), &elements) != nil {
		return nil, wrongType(m.name, "an array of objects", value)
	}
	var models []string
	for i, element := range elements {
		if element[0] != '{' || !mayNameModel.Match(element) {
			continue
		}
		model, apiErr := modelOf(elementPath(m.name, i), element)
		if apiErr != nil {
			return nil, apiErr
		}
		if model != "" {
			models = append(models, model)
		}
	}
	return models, nil
}

// modelOf returns the model that an object names, "" if it names none. It refuses what two parsers
// could read differently.
func modelOf(path string, element json.RawMessage) (string, *apiError) {
	obj := wholeJSONObject(element)
	if apiErr := readMembers(obj); apiErr != nil {
		return "", apiErr
	}
	model := ""
	isGiven := false
	for i := range obj.members {
		m := &obj.members[i]
		if fold(m.name) != "model" {
			continue
		}
		if isGiven || m.name != "model" {
			return "", ambiguousName(path+"."+m.name, path+".model")
		}
		isGiven = true
		value := element[m.start:m.end]
		if value[0] == 'n' {
			continue
		}
		if value[0] != '"' {
			return "", wrongType(path+".model", "a string", value)
		}
		model = unquote(value)
	}
	return model, nil
}

// checkOtherModels returns the error for models that a request names in addition to its own, and may
// not use: where the model is enforced, all but that one.
func checkOtherModels(rules *modelRules, own string, others []string) *apiError {
	for _, model := range others {
		if isModelName(model) && (rules.override || model == own) && isAllowed(rules, model) {
			continue
		}
		apiErr := modelNotFound(strings.ToValidUTF8(model, "\ufffd"))
		if rules.override && rules.allowedText != "" {
			apiErr.message += " Use one of: " + rules.allowedText + "."
		}
		return apiErr
	}
	return nil
}
