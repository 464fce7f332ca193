package chatcompletion

import (
	"encoding/json"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// litellmPrefixes are the names before the models of a provider in LiteLLM's list, by the name of the
// preset, where they differ.
var litellmPrefixes = map[string]string{"together": "together_ai", "fireworks": "fireworks_ai"}

// litellmKinds are the kinds of the prices in LiteLLM's list, which are in USD per token, request,
// image and second.
var litellmKinds = map[string]int{
	"input_cost_per_token":                      inputRate,
	"output_cost_per_token":                     outputRate,
	"cache_read_input_token_cost":               cacheReadRate,
	"cache_creation_input_token_cost":           cacheWriteRate,
	"cache_creation_input_token_cost_above_1hr": cacheWrite1hRate,
	"output_cost_per_reasoning_token":           reasoningRate,
	"input_cost_per_audio_token":                inputAudioRate,
	"output_cost_per_audio_token":               outputAudioRate,
	"input_cost_per_request":                    requestRate,
	"output_cost_per_image":                     imageRate,
	"input_cost_per_image":                      imageRate, // of models that generate images only
	"output_cost_per_second":                    secondRate,
	"input_cost_per_second":                     secondRate, // the same as that of the output, if there are both
}

// litellmServices are the names of service tiers in responses, by the ends of the names of their prices.
var litellmServices = map[string]string{"_priority": "priority", "_flex": "flex", "_batches": "batch"}

// litellmName matches the name of a price, with the input above which it applies, in thousands of
// tokens, and the service tier.
var litellmName = regexp.MustCompile(`^([a-z0-9_]+?)(?:_above_([0-9]{1,6})k_tokens)?(_priority|_flex|_batches)?$`)

// litellmRates are the rates of one service tier of a model by the input above which they apply.
type litellmRates map[int64][]int64

// litellmPrice returns the price of a model in LiteLLM's list; nil: it has none.
func litellmPrice(entry json.RawMessage) *price {
	var members map[string]json.RawMessage
	if json.Unmarshal(entry, &members) != nil {
		return nil
	}
	services := map[string]litellmRates{"": {0: emptyRates()}}
	readLitellmMembers(services, members, string(members["mode"]) == `"image_generation"`)
	readLitellmRanges(services[""], members["tiered_pricing"])
	base := services[""]
	if !hasRate(base[0]) {
		return nil
	}
	delete(services, "")
	p := newPrice(base[0], tiersOf(base, base))
	p.services = litellmServicePrices(base, services)
	p.byService = p.services != nil
	return p
}

func emptyRates() []int64 {
	return parseRates(nil, "", nil)
}

// readLitellmMembers adds the rates of a model to those of its service tiers.
func readLitellmMembers(services map[string]litellmRates, members map[string]json.RawMessage, makesImages bool) {
	for name, value := range members {
		parts := litellmName.FindStringSubmatch(name)
		if parts == nil || (parts[1] == "input_cost_per_image" && (!makesImages || members["output_cost_per_image"] != nil)) ||
			(parts[1] == "input_cost_per_second" && members["output_cost_per_second"] != nil) {
			continue
		}
		kind, isPrice := litellmKinds[parts[1]]
		over, isOver := decimal(parts[2]+"000", 0)
		if isPrice && isOver {
			service := litellmServices[parts[3]]
			if services[service] == nil {
				services[service] = litellmRates{}
			}
			setLitellmRate(services[service], over, kind, value)
		}
	}
}

// setLitellmRate sets a rate, unless the value is no price.
func setLitellmRate(rates litellmRates, over int64, kind int, value json.RawMessage) {
	rate, isNumber := decimal(strings.Trim(string(value), `"`), unitPlaces)
	if !isNumber || rate > maxPrice*1000000 {
		return
	}
	if rates[over] == nil {
		rates[over] = emptyRates()
	}
	rates[over][kind] = rate
}

// readLitellmRanges adds the rates of a model whose list has a price for each range of its input.
func readLitellmRanges(rates litellmRates, text json.RawMessage) {
	var ranges []map[string]json.RawMessage
	if text == nil || json.Unmarshal(text, &ranges) != nil {
		return
	}
	for _, members := range ranges {
		var bounds []json.Number
		if json.Unmarshal(members["range"], &bounds) != nil || len(bounds) == 0 {
			continue
		}
		over, isOver := decimal(string(bounds[0]), 0)
		for name, value := range members {
			kind, isPrice := litellmKinds[name]
			if isPrice && isOver && over <= maxTokenBound {
				setLitellmRate(rates, over, kind, value)
			}
		}
	}
}

// tiersOf returns the tiers of rates that are laid over those of the whole model.
func tiersOf(base, rates litellmRates) []*priceTier {
	bounds := map[string]int64{}
	for over := range base {
		bounds[strconv.FormatInt(over, 10)] = over
	}
	for over := range rates {
		bounds[strconv.FormatInt(over, 10)] = over
	}
	var tiers []*priceTier
	for _, text := range sortedKeys(bounds) {
		if over := bounds[text]; over > 0 {
			tier := emptyRates()
			for _, laid := range [][]int64{base[over], rates[over]} {
				if laid != nil {
					tier = overlaid(tier, laid)
				}
			}
			tiers = append(tiers, &priceTier{over: over, rates: tier})
		}
	}
	sort.Slice(tiers, func(i, j int) bool { return tiers[i].over < tiers[j].over })
	return tiers
}

// litellmServicePrices returns the prices of service tiers. What such a price lacks is that of the
// whole model.
func litellmServicePrices(base litellmRates, services map[string]litellmRates) map[string]any {
	if len(services) == 0 {
		return nil
	}
	prices := map[string]any{}
	for name, rates := range services {
		own := base[0]
		if rates[0] != nil {
			own = overlaid(base[0], rates[0])
		}
		prices[name] = newPrice(own, tiersOf(base, rates))
	}
	return prices
}
