package chatcompletion

import "encoding/json"

// maxChoices bounds the choices that are read: a provider could send thousands.
const maxChoices = 16

// usageMembers are the members of a usage in any protocol. They are of any type, since a number that
// a provider sends as text would otherwise read as 0.
type usageMembers struct {
	PromptTokens     any `json:"prompt_tokens"`
	InputTokens      any `json:"input_tokens"`
	CompletionTokens any `json:"completion_tokens"`
	OutputTokens     any `json:"output_tokens"`
	TotalTokens      any `json:"total_tokens"`
	// Anthropic's input_tokens do not include these two.
	CacheCreation any `json:"cache_creation_input_tokens"`
	CacheRead     any `json:"cache_read_input_tokens"`
	// Billed are Cohere's counts. Those of the model, beside them, include what is not billed.
	Billed billedMembers `json:"billed_units"`
	// Iterations are Anthropic's. They have counts beside those above.
	Iterations json.RawMessage `json:"iterations"`
	// The following count for costs only. Cost is in USD, Seconds are of audio.
	CacheWrites cacheWriteMembers `json:"cache_creation"`
	Cost        json.RawMessage   `json:"cost"`
	Seconds     json.RawMessage   `json:"seconds"`
	ServiceTier string            `json:"service_tier"`

	Prompt     usageDetails `json:"prompt_tokens_details"`
	Completion usageDetails `json:"completion_tokens_details"`
	Input      usageDetails `json:"input_tokens_details"`
	Output     usageDetails `json:"output_tokens_details"`
}

// billedMembers are the members of the part of a usage that is billed.
type billedMembers struct {
	InputTokens  any `json:"input_tokens"`
	OutputTokens any `json:"output_tokens"`
}

// tokenCounts are the counts of a usage. Input and output are unknownCount or invalidCount if they are;
// the others are then 0 or below.
type tokenCounts struct {
	input         float64
	output        float64
	cacheCreation float64
	cacheRead     float64
	// includesCache is set if the input includes the two counts of the cache: Anthropic's does not.
	// Gateways that translate its usage keep them beside a prompt_tokens, or a total, that does.
	includesCache bool
}

const (
	unknownCount = -1 // absent or null
	invalidCount = -2 // not a number, below 0 or above maxTokenCount
)

// usageCounts are the counts that a response has reported so far, each as it was last reported
// above 0: some providers report a 0 with every event, or after the count.
type usageCounts struct {
	rank   int // of the place that they are from, in the places of its protocol
	known  bool
	counts tokenCounts
}

// recordUsage records the usage of a response or of an event from the first place that has one with
// tokens, or from all places of a protocol that splits it.
func recordUsage(reader *responseReader, p *eventProtocol, members *responseMembers) {
	for i, at := range p.usagePlaces {
		rank := i
		if p.splitsUsage {
			rank = 0
		}
		value := usageAt(members, at)
		if len(value) > 0 && value[0] == '{' && recordCounts(reader, rank, value) && !p.splitsUsage {
			return
		}
	}
}

// usageAt returns the usage at a place; nil: there is none.
func usageAt(members *responseMembers, at usagePlace) json.RawMessage {
	if nested := nestedAt(members, at); nested != nil {
		return nested.Usage
	}
	if at == atTop {
		return members.Usage
	}
	var last json.RawMessage
	for i := 0; i < len(members.Choices) && members.Choices[i] != nil; i++ {
		if usage := members.Choices[i].Usage; len(usage) > 0 && usage[0] == '{' {
			last = usage
		}
	}
	return last
}

// recordCounts adds a usage to what the response has reported so far, and reports whether it is one with
// tokens.
func recordCounts(reader *responseReader, rank int, value json.RawMessage) bool {
	members := &usageMembers{}
	_ = json.Unmarshal(value, members) // a member of another type does not keep the others from being read
	if members.Iterations != nil {
		addIterations(members)
	}
	if reader.wantsParts {
		recordUsageParts(&reader.parts, members)
	}
	latest := readCounts(reader.kind, members)
	if latest.input == invalidCount || latest.output == invalidCount || (latest.input < 0 && latest.output < 0) {
		return false
	}
	usage := &reader.usage
	isFound := hasTokens(&latest)
	switch {
	case !usage.known || (rank < usage.rank && isFound) || (rank > usage.rank && isFound && !hasTokens(&usage.counts)):
		*usage = usageCounts{rank: rank, known: true, counts: latest}
		reader.record.Usage = Usage{}
	case rank == usage.rank:
		mergeCounts(&usage.counts, &latest)
	default:
		return isFound
	}
	setUsage(reader, members)
	return isFound
}

