package chatcompletion

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
)

// reserveQuotas reserves what a request may use on all quotas of a policy that apply to it, or returns
// the error of one that has nothing left. rw gets the headers of that error.
func reserveQuotas(x *exchange, p *policy, pl *plan, rw http.ResponseWriter, req *http.Request) *apiError {
	rules, output, w := p.quotas, pl.decision.tokenLimit, x.response
	input := int64(len(pl.decoded)) / 4
	if input >= dataURLMinTokens {
		input = estimatedTokens(pl.decoded)
	}
	amounts := []int64{0, 1, input, output, input + output, 0, 0}
	charges := append([]charge(nil), callerCharges(rules, x.call)...)
	if rules.vary || p.store != nil || w.charges != nil {
		return reserveUncommon(x, p, pl, rw, req, charges, amounts)
	}
	if reserveMemory(theMemoryStore, charges, amounts, rules.clock().UnixMilli()) {
		if apiErr := refuseQuota(x, charges, rw); apiErr != nil {
			return apiErr
		}
	}
	w.charges = charges
	return nil
}

// reserveUncommon is reserveQuotas for quotas that depend on the request, or are in Redis, and for
// chained instances.
func reserveUncommon(x *exchange, p *policy, pl *plan, rw http.ResponseWriter, req *http.Request, charges []charge, amounts []int64) *apiError {
	rules, w := p.quotas, x.response
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
	w.charges = append(w.charges, charges...)
	x.countsCost = x.countsCost || rules.hasCost
	x.sharesCharges = x.sharesCharges || p.store != nil
	return nil
}

