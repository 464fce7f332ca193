package chatcompletion

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strconv"
)

// responseGuard inspects what a provider sends before anything else does: the client, the record and the
// content that is captured get what it sends. It stands in for the writer that the provider's handler
// writes to.
type responseGuard struct {
	http.ResponseWriter // what gets the response: the responseWriter, or the guard of the instance before
	w                   *responseWriter
	rules               *responseRules
	cancel              context.CancelFunc // gives up the request to the provider
	form                guardedForm
	status              int            // of the header, which is held until something is sent; 0: none is held
	decoder             *decoder       // of a response that the provider compressed although not requested to
	buffer              []byte         // a document so far, or the beginning of an event
	stream              *guardedStream // of a response that has events
	decisions           []string       // for X-Ai-Policy, each once
	err                 error          // of the client's connection, or of a limit
	isEnded             bool           // all of it has been inspected
	isCorrupt           bool           // what the provider compressed is truncated, or cannot be read
}

// guardedForm is how a response is inspected.
type guardedForm int

const (
	guardsUnknown    guardedForm = iota // its first bytes decide
	guardsDocument                      // as a whole, when it is complete
	guardsEvents                        // event by event
	guardsNothing                       // not: it is no text
	guardsUnreadable                    // it cannot be
	guardHasEnded                       // nothing more of it is sent
)

// maxGuardedBytes bounds a response that is held until it has been inspected as a whole.
const maxGuardedBytes = 10 << 20

// responseRules are the rules for the responses of a policy.
type responseRules struct {
	all        *guardRules
	enforced   *streamRules // those that block or mask; nil: there are none
	reported   *streamRules // those that only report; nil: there are none
	window     int
	overlap    int
	maxHold    int
	blocked    *guard            // what the client gets instead
	reportOnly bool              // no rule is enforced
	actions    map[string]string // of the rules then, by name
}

// newResponseRules returns the rules for responses of a guard.
func newResponseRules(g *guard, reportOnly bool) (*responseRules, error) {
	r := &responseRules{all: g.response, window: g.window, overlap: g.overlap, maxHold: g.maxHold, blocked: g, reportOnly: reportOnly}
	var err error
	if reportOnly {
		r.all = asReported(g.response)
		r.actions = map[string]string{}
		for _, rule := range g.response.rules {
			r.actions[rule.name] = rule.action
		}
		r.reported, err = newStreamRules(r.all, actionReport)
		return r, err
	}
	if r.enforced, err = newStreamRules(g.response, actionBlock, actionMask); err != nil {
		return nil, err
	}
	r.reported, err = newStreamRules(g.response, actionReport)
	return r, err
}

// asReported returns rules that do nothing but report.
func asReported(g *guardRules) *guardRules {
	reported := &guardRules{}
	for _, r := range g.rules {
		own := *r
		own.action = actionReport
		reported.rules = append(reported.rules, &own)
	}
	return reported
}

// isEnforced reports whether a rule blocks or masks.
func isEnforced(g *responseGuard, r *guardRule) bool {
	return !g.rules.reportOnly && r.action != actionReport
}

// noteMatch lists a rule that has matched, once.
func noteMatch(g *responseGuard, r *guardRule) {
	action := r.action
	if g.rules.reportOnly {
		action = g.rules.actions[r.name]
	}
	noteDecision(g, "guard_response_"+action+"="+r.name)
}

func noteDecision(g *responseGuard, decision string) {
	if !containsText(g.decisions, decision) {
		g.decisions = append(g.decisions, decision)
	}
}

// Types of responses that are no text, types that can be inspected, and charsets that can be. Those of error
// pages may be older ones with the same ASCII.
var (
	mediaTypes    = regexp.MustCompile(`(?i)^(?:audio|image|video)/`)
	readableTypes = regexp.MustCompile(`(?i)^[ \t]*(?:text/|application/[a-z0-9.+-]*json[a-z0-9.+-]*[ \t]*(?:;|$)|$)`)
	charsets      = regexp.MustCompile(`(?i)charset[*0-9]*[ \t]*=[ \t]*"?([^";, \t]*)`)
	readableChars = regexp.MustCompile(`(?i)^(?:utf-?8|(?:us-)?ascii)?$`)
	errorChars    = regexp.MustCompile(`(?i)^(?:iso-8859-1|windows-1252)$`)
)

