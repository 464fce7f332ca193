package chatcompletion

import "net/http"

// Reasons why a call with prices has no cost.
const (
	unknownPrice = "no_price" // of the model
	unknownUsage = "no_usage" // of tokens that have a price, or no price of tokens that were used
)

// setCost sets what a call cost, and the access-log header. A response with an error costs nothing that is
// known.
func setCost(x *exchange, t *priceTable, header http.Header) {
	c := x.call
	resp := &c.Response
	u, small := &resp.Usage, resp.details
	if small == nil || c.Status != http.StatusOK || !isPlain(&small.Usage) {
		setUncommonCost(x, t, header)
		return
	}
	resp.ServiceTier = small.ServiceTier
	input, output := u.InputTokens, u.OutputTokens
	p := servedPrice(t, x.provider.preset.name, resp.Model, c.Request.Model)
	if p == nil || p.byService || input > p.plainInput || output > plainTokens {
		setPricedCost(x, p, header)
		return
	}
	cost := input*p.rates[inputRate] + output*p.rates[outputRate] // as costOf
	c.Cost = Cost{Known: true, Picodollars: cost, Source: costFromTable}
	header[costHeader] = []string{dollars(cost)}
}

// setUncommonCost is setCost for all but small responses without parts that could have a price of their own.
func setUncommonCost(x *exchange, t *priceTable, header http.Header) {
	c, reader := x.call, x.response.reader
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
	if x.kind != completions && x.kind != responses && !u.OutputKnown {
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