// callerCharges returns what requests of a caller take from the quotas of a policy, but for what depends
// on the request. The caller copies it. It is remembered: few callers send most requests.
func callerCharges(rules *quotaRules, call *Call) []charge {
	if !rules.byCaller {
		return rules.charges
	}
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
		if q.models != nil && !q.models.MatchString(model) {
			continue
		}
		if q.per != nil {
			value := req.Header[q.header]
			if value != nil && len(value[0]) <= subjectMaxBytes && value[0] != "" {
				c.key += value[0]
			} else if apiErr := addSubject(c, req, model); apiErr != nil {
				return nil, apiErr
			}
		}
		if c.counts == countCost {
			if apiErr := setCosts(c, p, model, amounts); apiErr != nil {
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
	subject := ""
	for _, part := range c.quota.per {
		text := model
		if part.parts != nil {
			rendered, apiErr := render(part, req)
			if apiErr != nil && c.enforce {
				return apiErr
			}
			if text = rendered; apiErr != nil {
				text = other
			}
		}
		subject += text
	}
	if len(subject) > subjectMaxBytes {
		hash := sha256.Sum256([]byte(subject))
		subject = "sha256:" + hex.EncodeToString(hash[:])
	}
	c.key += subject
	return nil
}

// setCosts sets what a request may cost. A model without a price costs nothing that is known.
func setCosts(c *charge, p *policy, model string, amounts []int64) *apiError {
	c.price = priceOf(p.prices, model)
	if c.price == nil {
		if c.enforce && p.prices.deniesUnpriced {
			return modelNotPriced(c.quota, model)
		}
		return nil
	}
	amounts[countCost] = estimatedCost(c.price, amounts[countInput], 0)
	amounts[countFullCost] = estimatedCost(c.price, amounts[countInput], amounts[countOutput])
	return nil
}

// maxCallCost bounds the cost of one call, 100,000 USD, so that sums do not overflow.
const maxCallCost = 100_000 * dollarPicos

// estimatedCost returns what tokens may cost.
func estimatedCost(p *price, input, output int64) int64 {
	cost := estimateCost(p, input, output)
	if cost > maxCallCost {
		return maxCallCost
	}
	return cost
}

// costOfTokens returns what tokens cost of which nothing else is known.
func costOfTokens(p *price, input, output int64) int64 {
	cost, _ := costOf(p, &Usage{InputKnown: true, OutputKnown: true, InputTokens: input, OutputTokens: output}, &Response{})
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
			continue
		}
		x.call.Quota = c.quota.name
		header := rw.Header()
		setLimitHeaders(header, charges)
		setRetryHeaders(header, c)
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

// noAmounts are the amounts of a request that no provider has worked for.
var noAmounts = []int64{0, 0, 0, 0, 0, 0}

// settleQuotas settles the charges of an exchange that has ended.
func settleQuotas(x *exchange) {
	w, call := x.response, x.call
	charges, u := w.charges, &call.Response.Usage
	w.charges = nil
	if w.status != http.StatusOK || !u.InputKnown || !u.OutputKnown || x.countsCost || call.Quota != "" {
		settleUncommon(x, charges)
		return
	}
	amounts := []int64{0, 1, u.InputTokens, u.OutputTokens, u.InputTokens + u.OutputTokens}
	if x.sharesCharges {
		settleCharges(charges, amounts)
		return
	}
	settleMemory(theMemoryStore, charges, amounts)
}

// settleUncommon settles the charges of an exchange whose usage is not known, or that has not had a
// response with status 200, and charges in money. The access log is told which quota would have
// refused the request.
func settleUncommon(x *exchange, charges []charge) {
	u := &x.call.Response.Usage
	if x.call.Quota != "" {
		x.response.ResponseWriter.Header()[quotaHeader] = []string{x.call.Quota}
	}
	if !hasServed(x) {
		settleCharges(charges, noAmounts)
		return
	}
	if !u.InputKnown || !u.OutputKnown {
		estimateUsage(x, charges)
	}
	cost := x.call.Cost.Picodollars
	for i := range charges {
		if c := &charges[i]; c.price != nil && !x.call.Cost.Known {
			cost = costOfTokens(c.price, u.InputTokens, u.OutputTokens)
		}
	}
	if cost > maxCallCost {
		cost = maxCallCost
	}
	settleCharges(charges, []int64{0, 1, u.InputTokens, u.OutputTokens, u.InputTokens + u.OutputTokens, cost})
}

// hasServed reports whether a provider has worked for a request: it has responded, or the client has
// not waited for that.
func hasServed(x *exchange) bool {
	w := x.response
	return (w.status >= http.StatusOK && w.status < http.StatusBadRequest) || (w.limit != nil && w.limit.replaced) ||
		x.call.ErrorType == errorClientGone
}

// estimateUsage estimates the counts that a response has not reported, for charges that need them.
func estimateUsage(x *exchange, charges []charge) {
	w, u := x.response, &x.call.Response.Usage
	isNeeded := false
	for i := range charges {
		isNeeded = isNeeded || charges[i].counts > countRequest
	}
	if !isNeeded {
		return
	}
	if !u.InputKnown && x.plan != nil {
		u.Estimated = true
		u.InputTokens = estimatedTokens(x.plan.decoded)
	}
	if output := estimatedOutput(w); !u.OutputKnown && output > 0 {
		u.Estimated = true
		u.OutputTokens = output
		if limit := x.decision.tokenLimit; limit > 0 && output > limit {
			u.OutputTokens = limit
		}
	}
}

// estimatedOutput returns how many tokens a response may have: one for each event of a stream, or a
// fourth of its bytes. Responses of other endpoints than those that generate text have none.
func estimatedOutput(w *responseWriter) int64 {
	reader := w.reader
	switch {
	case reader.stream && reader.done:
		return int64(reader.events) - 1
	case reader.stream:
		return int64(reader.events)
	case reader.kind != completions && reader.kind != responses:
		return 0
	case w.limit != nil && w.limit.replaced:
		return w.limit.maxBytes / 4
	case w.window == nil:
		return 0
	}
	return int64(w.scanned+w.window.Len()) / 4
}

// settlePanicked settles the charges of an exchange that ends with a panic.
func settlePanicked(x *exchange) {
	if x.response.charges != nil {
		settleQuotas(x)
	}
}
