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
	if c.Status < http.StatusOK || c.Status >= http.StatusMultipleChoices {
		return
	}
	if resp.details == nil || !isPlain(&resp.details.Usage) {
		takeParts(x.response.reader)
		if t.trustReported && x.response.reader.parts.cost != "" {
			setReportedCost(c, x.response.reader.parts.cost, header)
			return
		}
	} else {
		resp.ServiceTier = resp.details.ServiceTier
	}
	p := servedPrice(t, x.provider.preset.name, resp.Model, c.Request.Model)
	if p == nil || !resp.Usage.OutputKnown {
		setUncommonCost(x, p, header)
		return
	}
	cost, isKnown := costOf(p, &resp.Usage, resp)
	if !isKnown {
		countUnknownCost(x.firstPolicy.telemetry.registry, c, unknownUsage)
		return
	}
	c.Cost = Cost{Known: true, Picodollars: cost, Source: costFromTable}
	header[costHeader] = []string{dollars(cost)}
}

// setReportedCost sets the cost that a provider reports, a decimal text.
func setReportedCost(c *Call, text string, header http.Header) {
	cost, _ := decimal(text, unitPlaces)
	c.Cost = Cost{Known: true, Picodollars: cost, Source: costFromProvider}
	header[costHeader] = []string{dollars(cost)}
}

// setUncommonCost sets the cost of a call without a price, which is unknown, and of one without output.
// Endpoints other than those that generate text may have none: it then costs nothing.
func setUncommonCost(x *exchange, p *price, header http.Header) {
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
