package chatcompletion

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// modelPath is the path of a request to an endpoint whose model is in the path, as in
// /v1beta/models/gemini-2.5-flash:generateContent.
type modelPath struct {
	prefix string // before models/ or tunedModels/, without the slash at its end
	model  string // without models/
	action string
}

// modelPathForm matches the only spelling of such a path that is accepted: what a provider is sent is
// made of its parts, so that no server can read another model in it.
var modelPathForm = regexp.MustCompile(`^((?:/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)*)/(models|tunedModels)/([A-Za-z0-9_][A-Za-z0-9_.@~-]*)(?::([A-Za-z]+))?$`)

// modelSegment matches models that are one plain segment of such a path, or two.
var modelSegment = regexp.MustCompile(`^(?:(?:models|tunedModels)/)?[A-Za-z0-9_][A-Za-z0-9_.@~-]*$`)

// parseModelPath parses the path of a request, and reports whether it has a model.
func parseModelPath(target *url.URL) (parsed modelPath, isOne bool) {
	parts := modelPathForm.FindStringSubmatch(target.Path)
	if len(target.Path) > pathMaxBytes || parts == nil {
		return modelPath{}, false
	}
	model := parts[3]
	if parts[2] != modelsCollection {
		model = parts[2] + "/" + model
	}
	return modelPath{prefix: parts[1], model: model, action: parts[4]}, true
}

// The collections of models in a path. The first one is left out of names.
const (
	modelsCollection = "models"
	tunedCollection  = "tunedModels"
)

// plainModel returns the name of a model without its collection: Gemini lists its models with it, and knows
// them by both names.
func plainModel(model string) string {
	return strings.TrimPrefix(model, modelsCollection+"/")
}

// modelPathOf returns the escaped path of an action of a model after a prefix.
func modelPathOf(prefix, model, action string) string {
	name, isTuned := strings.CutPrefix(model, tunedCollection+"/")
	collection := modelsCollection
	if isTuned {
		collection = tunedCollection
	}
	name = plainModel(name)
	if action != "" {
		action = ":" + action
	}
	return prefix + "/" + collection + "/" + url.PathEscape(name) + action
}

// pathEndpoints are the endpoints for requests with the model in the path: those of the actions, and copies of
// them for the paths of requests, since a decision depends on the path, too.
type pathEndpoints struct {
	byAction map[string]*endpoint

	mu     sync.RWMutex
	byPath map[string]*endpoint
}

// Bounds of pathEndpoints.byPath: applications use few models, and clients choose the paths.
const (
	maxPathEndpoints  = 32
	pathCacheMaxBytes = 128 << 10 // of the skeletons of one
)

// pathEndpoint returns the endpoint for the action and the model in the path of a request.
func pathEndpoint(all *pathEndpoints, req *http.Request) (*endpoint, *apiError) {
	all.mu.RLock()
	ep := all.byPath[req.URL.Path]
	all.mu.RUnlock()
	if ep != nil {
		return ep, nil
	}
	parsed, isOne := parseModelPath(req.URL)
	if !isOne || parsed.action == "" {
		return nil, notModelPath()
	}
	base := all.byAction[parsed.action]
	if base == nil {
		return nil, unknownAction(parsed.action, all.byAction)
	}
	return newPathEndpoint(all, base, req.URL.Path, parsed.model), nil
}

// newPathEndpoint returns and remembers the endpoint of an action for a path. Those of an action share the
// memory of conversations, whose validity does not depend on the model.
func newPathEndpoint(all *pathEndpoints, base *endpoint, path, model string) *endpoint {
	own := *base
	own.pathModel = model
	own.cache = newDecisionCache(pathCacheMaxBytes)
	own.versions = &promptVersions{}
	own.prompt = promptAtPath(base.prompt, path)
	all.mu.Lock()
	if len(all.byPath) >= maxPathEndpoints {
		all.byPath = map[string]*endpoint{}
	}
	all.byPath[path] = &own
	all.mu.Unlock()
	return &own
}

func notModelPath() *apiError {
	apiErr := modelNotFound("")
	apiErr.code = "invalid_model_path"
	apiErr.message = "The path does not name a model and an action, as in /v1beta/models/gemini-2.5-flash:generateContent."
	return apiErr
}

func unknownAction(action string, byAction map[string]*endpoint) *apiError {
	apiErr := modelNotFound("")
	apiErr.code = "unknown_action"
	apiErr.param = ""
	apiErr.message = "The gateway does not know the action " + quoted(action) + " of a model. Use one of: " + strings.Join(sortedKeys(byAction), ", ") + "."
	return apiErr
}
