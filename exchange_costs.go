package chatcompletion

// Reasons why a call with prices has no cost.
const (
	unknownPrice = "no_price" // of the model
	unknownUsage = "no_usage" // of tokens that have a price, or a price of tokens that the call used
)

// setCost sets what a call cost, which is known once its response has ended well enough to have a
// usage. A response with an error costs nothing that is known.
func setCost(x *exchange) {
	c, t := x.call, x.firstPolicy.prices
	if c.Status < 200 || c.Status > 299 {
		return
	}
	reported := takeParts(&x.response.reader, c)
	if reported != "" && t.trustReported {
		picodollars, _ := decimal(reported, unitPlaces)
		c.Cost = Cost{Known: true, Picodollars: picodollars, Source: costFromProvider}
		return
	}
	resp := &c.Response
	p := servedPrice(t, x.provider.preset.name, resp.Model, c.Request.Model)
	if p == nil {
		countUnknownCost(x.firstPolicy.telemetry.registry, c, unknownPrice)
		return
	}
	u := &resp.Usage
	if !u.OutputKnown && x.kind != completions && x.kind != responses {
		u = withoutOutput(u)
	}
	picodollars, isKnown := costOf(p, u, resp)
	if !isKnown {
		countUnknownCost(x.firstPolicy.telemetry.registry, c, unknownUsage)
		return
	}
	c.Cost = Cost{Known: true, Picodollars: picodollars, Source: costFromTable}
}

// withoutOutput returns a usage of an endpoint that has no output, such as embeddings. It costs nothing
// unless the response reports it.
func withoutOutput(u *Usage) *Usage {
	own := *u
	own.OutputKnown = own.InputKnown
	return &own
}