// isReadable reports whether a response with these types can be inspected. Other ones, such as protocol
// buffers, have texts in parts, which errors are too short for. Other charsets hide texts.
func isReadable(status int, types []string) bool {
	isError := status >= http.StatusBadRequest
	for _, value := range types {
		if !isError && !readableTypes.MatchString(value) {
			return false
		}
		for _, found := range charsets.FindAllStringSubmatch(value, -1) {
			if !readableChars.MatchString(found[1]) && (!isError || !errorChars.MatchString(found[1])) {
				return false
			}
		}
	}
	return true
}

// WriteHeader holds the header until something is sent: until then, an error can replace the response.
func (g *responseGuard) WriteHeader(status int) {
	if status < http.StatusOK {
		g.ResponseWriter.WriteHeader(status)
		return
	}
	if g.status != 0 || g.form != guardsUnknown {
		return // the first one counts
	}
	g.status = status
	header := g.ResponseWriter.Header()
	switch encoding := contentEncoding(header); {
	case canDecompress(encoding):
		g.decoder = newDecoder(encoding, g.w, func(chunk []byte) error {
			guardChunk(g, chunk)
			return g.err
		})
		delete(header, "Content-Encoding")
		delete(header, "Content-Length")
	case encoding != "" && encoding != "identity":
		g.form = guardsUnreadable
		return
	}
	beginForm(g, header)
}

// beginForm decides by the type of a response how it is inspected, so far as that says it.
func beginForm(g *responseGuard, header http.Header) {
	types := header.Get("Content-Type")
	switch isMedia := mediaTypes.MatchString(types); {
	case isMedia && g.decoder == nil && !generatesText(g.w.reader.kind):
		g.form = guardsNothing
		sendInspected(g, nil)
	case isMedia:
	case !isReadable(g.status, header["Content-Type"]):
		g.form = guardsUnreadable
	case eventStreamType.MatchString(types):
		beginGuardedStream(g, false)
	}
}

// beginGuardedStream prepares for the events of a stream, or the elements of a streamed array.
func beginGuardedStream(g *responseGuard, array bool) {
	g.form = guardsEvents
	g.stream = newGuardedStream(array)
	delete(g.ResponseWriter.Header(), "Content-Length")
}

// Write takes a chunk of the response. Every event passes through here: what is rare is in other functions.
func (g *responseGuard) Write(chunk []byte) (int, error) {
	st := g.stream
	if st == nil || st.steady == nil || g.decoder != nil || len(g.buffer) > 0 || !guardSteady(g, chunk) {
		return writeUninspected(g, chunk)
	}
	if passed := st.passed; passed != nil {
		st.passed = nil
		if g.status != 0 || g.w.blockedStatus != 0 || g.err != nil {
			sendInspected(g, passed)
		} else {
			_, g.err = g.ResponseWriter.Write(passed)
		}
	}
	return len(chunk), g.err
}

// writeUninspected is Write for a chunk that has to be inspected.
func writeUninspected(g *responseGuard, chunk []byte) (int, error) {
	if g.status == 0 && g.form == guardsUnknown {
		g.WriteHeader(http.StatusOK)
	}
	if g.decoder != nil {
		return g.decoder.write(chunk)
	}
	guardChunk(g, chunk)
	return len(chunk), g.err
}

// guardChunk takes a chunk of a response without compression.
func guardChunk(g *responseGuard, chunk []byte) {
	if len(chunk) == 0 {
		return
	}
	switch g.form {
	case guardsEvents:
		if g.stream.array {
			guardElements(g, chunk, false)
		} else {
			guardEvents(g, chunk)
		}
	case guardsUnknown:
		detectForm(g, chunk)
	case guardsDocument:
		holdDocument(g, chunk)
	case guardsNothing:
		sendInspected(g, chunk)
	case guardsUnreadable:
		blockUninspected(g)
		sendRest(g, chunk)
	}
}

