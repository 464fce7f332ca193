package chatcompletion

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
)

// reserveQuotas reserves what a request may use on all quotas of its policy that apply to it, or returns the
// error of one that has nothing left.
func reserveQuotas(x *exchange, p *policy, pl *plan, req *http.Request) *apiError {
	rules := p.quotas
	if rules.isUncommon || pl.decision.counts {
		return reserveUncommon(x, p, pl, x.response.ResponseWriter, req)
	}
	input, output := int64(len(pl.decoded))/4, pl.decision.tokenLimit
	if input >= dataURLMinTokens {
		input = estimatedInput(pl)
	}
	all := rules.charges
	if rules.byCaller {
		found, isKnown := rules.known.Load(x.call.Consumer + "\x00" + x.call.Group) // as callerCharges
		if isKnown {
			all = found.(*callerSet).charges
		} else {
			all = callerCharges(rules, x.call)
		}
	}
	charges := append([]charge(nil), all...)
	if reserveMemory(theMemoryStore, charges, []int64{0, 1, input, output, input + output}, rules.clock().UnixMilli()) {
		return takeReserved(x, charges, x.response.ResponseWriter)
	}
	x.response.charges = charges
	return nil
}

// takeReserved is what follows after a quota has had nothing left: the error, if it is enforced, else the charges
// are reserved, too.
func takeReserved(x *exchange, charges []charge, rw http.ResponseWriter) *apiError {
	apiErr := refuseQuota(x, charges, rw)
	if apiErr == nil {
		x.response.charges = charges
	}
	return apiErr
}

// reserveUncommon is reserveQuotas for quotas that depend on the request, or are in Redis, and for
// chained instances. rw gets the headers of the error.
func reserveUncommon(x *exchange, p *policy, pl *plan, rw http.ResponseWriter, req *http.Request) *apiError {
	rules, w := p.quotas, x.response
	if rules.vary && isPending(pl) {
		return nil // see decideLate
	}
	input, output := int64(len(pl.decoded))/4, pl.decision.tokenLimit
	if pl.decision.counts {
		input = 0
	} else if input += int64(pl.decision.promptBytes) / 4; input >= dataURLMinTokens {
		input = estimatedInput(pl)
	}
	amounts := []int64{0, 1, input, output, input + output, 0, 0}
	all := rules.charges
	if rules.byCaller {
		all = callerCharges(rules, x.call)
	}
	charges := append([]charge(nil), all...)
	if rules.vary || w.charges != nil {
		var apiErr *apiError
		if charges, apiErr = chooseCharges(x, p, pl, req, charges, amounts); apiErr != nil {
			return apiErr
		}
	}
	isOver, isDenied := reserveCharges(p.store, charges, amounts, rules.clock().UnixMilli())
	if isDenied {
		return storeUnavailable()
	}
	if isOver {
		if apiErr := refuseQuota(x, charges, rw); apiErr != nil {
			return apiErr
		}
	}
	if w.charges != nil {
		charges = append(w.charges, charges...)
	}
	w.charges = charges // not nil, also if there are none
	if rules.hasCost && x.firstPolicy.prices == nil {
		x.isUncommon = true
	}
	x.sharesCharges = x.sharesCharges || p.store != nil
	return nil
}

// estimatedInput returns how many tokens a request may have as its input. Files of a form are none.
func estimatedInput(pl *plan) int64 {
	if pl.form != nil {
		return int64(pl.textBytes) / 4
	}
	return estimatedTokens(pl.decoded) + int64(pl.decision.promptBytes)/4
}

// callerCharges returns what requests of a caller take from the quotas of a policy, but for what depends
// on the request. The caller copies it. It is remembered: few callers send most requests.
func callerCharges(rules *quotaRules, call *Call) []charge {
	key := call.Consumer + "\x00" + call.Group
	found, isKnown := rules.known.Load(key)
	if isKnown {
		return found.(*callerSet).charges
	}
	return newCallerCharges(rules, call, key)
}

// newCallerCharges is callerCharges for a caller that is not known yet.
func newCallerCharges(rules *quotaRules, call *Call, key string) []charge {
	set := &callerSet{charges: append([]charge(nil), rules.charges...)}
	for i := range set.charges {
		c := &set.charges[i]
		if c.quota.byConsumer {
			c.key += call.Consumer
		} else if c.quota.byGroup {
			c.key += call.Group
		}
	}
	if rules.knownCount.Add(1) <= maxKnownCallers {
		rules.known.Store(key, set)
	}
	return set.charges
}

