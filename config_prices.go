package chatcompletion

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// parsePrices parses Config.Prices. It returns nil if no prices are configured.
func parsePrices(bad *problems, config Prices, secrets *secretSettings) *priceTable {
	from := strings.TrimSpace(config.From)
	if from == "" && len(config.Models) == 0 && isUnset(config.TrustReported) && config.Unpriced == "" {
		return nil
	}
	t := &priceTable{trustReported: parseBool(bad, "prices.trustReported", config.TrustReported, true)}
	t.deniesUnpriced = parseOneOf(bad, "prices.unpriced", config.Unpriced, unpricedAllow, unpricedDeny) == unpricedDeny
	if from == "" && len(config.Models) == 0 && !t.trustReported {
		bad.add("prices.trustReported", `has no effect without "prices.from" or "prices.models"`)
	}
	t.own = parsePriceModels(bad, config.Models)
	if from != "" {
		parsePricesFrom(bad, t, from, secrets)
	}
	return t
}

// Values of Prices.Unpriced.
const (
	unpricedAllow = "allow"
	unpricedDeny  = "deny"
)

// parsePricesFrom parses Prices.From.
func parsePricesFrom(bad *problems, t *priceTable, from string, secrets *secretSettings) {
	source, literal, problem := newDocument("prices.from", "costs are unknown", from, "{", secrets)
	if problem == "" && source == nil {
		problem = parseInlinePrices(bad, t, literal)
	}
	if problem != "" {
		bad.add("prices.from", "%s", problem)
		return
	}
	if source != nil {
		useDocument(source, "prices", parsePriceDocument)
		t.source = source
	}
}

// parseInlinePrices parses prices that do not change, and returns the problem of the whole text.
func parseInlinePrices(bad *problems, t *priceTable, text string) string {
	list, problem := parsePriceList([]byte(text))
	if problem != "" {
		return problem
	}
	for _, name := range sortedKeys(list.members) {
		checkPrice(bad, "prices.from: models["+shortened(name)+"]", name, list.members[name])
	}
	t.inline = list
	return ""
}

// parsePriceModels parses Prices.Models.
func parsePriceModels(bad *problems, models map[string]Price) *priceList {
	members := map[string]*priceMembers{}
	for _, name := range sortedKeys(models) {
		configured := models[name]
		members[name] = configuredMembers(&configured)
		checkPrice(bad, priceKey(name), name, members[name])
	}
	return newPriceList(members)
}

// priceKey returns the key of a model's price for error messages.
func priceKey(name string) string {
	return "prices.models[" + shortened(name) + "]"
}

// checkPrice reports the problems of a price. The price itself is made when it is looked up.
func checkPrice(bad *problems, key, name string, members *priceMembers) {
	if name == "" || !isModelName(name) {
		bad.add(key, "must be the name of a model, of at most %d bytes without control characters", modelMaxBytes)
		return
	}
	if members == nil {
		bad.add(key, "must be an object")
		return
	}
	own := &problems{}
	priceFrom(own, key, members)
	bad.found = append(bad.found, own.found...)
}

// configuredMembers returns the members of a configured price.
func configuredMembers(p *Price) *priceMembers {
	m := &priceMembers{
		Input: numberText(p.Input), Output: numberText(p.Output), CacheRead: numberText(p.CacheRead), CacheWrite: numberText(p.CacheWrite),
		CacheWrite1h: numberText(p.CacheWrite1h), Reasoning: numberText(p.Reasoning), InputAudio: numberText(p.InputAudio),
		OutputAudio: numberText(p.OutputAudio), Request: numberText(p.Request), Image: numberText(p.Image), Second: numberText(p.Second),
		ServiceTiers: map[string]json.Number{},
	}
	for i := range p.Tiers {
		tier := &p.Tiers[i]
		m.Tiers = append(m.Tiers, &tierMembers{
			Over: numberText(tier.Over), Input: numberText(tier.Input), Output: numberText(tier.Output), CacheRead: numberText(tier.CacheRead),
			CacheWrite: numberText(tier.CacheWrite), CacheWrite1h: numberText(tier.CacheWrite1h), Reasoning: numberText(tier.Reasoning),
			InputAudio: numberText(tier.InputAudio), OutputAudio: numberText(tier.OutputAudio),
		})
	}
	for name, factor := range p.ServiceTiers {
		m.ServiceTiers[name] = numberText(factor)
	}
	return m
}

// numberText returns the text of a number, or of a string that holds one; "" for none. That of a float
// is the shortest that means it.
func numberText(value any) json.Number {
	if value == nil {
		return ""
	}
	number, isFloat := value.(float64)
	if isFloat {
		return json.Number(strconv.FormatFloat(number, 'f', -1, 64))
	}
	return json.Number(strings.TrimSpace(fmt.Sprint(value)))
}
