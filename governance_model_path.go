package chatcompletion

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Where the model is in the path, members of the body may name it again. They have to agree with the
// path, and are changed with it, so that no provider can choose between two models.

// resourceName returns the name of a model as Gemini's bodies have it.
func resourceName(model string) string {
	if strings.Contains(model, "/") {
		return model
	}
	return modelsCollection + "/" + model
}

// agreeOnModel returns the error for a member that names another model than the path; nil: it is empty,
// or names that one.
func agreeOnModel(pathModel, named string) *apiError {
	if named == "" || named == pathModel || named == resourceName(pathModel) {
		return nil
	}
	return invalidRequest("ambiguous_model", "model", "The body names the model "+quoted(named)+", and the path "+quoted(pathModel)+". Name one model.")
}

func invalidPathModel() *apiError {
	return invalidRequest("invalid_value", "model", "Invalid 'model': in a path, the name of a model consists of letters, digits and any of _.@~-")
}

// nestedModels are the parameters whose value, or each element of whose value, names the model again.
var nestedModels = map[kind]string{batchEmbedContents: "requests", countContents: "generateContentRequest"}

// batchMax bounds the elements of a batch, each of which is read.
const batchMax = 250

// decideNestedModels checks and replaces the models in the body.
func decideNestedModels(ep *endpoint, obj *jsonObject, draft *decisionDraft) *apiError {
	name := nestedModels[ep.kind]
	place := 0
	if name != "" {
		place = obj.found[ep.parameters.ids[name]]
	}
	if place == 0 || obj.skeleton[obj.members[place-1].start] == 'n' {
		return nil
	}
	m := &obj.members[place-1]
	value := bodyValue(obj, m)
	elements := []json.RawMessage{value}
	isBatch := value[0] == '['
	if isBatch {
		elements = nil
		if json.Unmarshal(value, &elements) != nil || len(elements) > batchMax {
			return tooMany(name, "elements", batchMax, len(elements))
		}
	}
	isChanged, set := false, newParameterSet(modelParameters())
	parts := make([][]byte, len(elements))
	for i, element := range elements {
		path := name
		if isBatch {
			path = elementPath(name, i)
		}
		changed, apiErr := decideNestedModel(ep, set, path, element, draft)
		if apiErr != nil {
			return apiErr
		}
		isChanged = isChanged || len(changed) != len(element) || !bytes.Equal(changed, element)
		parts[i] = changed
	}
	if isChanged && isBatch {
		m.replacement = jsonArray(parts)
	} else if isChanged {
		m.replacement = parts[0]
	}
	return nil
}

// decideNestedModel returns what a provider is sent for an object that may name the model, the only parameter of
// the set.
func decideNestedModel(ep *endpoint, set *parameterSet, path string, value []byte, draft *decisionDraft) ([]byte, *apiError) {
	if value[0] != '{' {
		return nil, wrongType(path, "an object", value)
	}
	inner := wholeJSONObject(value)
	apiErr := readParameters(inner, set)
	if apiErr == nil {
		apiErr = agreeOnModel(ep.pathModel, requestedModel(inner))
	}
	if apiErr != nil {
		apiErr.param = path + ".model"
		return nil, apiErr
	}
	if place := inner.found[modelID]; place != 0 && draft.model != ep.pathModel {
		inner.members[place-1].replacement = marshal(resourceName(draft.model))
		return bytes.Join(splice(inner, edits(inner, nil)), nil), nil
	}
	return value, nil
}