// hasTokens reports whether a usage has a count above 0.
func hasTokens(counts *tokenCounts) bool {
	return counts.input > 0 || counts.output > 0 || cacheTokens(counts) > 0
}

// readCounts reads the counts of a usage. Tokens in total_tokens beyond the sum are output: Gemini
// and xAI omit reasoning tokens from completion_tokens. Embeddings and rankings have no output, and
// some providers report only the total for them.
func readCounts(k kind, members *usageMembers) tokenCounts {
	input := tokenCount(members.PromptTokens, members.InputTokens, members.Billed.InputTokens)
	output := tokenCount(members.CompletionTokens, members.OutputTokens, members.Billed.OutputTokens)
	total := tokenCount(members.TotalTokens)
	counts := tokenCounts{input: input, output: output}
	if members.CacheCreation != nil || members.CacheRead != nil {
		counts.cacheCreation = tokenCount(members.CacheCreation)
		counts.cacheRead = tokenCount(members.CacheRead)
	}
	counts.includesCache = members.PromptTokens != nil || (input > 0 && output >= 0 && total == input+output)
	whole := input
	if !counts.includesCache {
		whole += cacheTokens(&counts)
	}
	switch {
	case input == invalidCount || output == invalidCount:
	case k == embeddings:
		counts.output = unknownCount
		if input == unknownCount {
			counts.input = total
		}
	case input == unknownCount && output == unknownCount:
		if k == governedPassthrough && total > 0 {
			counts.input = total
		}
	case input == unknownCount && total > output:
		counts.input = total - output
		counts.includesCache = true
	case input >= 0 && total > whole && total > whole+output: // an unknown output is below 0
		counts.output = total - whole
	}
	return counts
}

// cacheTokens returns the input that was read from a cache or written to it.
func cacheTokens(counts *tokenCounts) float64 {
	sum := 0.0
	if counts.cacheCreation > 0 {
		sum = counts.cacheCreation
	}
	if counts.cacheRead > 0 {
		sum += counts.cacheRead
	}
	return sum
}

// tokenCount returns the first of several counts that is there, as a whole number.
func tokenCount(values ...any) float64 {
	for _, value := range values {
		if value == nil {
			continue
		}
		count, isNumber := value.(float64)
		if !isNumber || count < 0 || count > maxTokenCount {
			return invalidCount
		}
		return float64(int64(count))
	}
	return unknownCount
}

// mergeCounts adds the latest counts to those so far. A count of 0 does not replace another one, except
// that the parts of an input belong together: some providers report the whole input first, and its
// parts at the end.
func mergeCounts(counts, latest *tokenCounts) {
	if counts.output < 0 || latest.output > 0 {
		counts.output = latest.output
	}
	if counts.input < 0 || latest.input > 0 || (latest.input == 0 && cacheTokens(latest) > 0) {
		counts.input = latest.input
		counts.includesCache = latest.includesCache
		if latest.includesCache {
			counts.cacheCreation = latest.cacheCreation
			counts.cacheRead = latest.cacheRead
		}
	}
	if latest.cacheCreation > 0 {
		counts.cacheCreation = latest.cacheCreation
	}
	if latest.cacheRead > 0 {
		counts.cacheRead = latest.cacheRead
	}
}

// setUsage sets the usage of the record to what the response has reported so far.
func setUsage(reader *responseReader, members *usageMembers) {
	counts, usage := &reader.usage.counts, &reader.record.Usage
	if counts.input >= 0 {
		usage.InputKnown = true
		usage.InputTokens = int64(counts.input)
		if !counts.includesCache {
			usage.InputTokens += int64(cacheTokens(counts))
		}
	}
	if counts.output >= 0 {
		usage.OutputKnown = true
		usage.OutputTokens = int64(counts.output)
	}
	if reader.wantsDetails {
		usage.CacheReadInputTokens = 0
		usage.CacheCreationInputTokens = 0
		usage.ReasoningOutputTokens = 0
		takeUsageDetails(usage, &usageDetails{CachedTokens: counts.cacheRead, CacheCreationTokens: counts.cacheCreation}, &usageDetails{})
		takeUsageDetails(usage, &members.Prompt, &members.Completion)
		takeUsageDetails(usage, &members.Input, &members.Output)
	}
}
