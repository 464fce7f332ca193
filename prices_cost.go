package chatcompletion

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// Amounts of money are int64 of picodollars, 1e-12 USD. A product or a sum that is larger is
// math.MaxInt64: it stays above any limit.

// costOf returns what a call cost in picodollars, and reports whether that is known: tokens that cost something have
// been counted, and those that have been counted have a price.
func costOf(p *price, u *Usage, r *Response) (int64, bool) {
	if p.byService && r.ServiceTier != "" {
		return serviceCost(p, u, r)
	}
	input, output := u.InputTokens, u.OutputTokens
	if input > p.plainInput || output > plainTokens || !u.InputKnown || !u.OutputKnown {
		return costOfParts(p, u)
	}
	if u.CacheReadInputTokens|u.CacheCreationInputTokens|u.ReasoningOutputTokens|u.InputAudioTokens|u.OutputAudioTokens == 0 {
		return input*p.rates[inputRate] + output*p.rates[outputRate], true
	}
	return costOfCommonParts(p, u)
}

// costOfCommonParts is costOfParts in fewer steps, for the parts that most usages have, up to the inputs of
// plainInput.
func costOfCommonParts(p *price, u *Usage) (int64, bool) {
	rates, read, written, reasoning := p.rates, u.CacheReadInputTokens, u.CacheCreationInputTokens, u.ReasoningOutputTokens
	if u.CacheCreation1hInputTokens|u.InputAudioTokens|u.OutputAudioTokens > 0 || read+written > u.InputTokens || reasoning > u.OutputTokens {
		return costOfParts(p, u)
	}
	return (u.InputTokens-read-written)*rates[inputRate] + read*rates[cacheReadRate] + written*rates[cacheWriteRate] +
		(u.OutputTokens-reasoning)*rates[outputRate] + reasoning*rates[reasoningRate], true
}

// serviceCost returns what a call cost whose response names a service tier.
func serviceCost(p *price, u *Usage, r *Response) (int64, bool) {
	plain := &Response{}
	if own, has := p.services[r.ServiceTier].(*price); has {
		return costOf(own, u, plain)
	}
	cost, isKnown := costOf(p, u, plain)
	if factor, has := p.factors[r.ServiceTier]; has {
		cost = multiplied(cost, factor)
	}
	return cost, isKnown
}

// costOfParts returns what a call cost by its parts, which are disjoint.
func costOfParts(p *price, u *Usage) (int64, bool) {
	rates := ratesFor(p, u.InputTokens)
	if p.byTokens {
		if (!u.InputKnown && rates[inputRate] > 0) || (!u.OutputKnown && rates[outputRate] > 0) {
			return 0, false
		}
	} else if rates[requestRate]|u.Images|u.AudioMilliseconds == 0 {
		return 0, false
	}
	cost := int64(0)
	for kind, count := range countedParts(u) {
		switch {
		case count == 0 || (!p.byTokens && kind < tokenRates):
		case rates[kind] == noRate:
			return 0, false
		default:
			cost = addSaturated(cost, product(count, rates[kind]))
		}
	}
	if u.AudioMilliseconds > 0 && rates[secondRate] > 0 {
		cost = addSaturated(cost, quotient(u.AudioMilliseconds, rates[secondRate], 1000))
	}
	return cost, true
}

// ratesFor returns the rates for an input.
func ratesFor(p *price, inputTokens int64) []int64 {
	rates := p.rates
	for _, tier := range p.tiers {
		if inputTokens > tier.over {
			rates = tier.rates
		}
	}
	return rates
}

// countedParts returns how many of each kind a call used. No token counts twice: what the parts exceed
// the whole by is left out. Seconds are not among them.
func countedParts(u *Usage) []int64 {
	input, output := u.InputTokens, u.OutputTokens
	read := atMost(u.CacheReadInputTokens, input)
	written := atMost(u.CacheCreationInputTokens, input-read)
	written1h := atMost(u.CacheCreation1hInputTokens, written)
	inputAudio := atMost(u.InputAudioTokens, input-read-written)
	reasoning := atMost(u.ReasoningOutputTokens, output)
	outputAudio := atMost(u.OutputAudioTokens, output-reasoning)
	return []int64{input - read - written - inputAudio, output - reasoning - outputAudio, read, written - written1h, written1h,
		reasoning, inputAudio, outputAudio, 1, u.Images}
}

// atMost returns a count, or what is left if that is less.
func atMost(count, left int64) int64 {
	if count > left {
		return left
	}
	return count
}

// estimateCost returns what a call with these tokens costs at least: the input at the lowest price that
// it may have, which is that of a cache if there is one.
func estimateCost(p *price, inputTokens, outputTokens int64) int64 {
	rates := ratesFor(p, inputTokens)
	input, output := rates[inputRate], rates[outputRate]
	if rates[cacheReadRate] < input {
		input = rates[cacheReadRate]
	}
	if input < 0 {
		input = 0
	}
	if output < 0 {
		output = 0
	}
	return addSaturated(rates[requestRate], addSaturated(product(inputTokens, input), product(outputTokens, output)))
}

// addSaturated returns the sum of two amounts that are not negative.
func addSaturated(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// product returns the product of two numbers that are not negative.
func product(a, b int64) int64 {
	high, low := bits.Mul64(uint64(a), uint64(b))
	if high != 0 || low > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(low)
}

// multiplied returns an amount times a factor in millionths.
func multiplied(amount, factor int64) int64 {
	return quotient(amount, factor, 1000000)
}

// quotient returns a*b/divisor, rounded to the nearest, up from the middle.
func quotient(a, b, divisor int64) int64 {
	high, low := bits.Mul64(uint64(a), uint64(b))
	rounded, carry := bits.Add64(low, uint64(divisor/2), 0)
	if high+carry >= uint64(divisor) {
		return math.MaxInt64
	}
	whole, _ := bits.Div64(high+carry, rounded, uint64(divisor))
	if whole > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(whole)
}

// dollarPicos is a dollar in picodollars.
const dollarPicos = 1_000_000_000_000

// floatPicos bounds the amounts that a float shows exactly: their texts have at most 15 digits, and the shortest
// text of the float that is nearest to such a text is that text.
const floatPicos = 1_000_000_000_000_000

// dollars returns an amount as exact decimal text in USD.
func dollars(picodollars int64) string {
	if picodollars < floatPicos {
		return strconv.FormatFloat(float64(picodollars)/dollarPicos, 'f', -1, 64)
	}
	return largeAmount(picodollars)
}

// largeAmount is dollars for all amounts, in more steps.
func largeAmount(picodollars int64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%d.%012d", picodollars/dollarPicos, picodollars%dollarPicos), "0"), ".")
}