// detectForm decides by the first bytes of a response how it is inspected.
func detectForm(g *responseGuard, chunk []byte) {
	g.buffer = append(g.buffer, chunk...)
	text := bytes.TrimLeft(g.buffer, " \t\r\n\ufeff")
	held := g.buffer
	switch {
	case len(text) == 0 && len(held) < edgeMaxBytes:
		return
	case beginsEvent(text):
		beginGuardedStream(g, false)
	case len(text) > 0 && text[0] == '[' && g.w.streamRequested && isGemini(g.w.reader.kind):
		beginGuardedStream(g, true)
	case mayBeginEvent(text):
		return
	default:
		g.form = guardsDocument
	}
	g.buffer = nil
	guardChunk(g, held)
}

// holdDocument holds a document, unless it becomes too large to be inspected.
func holdDocument(g *responseGuard, chunk []byte) {
	if len(g.buffer)+len(chunk) > maxGuardedBytes {
		blockUninspected(g)
		sendRest(g, chunk)
		return
	}
	g.buffer = append(g.buffer, chunk...)
}

// sendInspected sends what has been decided on, after the header.
func sendInspected(g *responseGuard, chunk []byte) {
	if g.w.blockedStatus != 0 {
		return // another instance has ended the response
	}
	if status := g.status; status != 0 {
		g.status = 0
		g.ResponseWriter.WriteHeader(status)
	}
	if len(chunk) > 0 && g.err == nil {
		_, g.err = g.ResponseWriter.Write(chunk)
	}
}

// endGuard ends the inspection of a response whose handler has returned. isWhole is not set if it broke
// off: of a stream, what can be decided on is sent, and of a document nothing.
func endGuard(g *responseGuard, isWhole bool) {
	if g.decoder != nil && g.decoder.close() != nil {
		g.isCorrupt = isWhole && g.form != guardHasEnded && g.err == nil
		isWhole = false
	}
	if g.form == guardsUnknown && len(g.buffer) > 0 {
		g.form = guardsDocument
	}
	switch {
	case g.form == guardsEvents:
		endGuardedStream(g)
	case g.form == guardsDocument && isWhole:
		endDocument(g)
	}
	if isWhole && g.form != guardHasEnded {
		sendInspected(g, nil)
	}
	if g.w.status == 0 && g.w.heldStatus == 0 && g.status != 0 && !isWhole {
		g.w.status = g.status // it broke off before anything was sent
	}
}

// endGuardedStream decides on all that is held of a stream that has ended.
func endGuardedStream(g *responseGuard) {
	isOpen := true
	queueWaiting(g)
	if g.stream.array {
		guardElements(g, nil, true)
	} else if rest := g.buffer; len(rest) > 0 {
		g.buffer = nil
		isOpen = guardEvent(g, rest)
	}
	if isOpen && g.form == guardsEvents && endChannels(g) {
		passDecided(g.stream)
		sendPassed(g)
	}
	sendRest(g, nil)
}

// endDocument inspects a document, and sends it.
func endDocument(g *responseGuard) {
	body := g.buffer
	masked, goesOn := guardDocument(g, body)
	if !goesOn {
		sendRest(g, nil)
		return
	}
	if header := g.ResponseWriter.Header(); header["Content-Length"] != nil {
		header["Content-Length"] = []string{strconv.Itoa(len(masked))}
	}
	sendInspected(g, masked)
}

// blockMatch blocks the response because of a rule. It returns false: nothing more is sent.
func blockMatch(g *responseGuard, r *guardRule) bool {
	noteDecision(g, "guard_response_block="+r.name)
	return blockResponse(g, responseBlocked(g.rules.blocked, r))
}

