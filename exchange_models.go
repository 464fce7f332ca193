package chatcompletion

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Bounds of a provider's list of models.
const (
	modelListMaxBytes = 8 << 20
	modelListMax      = 3000
	modelListTimeout  = 30 * time.Second
)

// modelResponse is a response to a request for one model: OpenAI's object, Cohere's, which has a
// name, or one in a member data, as OpenRouter sends it.
type modelResponse struct {
	ID   string          `json:"id"`
	Name string          `json:"name"`
	Data json.RawMessage `json:"data"`
}

// listModels responds with the models that a client may use, or with the requested one. In report
// mode, it returns the request that is to be forwarded.
func listModels(p *policy, rw http.ResponseWriter, req *http.Request) *http.Request {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		rw.Header().Set("Allow", "GET, HEAD, OPTIONS")
		writePolicyError(rw, errorsFor(req), methodNotAllowed(req.Method, http.MethodGet))
		return nil
	}
	if p.reportOnly {
		return preparePassthrough(p, passthrough, rw, req)
	}
	if one := p.listedModel.FindStringSubmatch(req.URL.Path); one != nil {
		showModel(p, rw, req, one[1])
		return nil
	}
	if p.models.named != nil {
		of := clientProtocol(req)
		var listed [][]byte
		for _, name := range sortedKeys(p.models.named) {
			if isAllowed(p.models, unaliased(p.models, name)) {
				listed = append(listed, modelObject(p, of, name))
			}
		}
		writeJSON(rw, http.StatusOK, listOf(of, listed, &modelList{}))
		return nil
	}
	filterModels(p, rw, req, "")
	return nil
}

// unaliased returns the provider's name of a model.
func unaliased(rules *modelRules, name string) string {
	if target, isAlias := rules.aliases[name]; isAlias {
		return target
	}
	return name
}

// isListed reports whether clients may see a model, whose alias is resolved to target.
func isListed(rules *modelRules, name, target string) bool {
	return isAllowed(rules, target) && (rules.named == nil || rules.named[name])
}

// showModel responds with one model.
func showModel(p *policy, rw http.ResponseWriter, req *http.Request, name string) {
	target := unaliased(p.models, name)
	if !isModelName(name) || dotSegment.MatchString(name) || !isListed(p.models, name, target) {
		writePolicyError(rw, errorsFor(req), modelNotFound(name))
		return
	}
	if p.models.named != nil || target != name {
		writeJSON(rw, http.StatusOK, modelObject(p, clientProtocol(req), name))
		return
	}
	filterModels(p, rw, req, name)
}

// showPathModel returns a request for the model in the path, if a client may use it; nil: it was
// rejected.
func showPathModel(p *policy, rw http.ResponseWriter, req *http.Request) *http.Request {
	parsed, isOne := parseModelPath(req.URL)
	target := unaliased(p.models, parsed.model)
	if parsed.action != "" {
		writePolicyError(rw, googleErrors, methodNotAllowed(req.Method, http.MethodPost))
		return nil
	}
	if !p.reportOnly && (!isOne || !isListed(p.models, parsed.model, target)) {
		writePolicyError(rw, googleErrors, modelNotFound(parsed.model))
		return nil
	}
	pl := &plan{decision: &decision{model: []string{target}}}
	if apiErr := addressProvider(p.providers[0], generateContent, pl, req); apiErr != nil {
		writePolicyError(rw, googleErrors, apiErr)
		return nil
	}
	for _, name := range notForModels {
		delete(req.Header, name)
	}
	removeBody(req)
	if pl.path != "" {
		setPath(req, pl.path)
	}
	return req
}

// notForModels are request headers that would change the request, or yield something else than the
// whole list.
var notForModels = []string{
	"Connection", "Upgrade", "X-Http-Method-Override", "Content-Length", "Accept-Encoding", "Range",
	"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range",
}

// modelsRequest is what chained instances know of a request for models, which is not governed.
type modelsRequest struct {
	suffix    string // of the path, after that of the list
	keyHeader string // that carries the key of the provider of the instance before; empty: it has none
}

// startModels returns the request for the provider's list, or for the model that suffix names; nil:
// it was rejected.
func startModels(p *policy, rw http.ResponseWriter, req *http.Request, suffix string) *http.Request {
	models := &modelsRequest{suffix: suffix}
	if cred := p.providers[0].auths[clientProtocol(req).name].credential; cred != nil {
		models.keyHeader = cred.header
	}
	ctx := context.WithValue(req.Context(), exchangeKey, &exchange{models: models})
	return forwardedModels(p, rw, req.WithContext(ctx), suffix)
}

