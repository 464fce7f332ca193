package chatcompletion

import (
	"net/http"
	"strconv"
	"strings"
)

// decideModel finds the model: the client's or the configured one, then its alias, then whether it is allowed.
func decideModel(p *policy, ep *endpoint, req *http.Request, obj *jsonObject, draft *decisionDraft) *apiError {
	draft.requestedModel = requestedModel(obj)
	if draft.requestedModel == "" && ep.kind == governedPassthrough {
		return nil
	}
	draft.model = draft.requestedModel
	configured := p.model
	if p.modelTemplate != nil && (draft.requestedModel == "" || !p.modelOverride) {
		var apiErr *apiError
		if configured, apiErr = render(p.modelTemplate, req); apiErr != nil {
			return apiErr
		}
	}
	why := ""
	if draft.requestedModel == "" {
		draft.model, why = configured, "model=set"
	} else if draft.requestedModel != configured && !p.modelOverride {
		draft.model, why = configured, "model=enforced"
	}
	if !isModelName(draft.requestedModel) || !isModelName(draft.model) {
		return invalidModel()
	}
	if target, isAlias := p.aliases[draft.model]; isAlias {
		draft.model = target
		if why == "" {
			why = "model=aliased"
		}
	}
	if draft.model == "" {
		return noModel()
	}
	if !isAllowed(p, draft.model) {
		return modelNotAllowed(p, draft)
	}
	if draft.model != draft.requestedModel {
		replaceModel(obj, draft, why)
	}
	return nil
}

// requestedModel returns the model that the client asks for: "", null and none are the same.
func requestedModel(obj *jsonObject) string {
	place := obj.found[modelID]
	if place == 0 {
		return ""
	}
	value := bodyValue(obj, &obj.members[place-1])
	if value[0] == 'n' {
		return ""
	}
	return unquote(value)
}

func replaceModel(obj *jsonObject, draft *decisionDraft, why string) {
	draft.reasons = append(draft.reasons, why)
	value := marshal(draft.model)
	if place := obj.found[modelID]; place != 0 {
		obj.members[place-1].replacement = value
		return
	}
	draft.additions = append(append(draft.additions, `,"model":`...), value...)
}

func noModel() *apiError {
	return invalidRequest("missing_required_parameter", "model", "you must provide a model parameter")
}

// modelNotAllowed refuses the model of a request, and says which ones there are.
func modelNotAllowed(p *policy, draft *decisionDraft) *apiError {
	asked := draft.requestedModel
	if asked == "" || !p.modelOverride {
		asked = draft.model
	}
	apiErr := modelNotFound(asked)
	apiErr.message += " Ask for one of: " + p.allowedText + "."
	return apiErr
}

// isAllowed tells whether a model may be used. Gemini lists its models with a folder in front, and knows them without.
func isAllowed(p *policy, model string) bool {
	return p.allowedModels == nil || p.allowedModels.MatchString(model) ||
		p.allowedModels.MatchString(strings.TrimPrefix(model, "models/"))
}

// modelMaxBytes bounds a model's name: it goes into a header and into telemetry.
const modelMaxBytes = 256

// notInModels may stand in no name of a model. The replacement character stands for all that is not UTF-8 and for half
// surrogate pairs, which parsers read differently.
const notInModels = controlCharacters + "\ufffd"

// isModelName tells whether the text can be the name of a model, wherever it came from.
func isModelName(model string) bool {
	return len(model) <= modelMaxBytes && !strings.ContainsAny(model, notInModels)
}

func invalidModel() *apiError {
	return invalidRequest("invalid_value", "model", "Invalid 'model': the name of a model is UTF-8 of at most "+
		strconv.Itoa(modelMaxBytes)+" bytes without control characters.")
}
