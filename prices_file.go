package chatcompletion

import (
	"bytes"
	"context"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

// priceList is what models cost according to one text. Prices are made when a model is looked up:
// LiteLLM's list has thousands of models, of which few are used.
type priceList struct {
	members  map[string]*priceMembers
	litellm  map[string]json.RawMessage
	patterns []*pricePattern // names in members with *
}

// priceMembers are the members of a price as texts. encoding/json verifies that they are numbers.
type priceMembers struct {
	Input        json.Number            `json:"input"`
	Output       json.Number            `json:"output"`
	CacheRead    json.Number            `json:"cacheRead"`
	CacheWrite   json.Number            `json:"cacheWrite"`
	CacheWrite1h json.Number            `json:"cacheWrite1h"`
	Reasoning    json.Number            `json:"reasoning"`
	InputAudio   json.Number            `json:"inputAudio"`
	OutputAudio  json.Number            `json:"outputAudio"`
	Request      json.Number            `json:"request"`
	Image        json.Number            `json:"image"`
	Second       json.Number            `json:"second"`
	Tiers        []*tierMembers         `json:"tiers"`
	ServiceTiers map[string]json.Number `json:"serviceTiers"`
}

// tierMembers are the members of a tier as texts. It repeats those for tokens, since encoding/json does
// not fill embedded structs of interpreted code.
type tierMembers struct {
	Over         json.Number `json:"over"`
	Input        json.Number `json:"input"`
	Output       json.Number `json:"output"`
	CacheRead    json.Number `json:"cacheRead"`
	CacheWrite   json.Number `json:"cacheWrite"`
	CacheWrite1h json.Number `json:"cacheWrite1h"`
	Reasoning    json.Number `json:"reasoning"`
	InputAudio   json.Number `json:"inputAudio"`
	OutputAudio  json.Number `json:"outputAudio"`
}

// priceDocument is a text with prices in this project's format. The first two members are for readers.
type priceDocument struct {
	Date    string                   `json:"date"`
	Sources []string                 `json:"sources"`
	Models  map[string]*priceMembers `json:"models"`
}

// startPrices starts the look-ups of prices that can change.
func startPrices(ctx context.Context, t *priceTable) {
	if t == nil || t.source == nil {
		return
	}
	t.secret = startDocument(ctx, t.source)
}

// currentPrices returns the last valid prices of a table's document; nil: there were none so far.
func currentPrices(t *priceTable) *priceList {
	list, known := currentDocument(t.secret).(*priceList)
	if known {
		return list
	}
	return nil
}

// parsePriceDocument is parsePriceList for a document.
func parsePriceDocument(text string) (parsed any, problem string) {
	list, invalid := parsePriceList([]byte(text))
	parsed = list
	problem = invalid
	return parsed, problem
}

// Members of LiteLLM's list, and the problem of a text in neither format.
var (
	litellmMember = []byte(`_cost"`)
	litellmSuffix = []byte(`_cost_per_`)
)

const noPriceFormat = `must be JSON with prices: {"models": {...}}, or LiteLLM's model_prices_and_context_window.json`

// negativeNumber matches a value below 0, which no price is. In a JSON string, its quote would be escaped.
var negativeNumber = regexp.MustCompile(`":[ \t\r\n]*"?-`)

// parsePriceList parses a text with prices in either format, and returns the problem, "" if there is
// none. Compiled code checks all models; their prices are made later.
func parsePriceList(text []byte) (*priceList, string) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(text, &top); err != nil {
		return nil, noPriceFormat
	}
	if _, isOwn := top["models"]; isOwn {
		return parseOwnList(text)
	}
	if !bytes.Contains(text, litellmSuffix) && !bytes.Contains(text, litellmMember) {
		return nil, noPriceFormat
	}
	return &priceList{litellm: top}, ""
}

// parseOwnList parses a text in this project's format.
func parseOwnList(text []byte) (*priceList, string) {
	document := &priceDocument{}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(document); err != nil {
		return nil, "invalid prices: " + shortened(err.Error())
	}
	if negativeNumber.Match(text) {
		return nil, "invalid prices: a price is below 0"
	}
	return newPriceList(document.Models), ""
}

// newPriceList returns the prices of models by their names.
func newPriceList(members map[string]*priceMembers) *priceList {
	return &priceList{members: members, patterns: newPatterns(sortedKeys(members))}
}

// exactPrice returns the price of the model with a name; nil: the list has none.
func exactPrice(list *priceList, providerName, name string) *price {
	if list == nil {
		return nil
	}
	if list.litellm == nil {
		return priceNamed(list, name)
	}
	if prefix := litellmPrefixes[providerName]; prefix != "" && strings.HasPrefix(name, providerName+"/") {
		name = prefix + strings.TrimPrefix(name, providerName)
	}
	if entry, has := list.litellm[name]; has {
		return litellmPrice(entry)
	}
	return nil
}

