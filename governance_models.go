package chatcompletion

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// modelRules is what a policy says about the models of requests.
type modelRules struct {
	model       string    // enforced, or the default where clients may choose
	template    *template // of model; nil: model is a literal
	override    bool      // clients may choose their model
	aliases     map[string]string
	allowed     *regexp.Regexp  // nil: all models
	allowedText string          // the patterns, for the client
	consumers   *regexp.Regexp  // models that the consumer of a list of models may use; nil: all of those
	configured  map[string]bool // names in the configuration, which no client made up
	named       map[string]bool // all models that clients may request; nil: the configuration does not name them all
}

// hasModelRules reports whether a policy says anything about models.
func hasModelRules(rules *modelRules) bool {
	return rules.model != "" || rules.aliases != nil || rules.allowed != nil || rules.consumers != nil
}

// decideModel decides on the model of a body.
func decideModel(ep *endpoint, req *http.Request, obj *jsonObject, draft *decisionDraft) *apiError {
	draft.requestedModel = requestedModel(obj)
	if ep.pathModel != "" {
		if apiErr := agreeOnModel(ep.pathModel, draft.requestedModel); apiErr != nil {
			return apiErr
		}
		draft.requestedModel = ep.pathModel
	}
	if draft.requestedModel == "" && ep.kind == governedPassthrough {
		return nil
	}
	reason, apiErr := chooseModel(ep, req, draft)
	if apiErr != nil {
		return apiErr
	}
	if ep.pathModel != "" && ep.models.template != nil && !ep.models.configured[draft.model] && !modelSegment.MatchString(draft.model) {
		return invalidPathModel() // a client chooses it, and would choose a path
	}
	if draft.model != draft.requestedModel {
		replaceModel(ep, obj, draft, reason)
	}
	if ep.pathModel != "" {
		return decideNestedModels(ep, obj, draft)
	}
	return nil
}

// chooseModel chooses the client's model or the configured one, resolves its alias, and checks that it
// is allowed. It returns why the model is another one than the client's.
func chooseModel(ep *endpoint, req *http.Request, draft *decisionDraft) (string, *apiError) {
	rules := ep.models
	draft.model = draft.requestedModel
	configured := rules.model
	if rules.template != nil && (draft.requestedModel == "" || !rules.override) {
		var apiErr *apiError
		if configured, apiErr = render(rules.template, req); apiErr != nil {
			return "", apiErr
		}
	}
	reason := ""
	if draft.requestedModel == "" {
		draft.model, reason = configured, "model=set"
	} else if draft.requestedModel != configured && !rules.override {
		draft.model, reason = configured, "model=enforced"
	}
	if !isModelName(draft.requestedModel) || !isModelName(draft.model) {
		return reason, invalidModel()
	}
	if target, isAlias := rules.aliases[draft.model]; isAlias {
		draft.model = target
		if reason == "" {
			reason = "model=aliased"
		}
	}
	if draft.model == "" {
		if ep.kind == realtime && rules.allowed == nil {
			return reason, nil // a session for transcription, for instance
		}
		return reason, noModel()
	}
	if !isAllowed(rules, draft.model) {
		return reason, modelNotAllowed(rules, draft.requestedModel, draft.model, rules.allowedText)
	}
	return reason, nil
}

// requestedModel returns the model in the body: "", null and a missing member are the same.
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

// replaceModel has the provider sent another model than the client has requested.
func replaceModel(ep *endpoint, obj *jsonObject, draft *decisionDraft, reason string) {
	draft.reasons = append(draft.reasons, reason)
	place := obj.found[modelID]
	if ep.pathModel != "" {
		if place != 0 {
			obj.members[place-1].replacement = marshal(resourceName(draft.model))
		}
		return // the model is in the path
	}
	value := marshal(draft.model)
	if place != 0 {
		obj.members[place-1].replacement = value
		return
	}
	draft.additions = append(append(draft.additions, `,"model":`...), value...)
}

// isAllowed reports whether a model may be used.
func isAllowed(rules *modelRules, model string) bool {
	return matchesModel(rules.allowed, model) && matchesModel(rules.consumers, model)
}

// matchesModel reports whether the patterns of an expression allow a model; nil allows all. Gemini
// lists its models with a prefix, and also knows them without it.
func matchesModel(allowed *regexp.Regexp, model string) bool {
	return allowed == nil || allowed.MatchString(model) || allowed.MatchString(plainModel(model))
}

// compilePatterns returns an expression for the models that match one of the patterns, in which an
// asterisk matches any text.
func compilePatterns(patterns []string) (*regexp.Regexp, error) {
	expressions := make([]string, len(patterns))
	for i, pattern := range patterns {
		expressions[i] = strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`)
	}
	return regexp.Compile(`^(?s:` + strings.Join(expressions, "|") + `)$`)
}

// isModelName reports whether a text can be the name of a model, wherever it came from.
func isModelName(model string) bool {
	return len(model) <= modelMaxBytes && !strings.ContainsAny(model, notInModels)
}

// notInModels are characters that no model name may have. The replacement character stands for
// invalid UTF-8 and for half surrogate pairs, which parsers read differently.
const notInModels = controlCharacters + "\ufffd"

func noModel() *apiError {
	return invalidRequest("missing_required_parameter", "model", "you must provide a model parameter")
}

func invalidModel() *apiError {
	return invalidRequest("invalid_value", "model", "Invalid 'model': the name of a model is UTF-8 of at most "+
		strconv.Itoa(modelMaxBytes)+" bytes without control characters.")
}

// modelNotAllowed is the error for a model that is not allowed. It names what the client knows the model
// by, and lists the models that are allowed.
func modelNotAllowed(rules *modelRules, requested, model, allowedText string) *apiError {
	name := requested
	if name == "" || !rules.override {
		name = model
	}
	apiErr := modelNotFound(name)
	apiErr.message += " Use one of: " + allowedText + "."
	return apiErr
}
