// Command prices converts a list of prices to the format of prices.from: that of LiteLLM
// (model_prices_and_context_window.json) or of genai-prices (data.json or data_slim.json). Numbers stay exact.
//
//	go run ./cmd/prices [-date 2026-11-30] [-source URL] [-models 'gpt-4o*'] list.json > prices.json
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	date := flag.String("date", time.Now().UTC().Format(time.DateOnly), "the day whose prices count, and that the output names")
	source := flag.String("source", "", "where the list is from, for readers of the output")
	models := flag.String("models", "*", "the names of the models to convert, with * for any text without a slash")
	flag.Parse()
	if err := run(flag.Args(), *date, *source, *models, os.Stdout, os.Stderr); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "prices:", err)
		os.Exit(1)
	}
}

func run(files []string, date, source, models string, out, notes io.Writer) error {
	if len(files) != 1 {
		return errors.New("name one file")
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		return err
	}
	list, err := convert(text, date, notes)
	if err != nil {
		return err
	}
	for name := range list.Models {
		matches, err := path.Match(models, name)
		if err != nil {
			return err
		}
		if models != "*" && !matches {
			delete(list.Models, name)
		}
	}
	list.Date = date
	if source != "" {
		list.Sources = []string{source}
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(list)
}

// list is the output.
type list struct {
	Date    string           `json:"date,omitempty"`
	Sources []string         `json:"sources,omitempty"`
	Models  map[string]price `json:"models"`
}

// price is a price in the output, by member.
type price map[string]any

// convert converts a list in either format.
func convert(text []byte, date string, notes io.Writer) (*list, error) {
	converted := &list{Models: map[string]price{}}
	if strings.HasPrefix(strings.TrimSpace(string(text)), "[") {
		return converted, convertGenAI(converted, text, date)
	}
	var models map[string]map[string]json.RawMessage
	if err := json.Unmarshal(text, &models); err != nil {
		return nil, fmt.Errorf("the list is neither LiteLLM's nor that of genai-prices: %w", err)
	}
	for name, members := range models {
		if p := convertLiteLLM(name, members, notes); p != nil {
			converted.Models[name] = p
		}
	}
	return converted, nil
}

// million is the factor between a price per token and one per million tokens.
var million = big.NewRat(1000000, 1)

// decimal returns a number as its exact decimal text.
func decimal(number *big.Rat) (string, error) {
	text := number.FloatString(40)
	if back, ok := new(big.Rat).SetString(text); !ok || back.Cmp(number) != 0 {
		return "", fmt.Errorf("%s has no exact decimal text", number)
	}
	return strings.TrimSuffix(strings.TrimRight(text, "0"), "."), nil
}

// number returns the number that JSON, or a string in it, is; nil: none that is a price.
func number(value json.RawMessage) *big.Rat {
	text := strings.Trim(string(value), `"`)
	if !regexp.MustCompile(`^[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$`).MatchString(text) {
		return nil
	}
	n, _ := new(big.Rat).SetString(text)
	return n
}

// liteLLMMembers are the members of LiteLLM's prices; those per token are multiplied.
var liteLLMMembers = map[string]string{
	"input_cost_per_token": "input", "output_cost_per_token": "output", "cache_read_input_token_cost": "cacheRead",
	"cache_creation_input_token_cost": "cacheWrite", "cache_creation_input_token_cost_above_1hr": "cacheWrite1h",
	"output_cost_per_reasoning_token": "reasoning", "input_cost_per_audio_token": "inputAudio", "output_cost_per_audio_token": "outputAudio",
	"input_cost_per_request": "request", "output_cost_per_image": "image", "output_cost_per_second": "second",
}

// perUnit are the members that are not per token.
var perUnit = []string{"request", "image", "second"}

var liteLLMName = regexp.MustCompile(`^([a-z0-9_]+?)(?:_above_([0-9]{1,6})k_tokens)?(?:_(priority|flex|batches))?$`)

// convertLiteLLM converts the price of a model; nil: it has none. A service tier whose prices are no single multiple of the
// others is left out, which is noted.
func convertLiteLLM(name string, members map[string]json.RawMessage, notes io.Writer) price {
	amounts := map[string]map[string]map[string]*big.Rat{} // by service tier, by input above which they apply, by member
	for key, value := range members {
		parts := liteLLMName.FindStringSubmatch(key)
		if parts == nil || number(value) == nil {
			continue
		}
		member := liteLLMMembers[parts[1]]
		switch {
		case parts[1] == "input_cost_per_image" && string(members["mode"]) == `"image_generation"` && members["output_cost_per_image"] == nil:
			member = "image"
		case parts[1] == "input_cost_per_second" && members["output_cost_per_second"] == nil:
			member = "second"
		}
		if member != "" {
			set(amounts, strings.TrimSuffix(parts[3], "es"), parts[2], member, number(value))
		}
	}
	if len(amounts[""][""]) == 0 {
		return nil
	}
	p := texts(amounts[""][""])
	for _, over := range sortedBounds(amounts[""]) {
		tier := texts(amounts[""][over])
		tier["over"] = over + "000"
		tiers, _ := p["tiers"].([]price)
		p["tiers"] = append(tiers, tier)
	}
	addFactors(p, name, amounts, notes)
	return p
}

func set(amounts map[string]map[string]map[string]*big.Rat, service, over, member string, amount *big.Rat) {
	if !slices.Contains(perUnit, member) {
		amount = new(big.Rat).Mul(amount, million)
	}
	if amounts[service] == nil {
		amounts[service] = map[string]map[string]*big.Rat{}
	}
	if amounts[service][over] == nil {
		amounts[service][over] = map[string]*big.Rat{}
	}
	amounts[service][over][member] = amount
}

// texts returns amounts as texts, without those that have none that is exact.
func texts(amounts map[string]*big.Rat) price {
	p := price{}
	for member, amount := range amounts {
		if text, err := decimal(amount); err == nil {
			p[member] = text
		}
	}
	return p
}

// sortedBounds returns the inputs above which prices apply, the lowest first.
func sortedBounds(amounts map[string]map[string]*big.Rat) []string {
	var bounds []string
	for over := range amounts {
		if over != "" {
			bounds = append(bounds, over)
		}
	}
	slices.SortFunc(bounds, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return bounds
}

// addFactors adds the service tiers whose prices are one multiple of the others.
func addFactors(p price, name string, amounts map[string]map[string]map[string]*big.Rat, notes io.Writer) {
	factors := map[string]string{}
	for service, byInput := range amounts {
		if service == "" {
			continue
		}
		factor, err := factorOf(amounts[""], byInput)
		if err != nil {
			_, _ = fmt.Fprintf(notes, "%s: service tier %s is left out: %v\n", name, service, err)
			continue
		}
		factors[service] = factor
	}
	if len(factors) > 0 {
		p["serviceTiers"] = factors
	}
}

// factorOf returns what the prices of a service tier are multiples of the others by.
func factorOf(whole, byInput map[string]map[string]*big.Rat) (string, error) {
	var factor *big.Rat
	for over, members := range byInput {
		for member, amount := range members {
			of := whole[over][member]
			if of == nil || of.Sign() == 0 {
				return "", fmt.Errorf("%s has nothing to be a multiple of", member)
			}
			ratio := new(big.Rat).Quo(amount, of)
			if factor != nil && factor.Cmp(ratio) != 0 {
				return "", errors.New("its prices are different multiples of the others")
			}
			factor = ratio
		}
	}
	return decimal(factor)
}

// genAIMembers are the members of prices of genai-prices, which are per million tokens.
var genAIMembers = map[string]string{
	"input_mtok": "input", "output_mtok": "output", "cache_read_mtok": "cacheRead", "cache_write_mtok": "cacheWrite", "cache_write_1h_mtok": "cacheWrite1h",
	"input_audio_mtok": "inputAudio", "output_audio_mtok": "outputAudio",
}

// genAIProvider has the members of a provider of genai-prices that are read.
type genAIProvider struct {
	ID     string
	Models []struct {
		ID     string
		Match  genAIMatch
		Prices json.RawMessage
	}
}

// genAIMatch is which names a model of genai-prices has.
type genAIMatch struct {
	Equals     string
	StartsWith string `json:"starts_with"`
	Or         []genAIMatch
}

// convertGenAI converts a list of genai-prices. The names of all providers but the well-known three have the provider before
// them: others sell the same models at other prices.
func convertGenAI(converted *list, text []byte, date string) error {
	var providers []genAIProvider
	if err := json.Unmarshal(text, &providers); err != nil {
		return fmt.Errorf("the list is not that of genai-prices: %w", err)
	}
	for _, provider := range providers {
		prefix := provider.ID + "/"
		if slices.Contains([]string{"openai", "anthropic", "google"}, provider.ID) {
			prefix = ""
		}
		for _, model := range provider.Models {
			p, err := genAIPrice(model.Prices, date)
			if err != nil {
				return fmt.Errorf("%s%s: %w", prefix, model.ID, err)
			}
			for _, name := range append(matchedNames(model.Match), model.ID) {
				if len(p) > 0 {
					converted.Models[prefix+name] = p
				}
			}
		}
	}
	return nil
}

// matchedNames returns the names, and patterns of names, that a match can be written as.
func matchedNames(match genAIMatch) []string {
	var names []string
	if match.Equals != "" {
		names = append(names, match.Equals)
	}
	if match.StartsWith != "" {
		names = append(names, match.StartsWith+"*")
	}
	for _, other := range match.Or {
		names = append(names, matchedNames(other)...)
	}
	return names
}

// genAIPrice converts prices, of which those of a date count if they have dates.
func genAIPrice(text json.RawMessage, date string) (price, error) {
	var dated []struct {
		Constraint *struct {
			StartDate string `json:"start_date"`
		}
		Prices map[string]json.RawMessage
	}
	if json.Unmarshal(text, &dated) == nil {
		members := map[string]json.RawMessage{}
		for _, d := range dated { // the last one that holds counts
			if d.Constraint == nil || (d.Constraint.StartDate != "" && d.Constraint.StartDate <= date) {
				members = d.Prices
			}
		}
		return genAIRates(members)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, err
	}
	return genAIRates(members)
}

// genAIRates converts the prices of one time. Each is a number, or has tiers.
func genAIRates(members map[string]json.RawMessage) (price, error) {
	p, byBound := price{}, map[string]price{}
	for key, value := range members {
		member := genAIMembers[key]
		if member == "" {
			continue
		}
		var tiered struct {
			Base  json.RawMessage
			Tiers []struct {
				Start json.Number
				Price json.RawMessage
			}
		}
		if number(value) == nil && json.Unmarshal(value, &tiered) == nil {
			value = tiered.Base
		}
		if number(value) == nil {
			return nil, fmt.Errorf("%s is %s, which is no price", key, value)
		}
		p[member] = texts(map[string]*big.Rat{member: number(value)})[member]
		for _, tier := range tiered.Tiers {
			if number(tier.Price) == nil {
				return nil, fmt.Errorf("%s has a tier of %s, which is no price", key, tier.Price)
			}
			bound := tier.Start.String()
			if byBound[bound] == nil {
				byBound[bound] = price{"over": bound}
			}
			byBound[bound][member] = texts(map[string]*big.Rat{member: number(tier.Price)})[member]
		}
	}
	if len(byBound) > 0 {
		var tiers []price
		for _, tier := range byBound {
			tiers = append(tiers, tier)
		}
		slices.SortFunc(tiers, func(a, b price) int { return strings.Compare(fmt.Sprint(a["over"]), fmt.Sprint(b["over"])) })
		p["tiers"] = tiers
	}
	return p, nil
}