// forwardedModels returns a request for models with the key and the path of the provider; nil: it
// was rejected. It is a GET, since a response to HEAD has no body to filter.
func forwardedModels(p *policy, rw http.ResponseWriter, req *http.Request, suffix string) *http.Request {
	out, pl := cloneRequest(req), &plan{}
	if apiErr := addressProvider(p.providers[0], models, pl, out); apiErr != nil {
		writePolicyError(rw, errorsFor(req), apiErr)
		return nil
	}
	for _, name := range notForModels {
		delete(out.Header, name)
	}
	out.Method = http.MethodGet
	removeBody(out)
	if pl.path != "" {
		setPath(out, pl.path+suffix)
	}
	return out
}

// filterModels responds with those models of the provider's list that a client may use, or with the
// one of a name. If the provider responds with an error, the client gets that.
func filterModels(p *policy, rw http.ResponseWriter, req *http.Request, name string) {
	suffix := ""
	if name != "" {
		suffix = "/" + url.PathEscape(name)
	}
	out := startModels(p, rw, req, suffix)
	if out == nil {
		return
	}
	held := &bufferedResponse{header: http.Header{}}
	bufferModels(p, held, out)
	body := held.body.Bytes()
	if held.status < http.StatusMultipleChoices {
		var apiErr *apiError
		if body, apiErr = filteredModels(p, clientProtocol(req), held, name); apiErr != nil {
			writeAPIError(rw, errorsFor(req), apiErr)
			return
		}
		held.header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	removeLogHeaders(held.header)
	delete(held.header, "Trailer")
	for name, values := range held.header {
		rw.Header()[name] = values
	}
	rw.WriteHeader(held.status)
	_, _ = rw.Write(body)
}

// bufferModels reads the provider's response into memory. A reverse proxy panics if the response
// breaks off or is too large.
func bufferModels(p *policy, held *bufferedResponse, out *http.Request) {
	defer func() {
		cause := recover()
		held.incomplete = cause != nil || held.incomplete
		if cause != nil && !isAbort(cause) {
			logPanic(p.name, cause)
		}
	}()
	ctx, cancel := context.WithTimeout(out.Context(), modelListTimeout)
	defer cancel()
	p.providers[0].handler.ServeHTTP(held, out.WithContext(ctx))
}

// filteredModels returns what a client gets of a provider's response: the list without models that
// it may not use, or the model of a name. One model is unchanged. If the provider responds with its
// list to a request for one, the model is picked from it.
func filteredModels(p *policy, of *protocol, held *bufferedResponse, name string) ([]byte, *apiError) {
	body, apiErr := decompress(held.header, held.body.Bytes(), modelListMaxBytes)
	if apiErr != nil || held.incomplete {
		return nil, invalidModelList()
	}
	list, isList := parseModelList(of, body)
	switch {
	case name != "" && !isList && isModel(body):
		return held.body.Bytes(), nil
	case !isList:
		return nil, invalidModelList()
	}
	held.header.Del("Content-Encoding")
	held.header.Del("Etag")
	if name == "" {
		return filteredList(p, of, list), nil
	}
	for _, element := range list.Data {
		if id := listedName(of, element); id == name || id == modelsCollection+"/"+name { // Gemini also knows them without it
			return element, nil
		}
	}
	return nil, modelNotFound(name)
}

// isModel reports whether a response that is not a list of models in OpenAI's form is one model: an
// object that has a name, or no arrays and objects as members, and so no list in another form.
func isModel(body []byte) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil || members == nil {
		return false
	}
	one := &modelResponse{}
	_ = json.Unmarshal(body, one) // whatever the types of its members
	if one.ID != "" || one.Name != "" || listedName(openAIProtocol, one.Data) != "" {
		return !bytes.HasPrefix(one.Data, []byte{'['})
	}
	for _, value := range members {
		if value[0] == '[' || value[0] == '{' {
			return false
		}
	}
	return true
}

// bufferedResponse is a response that is changed before the client gets it.
type bufferedResponse struct {
	header     http.Header
	status     int
	body       bytes.Buffer
	incomplete bool // the body is not whole
}

var errTooLarge = errors.New("the list of models is too large")

// Header returns the header of the response.
func (h *bufferedResponse) Header() http.Header {
	return h.header
}

// WriteHeader keeps the status. Informational responses are dropped.
func (h *bufferedResponse) WriteHeader(status int) {
	if h.status < http.StatusOK {
		h.status = status
	}
}

// Write buffers a chunk, unless the response is too large for a list of models.
func (h *bufferedResponse) Write(chunk []byte) (int, error) {
	if h.status < http.StatusOK {
		h.status = http.StatusOK
	}
	if h.body.Len()+len(chunk) > modelListMaxBytes {
		h.incomplete = true
		return 0, errTooLarge
	}
	return h.body.Write(chunk)
}
