package chatcompletion

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// upgradesToWebSocket reports whether a request is one to upgrade its connection to a WebSocket.
func upgradesToWebSocket(req *http.Request) bool {
	upgrade := req.Header["Upgrade"]
	return req.Method == http.MethodGet && len(upgrade) == 1 && strings.EqualFold(strings.TrimSpace(upgrade[0]), webSocket) &&
		upgradeToken.MatchString(strings.Join(req.Header["Connection"], ","))
}

const webSocket = "websocket"

var upgradeToken = regexp.MustCompile(`(?i)(^|,)[ \t]*upgrade[ \t]*(,|$)`)

// planHandshake decides on a request for a WebSocket whose query names the model. The decision is that
// on a body with nothing but the model.
func planHandshake(ep *endpoint, req *http.Request) (*plan, *apiError) {
	switch {
	case req.Method != http.MethodGet:
		return new(plan), methodNotAllowed(req.Method, http.MethodGet)
	case !upgradesToWebSocket(req):
		return new(plan), upgradeRequired()
	case req.ContentLength != 0 || req.TransferEncoding != nil:
		return new(plan), invalidRequest("invalid_request", "", "A request for a WebSocket must not have a body.")
	}
	name, apiErr := queryModel(req.URL.RawQuery)
	pl := &plan{decoded: modelBody(name)}
	if apiErr != nil {
		return pl, apiErr
	}
	return planBody(ep, req, pl)
}

// modelBody returns the body that decisions on a request with its model in the query are made on.
func modelBody(name string) []byte {
	if name == "" {
		return []byte("{}")
	}
	return []byte(`{"model":` + string(marshal(name)) + `}`)
}

// modelParameter matches the parameters of a query that name the model, and what some servers take for
// such a one. Azure's first realtime API calls the model a deployment.
var modelParameter = regexp.MustCompile(`(?i)(?:^|[&;?#])[\s+]*(?:model|deployment)[\s+]*(?:[=&;\[.#\x00]|$)`)

// plainModelParameter matches a model in a query that nobody reads in another way.
var plainModelParameter = regexp.MustCompile(`(?:^|&)(model|deployment)=([^&;#+]*)(?:&|$)`)

// queryModel returns the model that a query names, "" if it names none.
func queryModel(query string) (string, *apiError) {
	plain := plainModelParameter.FindAllStringSubmatch(query, 2)
	if len(plain) > 1 {
		return "", ambiguousModel()
	}
	text := query
	for i := 0; i < 3; i++ {
		if len(modelParameter.FindAllStringIndex(text, 2)) != len(plain) {
			return "", ambiguousModel()
		}
		decoded, err := url.PathUnescape(text) // which keeps + as it is
		if err != nil && i == 0 {
			return "", ambiguousModel() // parsers disagree on the rest
		}
		if err != nil || decoded == text {
			break
		}
		text = decoded
	}
	if len(plain) == 0 {
		return "", nil
	}
	name, err := url.QueryUnescape(plain[0][2])
	if err != nil {
		return "", ambiguousModel()
	}
	return name, nil
}

// setQueryModel returns a query with another model in its place, or added to it.
func setQueryModel(query, name string) string {
	place := plainModelParameter.FindStringSubmatchIndex(query)
	if place == nil {
		if query != "" {
			query += "&"
		}
		return query + "model=" + url.QueryEscape(name)
	}
	start, end := place[4], place[5]
	if before, err := url.QueryUnescape(query[start:end]); err == nil && before == name {
		return query
	}
	return query[:start] + url.QueryEscape(name) + query[end:]
}

// writeHandshake turns the client's request for a WebSocket into the one that the provider is sent.
// Without extensions, the messages are not compressed.
func writeHandshake(pl *plan, req *http.Request, modelHeader string) {
	header := req.Header
	header["Connection"] = []string{"Upgrade"}
	header["Upgrade"] = []string{webSocket}
	delete(header, extensionsHeader)
	delete(header, "Accept-Encoding")
	if pl.path != "" {
		setPath(req, pl.path)
	}
	if pl.decision.model != nil {
		header[modelHeader] = pl.decision.model
		if pl.pieces != nil {
			req.URL.RawQuery = setQueryModel(req.URL.RawQuery, pl.decision.model[0])
			req.RequestURI = req.URL.RequestURI() // see setPath
		}
	}
}

// extensionsHeader offers extensions of a WebSocket, or names those in use.
const extensionsHeader = "Sec-Websocket-Extensions"

// setHandshakeHeaders sets the headers of an error that say how the endpoint must be called.
func setHandshakeHeaders(header http.Header, apiErr *apiError) {
	switch apiErr.status {
	case http.StatusMethodNotAllowed:
		header["Allow"] = []string{"GET, OPTIONS"}
	case http.StatusUpgradeRequired:
		header["Connection"] = []string{"Upgrade"}
		header["Upgrade"] = []string{webSocket}
	}
}

func upgradeRequired() *apiError {
	return &apiError{http.StatusUpgradeRequired, invalidRequestError, "upgrade_required", "", "This endpoint is a WebSocket. Connect to it as one."}
}

func ambiguousModel() *apiError {
	return invalidRequest("invalid_value", "model", "The query must name the model once, as in ?model=gpt-realtime, and in no other way.")
}
