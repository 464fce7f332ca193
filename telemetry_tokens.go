package chatcompletion

import "strings"

// Parts of tokens that a series counts, as indexes.
const (
	cacheReadShare = iota
	cacheWriteShare
	reasoningShare
	inputAudioShare
	outputAudioShare
	shareKinds // their number
)

// Values of gen_ai.token.modality. Usages do not say which tokens are text.
const (
	unknownTokens = "unknown"
	audioTokens   = "audio"
)

// addParts adds the parts of the usage of a call to its series.
func addParts(s *series, c *Call) {
	if s.parts == nil {
		s.parts = make([]int64, shareKinds)
	}
	u := &c.Response.Usage
	if c.Response.details != nil {
		small := &c.Response.details.Usage
		if *small == (smallUsage{PromptTokens: small.PromptTokens, CompletionTokens: small.CompletionTokens, TotalTokens: small.TotalTokens}) {
			return // it has no parts
		}
		whole := c.Response.Usage
		takeSmallUsage(&whole, small)
		u = &whole
	}
	if u.CacheReadInputTokens|u.CacheCreationInputTokens|u.ReasoningOutputTokens|u.InputAudioTokens|u.OutputAudioTokens == 0 {
		return
	}
	if u.InputKnown {
		addPart(s, cacheReadShare, u.CacheReadInputTokens, u.InputTokens)
		addPart(s, cacheWriteShare, u.CacheCreationInputTokens, u.InputTokens)
		addPart(s, inputAudioShare, u.InputAudioTokens, u.InputTokens)
	}
	if u.OutputKnown {
		addPart(s, reasoningShare, u.ReasoningOutputTokens, u.OutputTokens)
		addPart(s, outputAudioShare, u.OutputAudioTokens, u.OutputTokens)
	}
}

// addPart adds a part, which is at most the whole: the tokens of all modalities must be the whole.
func addPart(s *series, part int, count, whole int64) {
	s.parts[part] = addSaturated(s.parts[part], atMost(count, whole))
}

// tokenTotals are the tokens of all series, in one total for series that differ only in error.type:
// the counters of tokens do not have that attribute.
type tokenTotals struct {
	all    []*tokenTotal
	places map[string]int // in all, by attributes
}

// tokenTotal holds the tokens of some series.
type tokenTotal struct {
	attributes []string
	input      int64
	output     int64
	parts      []int64 // nil: none were read
}

// addTotals adds the tokens of a series to the totals. A call without a usage adds 0.
func addTotals(r *registry, s *series, totals *tokenTotals) {
	attributes := withoutErrorType(s.attributes)
	key := strings.Join(attributes, "\x00")
	place, isKnown := totals.places[key]
	if !isKnown {
		place = len(totals.all)
		totals.places[key] = place
		totals.all = append(totals.all, &tokenTotal{attributes: attributes})
	}
	total := totals.all[place]
	r.mu.Lock()
	defer r.mu.Unlock()
	total.input += int64(s.histograms[inputHistogram].sum)
	total.output += int64(s.histograms[outputHistogram].sum)
	if s.parts == nil {
		return
	}
	if total.parts == nil {
		total.parts = make([]int64, shareKinds)
	}
	for part, count := range s.parts {
		total.parts[part] = addSaturated(total.parts[part], count)
	}
}

// withoutErrorType returns the attributes of a series without error.type.
func withoutErrorType(attributes []string) []string {
	for i := 0; i < len(attributes); i += 2 {
		if attributes[i] == errorTypeAttribute {
			return append(append([]string(nil), attributes[:i]...), attributes[i+2:]...)
		}
	}
	return attributes
}

// callMetrics returns the instruments of the conventions.
func callMetrics(points [][]point, totals *tokenTotals, semconv string) []metric {
	input, output, durations := points[inputHistogram], points[outputHistogram], points[durationHistogram]
	var metrics []metric
	if semconv != semconvV01 {
		metrics = append(metrics, metric{tokenUsage, append(typedPoints(input, "input"), typedPoints(output, "output")...)},
			metric{operationDuration, durations}, metric{timeToFirstChunk, points[firstChunkHistogram]}, metric{chunkTime, points[chunkHistogram]})
	}
	if semconv == semconvLegacy {
		return metrics
	}
	if semconv == semconvV01 {
		metrics = append(metrics, metric{operationDuration, pointsOfInferences(durations, false)})
	}
	metrics = append(metrics, metric{inferenceDuration, pointsOfInferences(durations, true)}, metric{inferenceFirstChunk, points[firstChunkHistogram]},
		metric{inferenceChunkTime, points[chunkHistogram]}, metric{callInput, input}, metric{callOutput, output})
	return append(metrics, tokenCounters(totals)...)
}

// typedPoints returns points with gen_ai.token.type.
func typedPoints(points []point, tokenType string) []point {
	typed := make([]point, len(points))
	for i, p := range points {
		p.attributes = withAttribute(p.attributes, tokenTypeAttribute, tokenType)
		typed[i] = p
	}
	return typed
}

// pointsOfInferences returns the points of inferences, or those of other operations.
func pointsOfInferences(points []point, inferences bool) []point {
	var some []point
	for _, p := range points {
		operation := p.attributes[1] // the first attribute of a series
		if inferences == (operation == chatOperation || operation == generateOperation) {
			some = append(some, p)
		}
	}
	return some
}

// tokenCounters returns the counters of tokens. They exist, as 0, if all calls have failed.
func tokenCounters(totals *tokenTotals) []metric {
	counters := []metric{{inputTokens, nil}, {outputTokens, nil}, {cacheReadTokens, nil}, {cacheWriteTokens, nil}, {reasoningTokens, nil}}
	for _, t := range totals.all {
		if t.attributes[1] == countOperation {
			continue // it uses no tokens
		}
		unknown, audio := withAttribute(t.attributes, modalityAttribute, unknownTokens), withAttribute(t.attributes, modalityAttribute, audioTokens)
		parts := t.parts
		if parts == nil {
			parts = make([]int64, shareKinds)
		}
		counters[0].points = appendModalities(counters[0].points, unknown, audio, t.input, parts[inputAudioShare])
		hasOutput := t.attributes[1] != embeddingsOperation
		if hasOutput {
			counters[1].points = appendModalities(counters[1].points, unknown, audio, t.output, parts[outputAudioShare])
		}
		if t.parts == nil {
			continue
		}
		counters[2].points = append(counters[2].points, point{attributes: unknown, count: parts[cacheReadShare]})
		counters[3].points = append(counters[3].points, point{attributes: unknown, count: parts[cacheWriteShare]})
		if hasOutput {
			counters[4].points = append(counters[4].points, point{attributes: unknown, count: parts[reasoningShare]})
		}
	}
	return counters
}

// appendModalities appends the points of a number of tokens, some of which are audio.
func appendModalities(points []point, unknown, audio []string, all, ofAudio int64) []point {
	points = append(points, point{attributes: unknown, count: all - ofAudio})
	if ofAudio > 0 {
		points = append(points, point{attributes: audio, count: ofAudio})
	}
	return points
}