// priceNamed returns the price that a list has under a name, which may be a pattern; nil: it has none.
// That of an invalid one is unknown, which is logged.
func priceNamed(list *priceList, name string) *price {
	members := list.members[name]
	if members == nil {
		return nil
	}
	bad := &problems{}
	p := priceFrom(bad, strconv.Quote(shortened(name)), members)
	if len(bad.found) > 0 {
		logWarnOnce("prices: %s; the price is unknown", strings.Join(bad.found, "; "))
		return nil
	}
	return p
}

// Bounds of prices, in USD, and their text in error messages.
const (
	maxPrice    = 9000000
	priceBounds = `must be a number from 0 to 9000000, such as "2.50", got %q`
)

// Places of the decimal point: a picodollar per token is 0.000001 USD per million tokens, and 1e-12
// USD per request, image and second. Factors are in millionths.
const (
	tokenPlaces  = 6
	unitPlaces   = 12
	factorPlaces = 6
	maxFactor    = 1000
)

// priceFrom makes a price from its members, and reports the problems of what is below a key.
func priceFrom(bad *problems, key string, m *priceMembers) *price {
	rates := parseRates(bad, key, []json.Number{m.Input, m.Output, m.CacheRead, m.CacheWrite, m.CacheWrite1h, m.Reasoning, m.InputAudio,
		m.OutputAudio, m.Request, m.Image, m.Second})
	if !hasRate(rates) && len(bad.found) == 0 {
		bad.add(key, "has no price; set input and output, or what else the model costs")
	}
	p := newPrice(rates, parseTiers(bad, key, m.Tiers))
	p.factors = parseServiceTiers(bad, key, m.ServiceTiers)
	p.byService = p.factors != nil
	return p
}

func hasRate(rates []int64) bool {
	for _, rate := range rates {
		if rate != noRate {
			return true
		}
	}
	return false
}

// parseRates parses the rates of a price or of a tier.
func parseRates(bad *problems, key string, texts []json.Number) []int64 {
	rates := make([]int64, rateKinds)
	for kind := range rates {
		rates[kind] = noRate
		if kind >= len(texts) || texts[kind] == "" {
			continue
		}
		places, most := tokenPlaces, int64(maxPrice*1000000)
		if kind >= tokenRates {
			places, most = unitPlaces, maxPrice*dollarPicos
		}
		rate, isNumber := decimal(string(texts[kind]), places)
		if !isNumber || rate > most {
			bad.add(key+"."+rateNames[kind], priceBounds, shortened(string(texts[kind])))
		}
		rates[kind] = rate
	}
	return rates
}

// inputBound matches the number of tokens that a tier begins above.
var inputBound = regexp.MustCompile(`^[1-9][0-9]{0,12}$`)

// parseTiers parses the tiers of a price.
func parseTiers(bad *problems, key string, members []*tierMembers) []*priceTier {
	var tiers []*priceTier
	for i, m := range members {
		place := key + ".tiers[" + strconv.Itoa(i) + "]"
		if m == nil {
			bad.add(place, "must be an object")
			continue
		}
		over, _ := decimal(string(m.Over), 0)
		if !inputBound.MatchString(string(m.Over)) || over > maxTokenBound {
			bad.add(place+".over", "must be an integer from 1 to %d (tokens), got %q", maxTokenBound, shortened(string(m.Over)))
		}
		for _, tier := range tiers {
			if tier.over == over {
				bad.add(place+".over", "is that of another tier, %d", over)
			}
		}
		tiers = append(tiers, &priceTier{over: over, rates: parseRates(bad, place, []json.Number{m.Input, m.Output, m.CacheRead, m.CacheWrite,
			m.CacheWrite1h, m.Reasoning, m.InputAudio, m.OutputAudio})})
	}
	return tiers
}

// maxTokenBound is the largest number of tokens that a tier can begin above: no response has more.
const maxTokenBound = 1000000000000

// parseServiceTiers parses the factors of service tiers.
func parseServiceTiers(bad *problems, key string, factors map[string]json.Number) map[string]int64 {
	if len(factors) == 0 {
		return nil
	}
	parsed := map[string]int64{}
	for _, name := range sortedKeys(factors) {
		factor, isNumber := decimal(string(factors[name]), factorPlaces)
		if !isNumber || factor > maxFactor*1000000 {
			bad.add(key+".serviceTiers."+name, `must be a number from 0 to %d, such as "0.5", got %q`, maxFactor, shortened(string(factors[name])))
		}
		parsed[name] = factor
	}
	return parsed
}
