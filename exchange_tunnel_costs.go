package chatcompletion

import "time"

// chargeResponse charges the usage of a response to the quotas of its exchange, and returns the error of
// one that has nothing left for the next response; nil: all have.
func chargeResponse(x *exchange, t *tunnel, u *Usage) *apiError {
	cost, isKnown := priceResponse(x, t, u)
	if x.response.charges == nil {
		return nil
	}
	kept, spent := splitCharges(x.response.charges)
	for i := range spent {
		if c := &spent[i]; c.price != nil && !isKnown {
			cost = atLeast(cost, costOfCounts(c.price, u))
		}
	}
	settleCharges(spent, []int64{0, 0, u.InputTokens, u.OutputTokens, u.InputTokens + u.OutputTokens, atMost(cost, maxCallCost)})
	x.response.charges = kept
	if isRefused(t) || isLeft(t) {
		return nil // there is no next response
	}
	return renewCharges(x, spent)
}

// splitCharges parts the charges for each response from those for the connection: for the request, and
// for a place among concurrent ones. Neither is nil.
func splitCharges(charges []charge) (kept, spent []charge) {
	kept = []charge{}
	spent = []charge{}
	for i := range charges {
		if charges[i].counts > countRequest {
			spent = append(spent, charges[i])
		} else {
			kept = append(kept, charges[i])
		}
	}
	return kept, spent
}

// renewCharges begins charges for the next response: nothing is reserved, but something must be left.
func renewCharges(x *exchange, spent []charge) *apiError {
	ms := time.Now().UnixMilli()
	if rules := x.firstPolicy.quotas; rules != nil {
		ms = rules.clock().UnixMilli()
	}
	for first := 0; first < len(spent); {
		store, end := spent[first].redis, first+1
		for end < len(spent) && spent[end].redis == store {
			end++
		}
		next := renewed(spent[first:end])
		first = end
		isOver, isDenied := reserveCharges(store, next, noAmounts, ms)
		if isDenied {
			return storeUnavailable()
		}
		if isOver {
			if apiErr := refuseQuota(x, next, x.response.ResponseWriter); apiErr != nil {
				return apiErr
			}
		}
		x.response.charges = append(x.response.charges, next...)
	}
	return nil
}

// renewed returns copies of charges without what the store has set.
func renewed(spent []charge) []charge {
	next := append([]charge(nil), spent...)
	for i := range next {
		c := &next[i]
		c.reserved = 0
		c.refused = false
		c.counter = nil
		c.reservations = nil
		c.redis = nil
		c.place = inRedis
		c.keyWord = ""
	}
	return next
}

// priceResponse adds the cost of a response to that of its connection, and returns it, and whether it is
// known.
func priceResponse(x *exchange, t *tunnel, u *Usage) (int64, bool) {
	prices, c, parts := x.firstPolicy.prices, x.call, &t.reader.lastParts
	if prices == nil {
		return 0, false
	}
	if prices.trustReported && parts.cost != "" {
		cost, _ := decimal(parts.cost, unitPlaces)
		t.cost = addSaturated(t.cost, cost)
		t.costSource = costFromProvider
		return cost, true
	}
	p := servedPrice(prices, x.provider.preset.name, c.Response.Model, c.Request.Model)
	if p == nil {
		t.unknownCost = unknownPrice
		return 0, false
	}
	cost, isKnown := costOf(p, u, &Response{ServiceTier: parts.serviceTier})
	if !isKnown {
		t.unknownCost = unknownUsage
		return 0, false
	}
	t.cost = addSaturated(t.cost, cost)
	if t.costSource == "" {
		t.costSource = costFromTable
	}
	return cost, true
}

// endTunnel completes the record of a WebSocket that has ended, and settles its charges.
func endTunnel(x *exchange, t *tunnel) {
	if t.reader.isResponding {
		estimateResponse(x, t)
	}
	switch {
	case t.refusal != nil:
		x.errorType = t.refusal.code
	case t.ending != closedByClient && t.ending != closedByProvider:
		x.errorType = t.ending
	}
	header := x.response.ResponseWriter.Header()
	c := x.call
	if t.unknownCost != "" {
		countUnknownCost(x.firstPolicy.telemetry.registry, c, t.unknownCost)
	} else if t.costSource != "" {
		c.Cost = Cost{Known: true, Picodollars: t.cost, Source: t.costSource}
		header[costHeader] = []string{dollars(t.cost)}
	}
	if c.Quota != "" {
		header[quotaHeader] = []string{c.Quota}
	}
	if charges := x.response.charges; charges != nil {
		x.response.charges = nil
		settleCharges(charges, requestAmounts)
	}
}

// estimateResponse charges a response that was under way at the end: it has the input of the response before,
// and a token for each event. Its cost is unknown.
func estimateResponse(x *exchange, t *tunnel) {
	r := t.reader
	known := t.cost
	r.lastParts = usageParts{}
	_ = chargeResponse(x, t, &Usage{InputTokens: r.input, OutputTokens: r.events, Estimated: true})
	t.cost = known
	if x.firstPolicy.prices != nil {
		t.unknownCost = unknownUsage
	}
	if u := &r.record.Usage; !u.InputKnown && x.response.charges != nil {
		u.InputTokens = r.input
		u.OutputTokens = r.events
		u.Estimated = true
	}
}
