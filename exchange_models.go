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

// model is an element of OpenAI's list of models.
type model struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"` // unknown: 0
	OwnedBy string `json:"owned_by"`
}

// modelList is OpenAI's list of models.
type modelList struct {
	Data []json.RawMessage `json:"data"`
}

// listModels responds with the models that a client may use, or with the requested one, or returns
// the request that is to be forwarded.
func listModels(p *policy, rw http.ResponseWriter, req *http.Request) *http.Request {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		rw.Header().Set("Allow", "GET, HEAD, OPTIONS")
		writePolicyError(rw, methodNotAllowed(req.Method, http.MethodGet))
		return nil
	}
	if p.reportOnly {
		return preparePassthrough(p, passthrough, rw, req)
	}
	if one := p.modelPath.FindStringSubmatch(req.URL.Path); one != nil {
		return showModel(p, rw, req, one[1])
	}
	if p.models.named != nil {
		var listed [][]byte
		for _, name := range sortedKeys(p.models.named) {
			listed = append(listed, modelObject(p, name))
		}
		writeJSON(rw, http.StatusOK, listOf(listed))
		return nil
	}
	filterModels(p, rw, req)
	return nil
}

// modelObject returns the JSON of a model that the configuration names.
func modelObject(p *policy, name string) []byte {
	return marshal(model{ID: name, Object: "model", OwnedBy: p.providers[0].endpoints[completions].target.Provider})
}

// showModel responds with one model, or returns the request that is to be forwarded.
func showModel(p *policy, rw http.ResponseWriter, req *http.Request, name string) *http.Request {
	target := name
	if aliased, isAlias := p.models.aliases[name]; isAlias {
		target = aliased
	}
	if !isModelName(name) || dotSegment.MatchString(name) || !isAllowed(p.models, target) || (p.models.named != nil && !p.models.named[name]) {
		writePolicyError(rw, modelNotFound(name))
		return nil
	}
	if p.models.named != nil || target != name {
		writeJSON(rw, http.StatusOK, modelObject(p, name))
		return nil
	}
	return startModels(p, rw, req, "/"+url.PathEscape(name))
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
	if cred := p.providers[0].auth.credential; cred != nil {
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
		writePolicyError(rw, apiErr)
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

// filterModels responds with those models of the provider's list that a client may use. If the
// provider responds with an error, the client gets that.
func filterModels(p *policy, rw http.ResponseWriter, req *http.Request) {
	out := startModels(p, rw, req, "")
	if out == nil {
		return
	}
	held := &bufferedResponse{header: http.Header{}}
	bufferModels(p, held, out)
	body := held.body.Bytes()
	if held.status < http.StatusMultipleChoices {
		var ok bool
		if body, ok = filteredList(p, held); !ok || held.incomplete {
			writeAPIError(rw, invalidModelList())
			return
		}
		held.header.Set("Content-Length", strconv.Itoa(len(body)))
		for _, name := range []string{"Content-Encoding", "Etag"} {
			held.header.Del(name)
		}
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

// filteredList returns a provider's list with the aliases, and without models that clients may not
// use. Together sends a bare array. Members other than OpenAI's are left out, since they may be
// lists, too.
func filteredList(p *policy, held *bufferedResponse) ([]byte, bool) {
	body, apiErr := decompress(held.header, held.body.Bytes(), modelListMaxBytes)
	if apiErr != nil {
		return nil, false
	}
	list := &modelList{}
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte{'['}) {
		_ = json.Unmarshal(body, &list.Data)
	} else {
		_ = json.Unmarshal(body, list)
	}
	if list.Data == nil || len(list.Data) > modelListMax {
		return nil, false
	}
	var kept [][]byte
	seen := map[string]bool{}
	for _, element := range list.Data {
		one := &model{}
		_ = json.Unmarshal(element, one) // only the id has to be of its type
		if one.ID != "" && isAllowed(p.models, one.ID) {
			kept = append(kept, element)
			seen[one.ID] = true
		}
	}
	for _, alias := range sortedKeys(p.models.aliases) {
		if !seen[alias] {
			kept = append(kept, modelObject(p, alias))
		}
	}
	return listOf(kept), true
}

// listOf returns the list of the given JSON objects.
func listOf(models [][]byte) []byte {
	return append(append([]byte(`{"object":"list","data":[`), bytes.Join(models, comma)...), "]}"...)
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