// blockUninspected blocks the response because it cannot be inspected. If no rule is enforced, the rest of
// it is sent as it is. It returns false: nothing more is inspected.
func blockUninspected(g *responseGuard) bool {
	if g.rules.enforced == nil {
		g.form = guardsNothing
		return false
	}
	return blockResponse(g, responseNotInspected())
}

// sendRest sends what is held of a response, and the rest of a chunk, if they are not inspected anymore.
func sendRest(g *responseGuard, rest []byte) {
	if g.form != guardsNothing {
		return
	}
	var all []byte
	if st := g.stream; st != nil {
		all = append(append(all, st.passed...), st.waiting...)
		st.passed = nil
		st.waiting = nil
		for _, event := range st.queue {
			all = append(all, event.raw...)
		}
		st.queue = nil
	}
	all = append(append(all, g.buffer...), rest...)
	g.buffer = nil
	sendInspected(g, all)
}

// blockResponse ends the response with an error, and gives up the provider. Of a stream, what has been decided
// on is sent before, so that the client gets the same whatever packets the provider sends.
func blockResponse(g *responseGuard, apiErr *apiError) bool {
	if g.stream != nil {
		sendPassed(g)
	}
	isDocument := g.form == guardsDocument
	g.form = guardHasEnded
	w, status := g.w, g.status
	g.status = 0
	if w.blockedStatus != 0 {
		return false
	}
	w.errorType = apiErr.code
	if w.status == 0 && w.heldStatus == 0 {
		w.blockedStatus = status
		replaceGuarded(w, apiErr)
		if isDocument && status < http.StatusBadRequest {
			recordBlocked(g)
		}
	} else {
		w.blockedStatus = w.status
		endWithError(w, apiErr)
	}
	w.fastPath = true
	w.out = io.Discard
	g.cancel()
	return false
}

// countedMembers are the members of a response that say what it costs.
var countedMembers = []string{"usage", "usageMetadata", "model", "modelVersion", "service_tier"}

// recordBlocked has the usage recorded of a document that is blocked, and nothing else of it.
func recordBlocked(g *responseGuard) {
	var members map[string]json.RawMessage
	if json.Unmarshal(g.buffer, &members) != nil {
		return
	}
	counted := map[string]json.RawMessage{}
	for _, name := range countedMembers {
		if value, has := members[name]; has && !mayHoldMatch(g.rules.all, value) {
			counted[name] = value
		}
	}
	w := g.w
	w.reader.capture = nil
	w.reader.stream = false
	w.window = bytes.NewBuffer(marshal(counted))
}

// replaceGuarded responds with an error in place of the response.
func replaceGuarded(w *responseWriter, apiErr *apiError) {
	header := w.ResponseWriter.Header()
	removeLogHeaders(header)
	removeRepresentation(header)
	if w.charges != nil || w.refused != nil {
		setLimitHeaders(header, w.errors, w.charges, w.refused)
	}
	writeAPIError(w.ResponseWriter, w.errors, apiErr)
	w.status = apiErr.status
}

// endWithError sends the event, or the element, that ends a stream with an error.
func endWithError(w *responseWriter, apiErr *apiError) {
	if w.limit != nil && w.limit.aborted {
		return
	}
	event := errorEvent(w.errors, apiErr)
	if w.reader.array {
		event = append(append([]byte(",\n"), errorBody(w.errors, apiErr)...), ']')
	}
	_, w.writeErr = w.ResponseWriter.Write(event)
	if w.flush != nil {
		_ = w.flush()
	}
}

// responseBlocked returns the error for a response that a rule blocks.
func responseBlocked(g *guard, r *guardRule) *apiError {
	message := g.blockMessage
	if message == "" {
		message = "The response was blocked by the content rule `" + r.name + "`. Change the request, and try again."
	}
	return &apiError{g.blockStatus, invalidRequestError, contentBlocked, "", message}
}

// responseNotInspected returns the error for a response that cannot be inspected.
func responseNotInspected() *apiError {
	return &apiError{http.StatusBadGateway, serverError, contentNotInspected, "",
		"The provider's response was blocked, since its content cannot be inspected. Request a shorter response, or try again."}
}
