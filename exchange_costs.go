package chatcompletion

import "net/http"

// Reasons why a call with prices has no cost.
const (
	unknownPrice = "no_price" // of the model
	unknownUsage = "no_usage" // of tokens that have a price, or no price of tokens that were used
)

// settlePriced sets what a call cost, which header shows to the access log, and settles its quotas. Nearly all
// calls that succeed cost their tokens at plain rates.
func settlePriced(x *exchange, t *priceTable, header http.Header) {
	c := x.call
	resp := &c.Response
	small := resp.details
	if small == nil || x.isUncommon {
		settleUncommonPriced(x, t, header)
		return
	}
	key := x.provider.preset.name + "\x00" + resp.Model + "\x00" + c.Request.Model
	found, isKnown := t.known.Load(key) // as knownPriceOf
	if t.secret != nil || !isKnown {
		found = knownPriceOf(t, key)
	}
	k, u := found.(*knownPrice), &small.Usage
	input, output := u.PromptTokens, u.CompletionTokens
	if *u != (smallUsage{PromptTokens: input, CompletionTokens: output, TotalTokens: u.TotalTokens}) {
		settleUncommonPriced(x, t, header)
		return
	}
	resp.ServiceTier = small.ServiceTier
	if input > k.plainInput || output > plainTokens {
		settleByParts(x, k.price, header)
		return
	}
	cost := input*k.inputRate + output*k.outputRate // as costOf
	c.Cost = Cost{Known: true, Picodollars: cost, Source: costFromTable}
	header[costHeader] = []string{dollars(cost)}
	w := x.response
	charges := w.charges
	if charges == nil {
		return
	}
	w.charges = nil
	amounts := []int64{0, 1, input, output, input + output, cost}
	if x.sharesCharges {
		settleCharges(charges, amounts)
		return
	}
	settleMemory(theMemoryStore, charges, amounts)
}

// settleByParts is settlePriced for a price that depends on more than the tokens; nil: there is none.
func settleByParts(x *exchange, p *price, header http.Header) {
	setPricedCost(x, p, header)
	if x.response.charges != nil {
		settleUncommon(x)
	}
}

// settleUncommonPriced is settlePriced for all calls, in more steps.
func settleUncommonPriced(x *exchange, t *priceTable, header http.Header) {
	setCost(x, t, header)
	if x.response.charges != nil {
		settleUncommon(x)
	}
}

// setCost sets what a call cost, and the access-log header. A response with an error costs nothing that is
// known.
func setCost(x *exchange, t *priceTable, header http.Header) {
	c, reader := x.call, x.response.reader
	if c.Cache == cacheHit {
		c.Cost = Cost{Known: true, Source: costFromCache}
		header[costHeader] = []string{dollars(0)}
		return
	}
	if c.Status < http.StatusOK || c.Status >= http.StatusMultipleChoices || x.decision.counts {
		return
	}
	takeParts(reader)
	if t.trustReported && reader.parts.cost != "" {
		setReportedCost(c, reader.parts.cost, header)
		return
	}
	setPricedCost(x, servedPrice(t, x.provider.preset.name, c.Response.Model, c.Request.Model), header)
}

// setReportedCost sets the cost that a provider reports, a decimal text.
func setReportedCost(c *Call, text string, header http.Header) {
	cost, _ := decimal(text, unitPlaces)
	c.Cost = Cost{Known: true, Picodollars: cost, Source: costFromProvider}
	header[costHeader] = []string{dollars(cost)}
}

// setPricedCost sets the cost of a call by its price; nil: it has none, and the cost is unknown. Endpoints
// other than those that generate text may have no output: it then costs nothing.
func setPricedCost(x *exchange, p *price, header http.Header) {
	c := x.call
	if p == nil {
		countUnknownCost(x.firstPolicy.telemetry.registry, c, unknownPrice)
		return
	}
	u := c.Response.Usage
	if !generatesText(x.kind) && !u.OutputKnown {
		u.OutputKnown = u.InputKnown
	}
	cost, isKnown := costOf(p, &u, &c.Response)
	if !isKnown {
		countUnknownCost(x.firstPolicy.telemetry.registry, c, unknownUsage)
		return
	}
	c.Cost = Cost{Known: true, Picodollars: cost, Source: costFromTable}
	header[costHeader] = []string{dollars(cost)}
}
