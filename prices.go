package chatcompletion

import (
	"math"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// priceTable is what models cost under a policy.
type priceTable struct {
	own            *priceList    // of Prices.Models
	inline         *priceList    // of Prices.From, if it is the prices themselves; nil: it is not
	source         *secretSource // of Prices.From; nil: it is not looked up
	secret         *secret       // what source holds; set by startPrices
	trustReported  bool
	deniesUnpriced bool     // models without a price, where a quota counts money
	known          sync.Map // of what has been looked up, *knownPrice by key
	knownCount     atomic.Int64
}

// knownPrice is the result of a look-up.
type knownPrice struct {
	price *price     // nil: there is none
	list  *priceList // of the file at that time

	// Up to this input, tokens cost these rates, and nothing else counts; -1: never.
	plainInput int64
	inputRate  int64
	outputRate int64
}

// maxKnownPrices bounds the results that a table remembers, since clients and providers could make up
// any number of models. Before further ones it forgets all.
const maxKnownPrices = 1000

// Kinds of prices, in the order of rateNames.
const (
	inputRate = iota
	outputRate
	cacheReadRate
	cacheWriteRate
	cacheWrite1hRate
	reasoningRate
	inputAudioRate
	outputAudioRate
	requestRate
	imageRate
	secondRate
	rateKinds // their number
)

// rateNames are the members of a price. The first tokenRates of them are per million tokens.
var rateNames = []string{"input", "output", "cacheRead", "cacheWrite", "cacheWrite1h", "reasoning", "inputAudio", "outputAudio", "request", "image", "second"}

// tokenRates is the number of the kinds of prices that are for tokens.
const tokenRates = requestRate

// noRate is the rate of what has no price.
const noRate = -1

// price is what a model costs. Rates are in picodollars per token, request, image and second, by kind.
type price struct {
	rates    []int64
	tiers    []*priceTier // by the input that they begin above, the lowest first
	byTokens bool         // false: only requests, images and seconds cost something
	// By the service tier of the response: factors in millionths, and prices of its own, which are
	// *price. Yaegi cannot set a field whose type leads back to its struct through a map or another type.
	factors   map[string]int64
	services  map[string]any
	byService bool // one of the two is set

	// Most calls cost their tokens, at rates whose products cannot overflow. Up to this input, no tier
	// and no other rate counts; -1: never.
	plainInput int64
}

// priceTier are the rates of long inputs.
type priceTier struct {
	over  int64
	rates []int64
}

// The bounds of plain products: their sum is below maxCallCost.
const (
	plainTokens = 1 << 24
	plainRate   = 1 << 31
)

// newPrice returns the price with these rates, of which those that are not there are noRate.
func newPrice(rates []int64, tiers []*priceTier) *price {
	p := &price{tiers: tiers, plainInput: -1}
	for _, rate := range rates[:tokenRates] {
		p.byTokens = p.byTokens || rate != noRate
	}
	sort.Slice(tiers, func(i, j int) bool { return tiers[i].over < tiers[j].over })
	for _, tier := range tiers {
		tier.rates = withDefaults(overlaid(rates, tier.rates))
	}
	p.rates = withDefaults(rates)
	if p.byTokens && isPlainRates(p.rates) {
		p.plainInput = plainTokens
		if len(tiers) > 0 && tiers[0].over < plainTokens {
			p.plainInput = tiers[0].over
		}
	}
	return p
}

// isPlainRates reports whether all tokens have a price that is not too high, and nothing else has one.
func isPlainRates(rates []int64) bool {
	for kind, rate := range rates {
		if rate == noRate || rate >= plainRate || (kind >= tokenRates && rate > 0) {
			return false
		}
	}
	return true
}

// overlaid returns rates with those that others have in their place.
func overlaid(rates, others []int64) []int64 {
	all := append([]int64(nil), rates...)
	for kind, rate := range others {
		if rate != noRate {
			all[kind] = rate
		}
	}
	return all
}

// rateDefaults has, for each kind of tokens, the kind whose rate counts if there is none. The order
// matters: cacheWrite1h takes what cacheWrite has taken.
var rateDefaults = []int{inputRate, outputRate, inputRate, inputRate, cacheWriteRate, outputRate, inputRate, outputRate}

// withDefaults returns rates with those that other rates stand for.
func withDefaults(rates []int64) []int64 {
	all := append([]int64(nil), rates...)
	for kind := range all {
		if all[kind] != noRate {
			continue
		}
		all[kind] = 0
		if kind < tokenRates {
			all[kind] = all[rateDefaults[kind]]
		}
	}
	for _, kind := range []int{inputRate, outputRate} {
		if rates[kind] == noRate {
			all[kind] = noRate
		}
	}
	return all
}

// servedPrice returns the price of a model that a provider has served: that of the model which its
// response names, else that of the one which it was sent. Either may be empty, and so may the name of
// the provider. nil: it has none. The result is remembered.
func servedPrice(t *priceTable, providerName, responseModel, requestModel string) *price {
	return knownPriceOf(t, providerName+"\x00"+responseModel+"\x00"+requestModel).price
}

// knownPriceOf is servedPrice for the key of a look-up: the three names, with "\x00" between them.
func knownPriceOf(t *priceTable, key string) *knownPrice {
	found, isKnown := t.known.Load(key)
	if !isKnown {
		return lookUpPrice(t, key)
	}
	k := found.(*knownPrice)
	if t.secret != nil {
		if k.list != currentPrices(t) {
			return lookUpPrice(t, key)
		}
	}
	return k
}

// lookUpPrice looks up a price in the lists of a table, and remembers it.
func lookUpPrice(t *priceTable, key string) *knownPrice {
	var list *priceList
	if t.secret != nil {
		list = currentPrices(t)
	}
	parts := strings.Split(key, "\x00")
	var p *price
	for _, model := range parts[1:] {
		if p == nil && model != "" {
			p = findPrice([]*priceList{t.own, t.inline, list}, parts[0], model)
		}
	}
	if _, isKnown := t.known.Load(key); !isKnown && t.knownCount.Add(1) > maxKnownPrices {
		forgetPrices(t)
	}
	k := &knownPrice{price: p, list: list, plainInput: -1}
	if p != nil && p.plainInput >= 0 && !p.byService {
		k.plainInput = p.plainInput
		k.inputRate = p.rates[inputRate]
		k.outputRate = p.rates[outputRate]
	}
	t.known.Store(key, k)
	return k
}

// forgetPrices forgets all results of a table: those of models that nobody uses would else keep out those
// of the others for ever.
func forgetPrices(t *priceTable) {
	t.knownCount.Store(1)
	t.known.Range(func(key, _ any) bool {
		t.known.Delete(key)
		return true
	})
}

// findPrice returns the price of a model in the first list that names it, else that of the longest
// pattern that matches in any list; nil: there is none.
func findPrice(lists []*priceList, providerName, model string) *price {
	names := []string{model}
	if providerName != "" {
		names = []string{providerName + "/" + model, model}
	}
	if plain := plainModel(model); plain != model {
		names = append(names, providerName+"/"+plain, plain)
	}
	for _, list := range lists {
		for _, name := range names {
			if p := exactPrice(list, providerName, name); p != nil {
				return p
			}
		}
	}
	var longest *pricePattern
	var from *priceList
	for _, list := range lists {
		if found := matchingPattern(list, names); found != nil && (longest == nil || found.literal > longest.literal) {
			longest = found
			from = list
		}
	}
	if longest == nil {
		return nil
	}
	return priceNamed(from, longest.name)
}

// matchingPattern returns the first of a list's patterns that matches one of the names; nil: none does.
func matchingPattern(list *priceList, names []string) *pricePattern {
	if list == nil {
		return nil
	}
	for _, pattern := range list.patterns {
		for _, name := range names {
			if pattern.expression.MatchString(name) {
				return pattern
			}
		}
	}
	return nil
}

// pricePattern is a name with *.
type pricePattern struct {
	name       string
	literal    int // characters other than *
	expression *regexp.Regexp
}

// newPatterns returns the patterns among names, the longest first, in an order that does not depend
// on that of the names. Those longer than the name of any model match none.
func newPatterns(names []string) []*pricePattern {
	var patterns []*pricePattern
	for _, name := range names {
		stars := strings.Count(name, "*")
		if stars == 0 || len(name) > modelMaxBytes {
			continue
		}
		if expression, err := compilePatterns([]string{name}); err == nil {
			patterns = append(patterns, &pricePattern{name: name, literal: len(name) - stars, expression: expression})
		}
	}
	sort.Slice(patterns, func(i, j int) bool {
		a, b := patterns[i], patterns[j]
		if a.literal != b.literal {
			return a.literal > b.literal
		}
		if len(a.name) != len(b.name) {
			return len(a.name) < len(b.name)
		}
		return a.name < b.name
	})
	return patterns
}

// decimalText matches the decimal texts that are read: those of JSON numbers that are not negative.
var decimalText = regexp.MustCompile(`^([0-9]{1,40})(?:\.([0-9]{1,60}))?(?:[eE]([+-]?[0-9]{1,3}))?$`)

// decimal returns the number that a decimal text is, times 10^places, rounded to the nearest integer,
// up from the middle. A number too large is math.MaxInt64. It reports whether the text is a number that
// is not negative. No float is on the way, which would not be exact.
func decimal(text string, places int) (int64, bool) {
	parts := decimalText.FindStringSubmatch(text)
	if parts == nil {
		return 0, false
	}
	digits, shift := parts[1]+parts[2], places-len(parts[2])
	if parts[3] != "" {
		exponent, err := strconv.Atoi(parts[3])
		if err != nil {
			return 0, false
		}
		shift += exponent
	}
	digits = strings.TrimLeft(digits, "0")
	if digits == "" {
		return 0, true
	}
	return roundedInteger(digits, shift), true
}

// roundedInteger returns the integer of decimal digits, the first of which is not 0, times 10^shift.
func roundedInteger(digits string, shift int) int64 {
	length := len(digits) + shift
	roundUp := int64(0)
	switch {
	case length > 19:
		return math.MaxInt64
	case length < 0:
		return 0
	case shift >= 0:
		digits += strings.Repeat("0", shift)
	default:
		if digits[length] >= '5' {
			roundUp = 1
		}
		digits = digits[:length]
	}
	if digits == "" {
		return roundUp
	}
	number, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return math.MaxInt64
	}
	return addSaturated(number, roundUp)
}