// chooseCharges returns the charges of the quotas that apply to a request, with the subjects that
// depend on it and what it may cost.
func chooseCharges(x *exchange, p *policy, pl *plan, req *http.Request, all []charge, amounts []int64) ([]charge, *apiError) {
	charges, model := all[:0], pl.decision.request.Model
	for i := range all {
		c := &all[i]
		q := c.quota
		if !matchesModel(q.models, model) {
			continue
		}
		if q.per != nil {
			value := req.Header[q.header]
			if len(value) > 0 && len(value[0]) <= subjectMaxBytes && value[0] != "" {
				c.key += value[0]
			} else if apiErr := addSubject(c, req, model); apiErr != nil {
				return nil, apiErr
			}
		}
		if c.counts == countCost {
			if apiErr := setCosts(c, p, x.provider, model, amounts); apiErr != nil {
				return nil, apiErr
			}
		}
		charges = append(charges, *c)
	}
	if x.response.charges != nil {
		charges = chainedCharges(x.response.charges, charges)
	}
	return charges, nil
}

// chainedCharges returns the charges of a chained instance without those of counters that an instance
// before has charged: a shared quota counts a request once.
func chainedCharges(before, all []charge) []charge {
	taken := map[string]bool{}
	for i := range before {
		before[i].competes = true
		taken[before[i].key] = true
	}
	charges := all[:0]
	for i := range all {
		if !taken[all[i].key] {
			all[i].competes = true
			charges = append(charges, all[i])
		}
	}
	return charges
}

// addSubject adds to the key of a charge whose counter a request takes from. A quota in report mode
// refuses nothing: requests that lack the value share one counter there.
func addSubject(c *charge, req *http.Request, model string) *apiError {
	q, subject, exact, before := c.quota, "", "", ""
	isAmbiguous := q.adjoins
	model = plainModel(model)
	for _, part := range q.per {
		text := model
		if part.parts != nil {
			rendered, apiErr := render(part, req)
			if apiErr != nil && c.enforce {
				return apiErr
			}
			if apiErr != nil {
				c.key += other
				return nil
			}
			text = rendered
		}
		subject += text
		if isReference(part) && (q.separators != "" || q.adjoins) {
			exact += strconv.Itoa(len(text)) + ":" + text
			isAmbiguous = isAmbiguous || strings.ContainsAny(before, q.separators) // the last value may have them
			before = text
		}
	}
	if isAmbiguous {
		c.key += subjectHash(exact)
		return nil
	}
	if len(subject) > subjectMaxBytes {
		subject = subjectHash(subject)
	}
	c.key += subject
	return nil
}

// subjectHash returns what stands for a subject that is too long, or whose values could be parted in
// another way: who chooses one of them could else choose the counter of others.
func subjectHash(text string) string {
	hash := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(hash[:])
}

// setCosts sets what a request to a provider may cost. A model without a price costs nothing that is
// known.
func setCosts(c *charge, p *policy, pr *provider, model string, amounts []int64) *apiError {
	c.price = servedPrice(p.prices, pr.preset.name, "", model)
	if c.price == nil {
		if c.enforce && p.prices.deniesUnpriced {
			return modelNotPriced(c.quota, model)
		}
		return nil
	}
	input := amounts[countInput]
	amounts[countCost] = atMost(estimateCost(c.price, input, 0), maxCallCost)
	amounts[countFullCost] = atMost(estimateCost(c.price, input, amounts[countOutput]), maxCallCost)
	return nil
}

// maxCallCost bounds the cost of one call, 100,000 USD, so that sums do not overflow.
const maxCallCost = 100_000 * dollarPicos

// costOfCounts returns what the counts of a usage cost, whether they are known or estimated.
func costOfCounts(p *price, u *Usage) int64 {
	own := *u
	own.InputKnown = true
	own.OutputKnown = true
	cost, _ := costOf(p, &own, &Response{})
	return cost
}

// quotaReported is what X-Ai-Quota begins with if a quota in report mode would have refused a request.
const quotaReported = "report="

// refuseQuota counts and tells which charges have nothing left. It returns the error if one of them is
// enforced; else the others are reserved.
func refuseQuota(x *exchange, charges []charge, rw http.ResponseWriter) *apiError {
	for i := range charges {
		c := &charges[i]
		if !c.refused {
			continue
		}
		countRefused(theMemoryStore, c)
		if !c.enforce {
			x.call.Quota = quotaReported + c.quota.name
			x.isUncommon = true // settleUncommon sets the access-log header
			continue
		}
		x.call.Quota = c.quota.name
		x.response.refused = charges
		setRetryHeaders(rw.Header(), c)
		return quotaExceeded(c)
	}
	return nil
}

// releaseUnserved releases the charges of a chained instance, those from a place on, if its response
// was discarded: a failover service then calls another instance, and Retry calls the same one again.
func releaseUnserved(x *exchange, from int) {
	w := x.response
	if w.status == 0 && w.heldStatus == 0 {
		released := w.charges[from:]
		w.charges = w.charges[:from]
		settleCharges(released, noAmounts)
	}
}

// requestAmounts are the amounts of a request that uses no tokens.
var requestAmounts = []int64{0, 1, 0, 0, 0, 0}

