package chatcompletion

// sessionRules are what the messages of a client must obey: the models of an instance that enforces its
// rules, and those of its consumer.
type sessionRules struct {
	models   *modelRules
	consumer *consumer // nil: it is not known
}

// restricts reports whether a client may use some models only.
func restricts(r *sessionRules) bool {
	return !r.models.override || r.models.allowed != nil || (r.consumer != nil && r.consumer.allowed != nil)
}

// clientMessages are the messages of a client, as far as they have arrived.
type clientMessages struct {
	frames   *frames
	control  []byte // a control frame
	inspects bool   // messages must not name any model
	isStrict bool   // some models must not be used; else only the name of one is replaced
	held     []byte // frames of a message that has not been looked at as a whole
	text     []byte // the message
	passes   bool   // the message is too large to be held; only its last bytes are in text
	isCut    bool   // such a message was broken off
}

// newClientMessages decides how the messages of a client are treated.
func newClientMessages(x *exchange, t *tunnel) *clientMessages {
	c := &clientMessages{frames: &frames{masked: true}}
	for _, rules := range t.rules {
		c.isStrict = c.isStrict || restricts(rules)
	}
	c.inspects = c.isStrict || (len(t.rules) > 0 && x.decision.model != nil && x.decision.model[0] != x.decision.requestedModel)
	return c
}

// takeClientBytes forwards bytes of a client, and reports whether more may follow.
func takeClientBytes(x *exchange, t *tunnel, c *clientMessages, chunk []byte) bool {
	if isRefused(t) {
		return true // until the client has read the reason
	}
	f := c.frames
	out := make([]byte, 0, len(chunk)) // what is held may be long, and packets short
	for done := 0; done < len(chunk); {
		n := nextPiece(f, chunk[done:])
		done += n
		var apiErr *apiError
		switch {
		case n == 0:
			apiErr = invalidFrames()
		case isControl(f):
			c.control = append(append(c.control, f.header...), f.payload...)
			if !f.ended {
				continue
			}
			if f.opcode == closeOpcode {
				return takeClientClose(t, c, out)
			}
			out = append(out, c.control...)
			c.control = nil
		case len(f.header)+len(f.payload) == 0:
		case !c.inspects:
			out = append(append(out, f.header...), f.payload...)
		default:
			out, apiErr = inspectPiece(x, t, c, out)
		}
		if apiErr != nil {
			writeFrames(t.provider, out, isWritten(c), false)
			refuseTunnel(t, apiErr)
			return true
		}
	}
	writeFrames(t.provider, out, isWritten(c), f.inMessage && isWritten(c))
	return true
}

// isWritten reports whether what has been forwarded of a client ends with a whole frame.
func isWritten(c *clientMessages) bool {
	return !c.isCut && (!c.frames.inFrame || isControl(c.frames) || (c.inspects && !c.passes))
}

// takeClientClose forwards the close frame of a client, and reports whether more may follow. While a response
// is under way, that frame is not forwarded to the provider: the usage would be lost.
func takeClientClose(t *tunnel, c *clientMessages, out []byte) bool {
	noteEnd(t, closedByClient)
	t.mu.Lock()
	isResponding := t.isResponding
	t.mu.Unlock()
	if isResponding {
		writeFrames(t.provider, out, true, false)
		closeEnd(t.client, nil, closeFrame(closeNormal, "", false))
		return false
	}
	writeFrames(t.provider, append(out, c.control...), true, false)
	markClosed(t.provider)
	return false
}

// inspectPiece inspects a piece of a message, and appends to out what may be forwarded.
func inspectPiece(x *exchange, t *tunnel, c *clientMessages, out []byte) ([]byte, *apiError) {
	f := c.frames
	if f.opcode == binaryOpcode && c.isStrict {
		return out, binaryMessage()
	}
	c.text = append(c.text, unmasked(f)...)
	if c.passes {
		if mentionsModel(c.text) {
			c.isCut = true
			return out, messageTooLarge()
		}
		out = append(append(out, f.header...), f.payload...)
		c.text = textEnd(c.text)
	} else {
		c.held = append(append(c.held, f.header...), f.payload...)
	}
	if f.ended && f.final {
		return endMessage(x, t, c, out)
	}
	if !c.passes && (len(c.text) > sessionMessageMaxBytes || len(c.held) > heldMaxBytes) {
		if mentionsModel(c.text) {
			return out, messageTooLarge()
		}
		out = append(out, c.held...)
		c.held = nil
		c.text = textEnd(c.text)
		c.passes = true
	}
	return out, nil
}

// textEnd returns a copy of the last bytes of a text, in which the name of a member may begin.
func textEnd(text []byte) []byte {
	if len(text) > modelWordBytes {
		text = text[len(text)-modelWordBytes:]
	}
	return append([]byte(nil), text...)
}

// endMessage decides on a message that has arrived as a whole.
func endMessage(x *exchange, t *tunnel, c *clientMessages, out []byte) ([]byte, *apiError) {
	held, text := c.held, c.text
	c.held = nil
	c.text = nil
	if c.passes {
		c.passes = false
		return out, nil
	}
	if !mentionsModel(text) {
		return append(out, held...), nil
	}
	renamed, apiErr := governMessage(x, t, c, text)
	if apiErr != nil {
		return out, apiErr
	}
	if renamed != nil {
		held = newFrame(textOpcode, renamed, true)
	}
	return append(out, held...), nil
}

// governMessage checks the models that a message names. The model that the client has connected with
// gets the name that the provider has been sent: the message is then returned with that one.
func governMessage(x *exchange, t *tunnel, c *clientMessages, text []byte) ([]byte, *apiError) {
	if len(text) > sessionMessageMaxBytes {
		return nil, messageTooLarge()
	}
	named, compact, isReadable := sessionModels(text)
	if !isReadable {
		if c.isStrict {
			return nil, unreadableMessage()
		}
		return nil, nil
	}
	d := x.decision
	model, isRenamed := "", false
	if d.model != nil {
		model = d.model[0]
	}
	for i := range named {
		name := named[i].name
		switch {
		case name == model:
		case name == d.requestedModel && model != "":
			isRenamed = true
		default:
			if apiErr := checkSessionModel(t, name); apiErr != nil {
				return nil, apiErr
			}
		}
	}
	if isRenamed {
		return renameModels(compact, named, d.requestedModel, model), nil
	}
	return nil, nil
}

// checkSessionModel returns the error for a model that a message must not name, nil if it may.
func checkSessionModel(t *tunnel, name string) *apiError {
	for _, rules := range t.rules {
		c := rules.consumer
		switch {
		case !restricts(rules):
		case c != nil && !matchesModel(c.allowed, name):
			return modelNotAllowed(rules.models, name, name, c.allowedText)
		case rules.models.allowed != nil && !isAllowed(rules.models, name):
			return modelNotAllowed(rules.models, name, name, rules.models.allowedText)
		case rules.models.allowed == nil && !rules.models.override:
			return modelNotFound(name)
		}
	}
	return nil
}

func binaryMessage() *apiError {
	return invalidRequest("invalid_value", "", "Binary messages are not supported, since your models are restricted. Send text.")
}

func messageTooLarge() *apiError {
	return invalidRequest("invalid_value", "", "A message that may name a model is too large: its maximum is 1 MiB, since your models are restricted.")
}

func unreadableMessage() *apiError {
	return invalidRequest("invalid_json", "", "A message that may name a model must be JSON with plain names, since your models are restricted.")
}