// settleQuotas settles the charges of an exchange that has ended, if there are no prices.
func settleQuotas(x *exchange) {
	u := &x.call.Response.Usage
	if x.isUncommon || !u.InputKnown || !u.OutputKnown {
		settleUncommon(x)
		return
	}
	w := x.response
	charges := w.charges
	w.charges = nil
	amounts := []int64{0, 1, u.InputTokens, u.OutputTokens, u.InputTokens + u.OutputTokens}
	if x.sharesCharges {
		settleCharges(charges, amounts)
		return
	}
	settleMemory(theMemoryStore, charges, amounts)
}

// settleUncommon settles the charges of an exchange whose usage is not known, or that has not had a
// complete response with status 200, and charges in money. The access log shows which quota would have
// refused the request.
func settleUncommon(x *exchange) {
	w, u := x.response, &x.call.Response.Usage
	charges := w.charges
	w.charges = nil
	if x.call.Quota != "" {
		w.ResponseWriter.Header()[quotaHeader] = []string{x.call.Quota}
	}
	if !hasServed(x) {
		settleCharges(charges, noAmounts)
		return
	}
	if x.decision.counts || x.call.Cache == cacheHit {
		settleCharges(charges, requestAmounts)
		return
	}
	if !u.InputKnown || !u.OutputKnown {
		estimateUsage(x, charges)
	}
	used, cost := *u, x.call.Cost.Picodollars
	isCut := x.response.reader.stream && x.call.ErrorType != ""
	if isCut {
		completeCut(x, &used)
	}
	for i := range charges {
		if c := &charges[i]; c.price != nil && (!x.call.Cost.Known || isCut) {
			cost = atLeast(cost, costOfCounts(c.price, &used))
		}
	}
	input, output := used.InputTokens, used.OutputTokens
	settleCharges(charges, []int64{0, 1, input, output, input + output, atMost(cost, maxCallCost)})
}

// completeCut completes the usage of a stream that ended early. The counts of the beginning are not
// those of the end: some providers report 0, and Anthropic a first token. Gemini's are those of all that
// has arrived.
func completeCut(x *exchange, u *Usage) {
	if isGemini(x.kind) && u.OutputTokens > 0 {
		return
	}
	if u.InputTokens == 0 && x.plan != nil {
		u.InputTokens = estimatedInput(x.plan)
	}
	u.OutputTokens = atLeast(u.OutputTokens, limitedOutput(x))
}

// atLeast returns an amount, or another one if that is more.
func atLeast(amount, other int64) int64 {
	if amount < other {
		return other
	}
	return amount
}

// hasServed reports whether a provider has worked for a request: it has responded, or the client has
// not waited for that.
func hasServed(x *exchange) bool {
	w := x.response
	status := w.status
	if w.blockedStatus != 0 {
		status = w.blockedStatus
	}
	return (status >= http.StatusOK && status < http.StatusBadRequest) || (w.limit != nil && w.limit.replaced) ||
		x.call.ErrorType == errorClientGone
}

// estimateUsage estimates the counts that a response has not reported, for charges that need them.
func estimateUsage(x *exchange, charges []charge) {
	u := &x.call.Response.Usage
	isNeeded := false
	for i := range charges {
		isNeeded = isNeeded || charges[i].counts > countRequest
	}
	if !isNeeded {
		return
	}
	if !u.InputKnown && x.plan != nil {
		u.Estimated = true
		u.InputTokens = estimatedInput(x.plan)
	}
	if output := limitedOutput(x); !u.OutputKnown && output > 0 {
		u.Estimated = true
		u.OutputTokens = output
	}
}

// limitedOutput returns how many tokens a response may have, at most the token limit.
func limitedOutput(x *exchange) int64 {
	output := estimatedOutput(x.response)
	if limit := x.decision.tokenLimit; limit > 0 {
		return atMost(output, limit)
	}
	return output
}

// eventMaxBytes is the most that the JSON around the text of an event has with nearly all providers, and
// messageEventMaxBytes that of Anthropic's.
const (
	eventMaxBytes        = 512
	messageEventMaxBytes = 128
)

// estimatedOutput returns how many tokens a response may have: one for each event of a stream, and a
// fourth of the bytes beyond what is around them, since some providers send many tokens at once; or a
// fourth of its bytes. Responses of other endpoints than those that generate text have none. The events
// of the Responses API repeat what the client sent.
func estimatedOutput(w *responseWriter) int64 {
	reader, length := w.reader, w.scanned
	if w.window != nil {
		length += w.window.Len()
	}
	switch {
	case reader.stream:
		events := reader.events
		if reader.done {
			events--
		}
		around := eventMaxBytes
		if reader.kind == messages {
			around = messageEventMaxBytes
		}
		if text := length - events*around; text > 0 && reader.kind != responses {
			events += text / 4
		}
		return int64(events)
	case !generatesText(reader.kind):
		return 0
	case w.limit != nil && w.limit.replaced:
		return w.limit.maxBytes / 4
	}
	return int64(length) / 4
}

// settlePanicked settles the charges of an exchange that ends with a panic.
func settlePanicked(x *exchange) {
	if x.response.charges != nil {
		settleUncommon(x)
	}
}
