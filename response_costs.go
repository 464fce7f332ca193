package chatcompletion

import (
	"bytes"
	"encoding/json"
	"strings"
)

// usageParts are what only costs depend on, each as the response has last reported it above 0.
type usageParts struct {
	cost         string // usage.cost, a decimal text; empty: none was reported
	writes5m     int64
	writes1h     int64
	inputAudio   int64
	outputAudio  int64
	milliseconds int64 // of audio
	serviceTier  string

	// Images are counted by the members that each has one of. marked is what has been counted of a
	// response that is too large to be kept as a whole.
	images int64
	marked [2]int
}

// recordUsageParts adds what a usage says to what the response has reported so far.
func recordUsageParts(parts *usageParts, members *usageMembers) {
	if members.Cost != nil {
		recordReportedCost(parts, members.Cost)
	}
	if members.CacheWrites.For5m > 0 || members.CacheWrites.For1h > 0 {
		setCount(&parts.writes5m, members.CacheWrites.For5m)
		setCount(&parts.writes1h, members.CacheWrites.For1h)
	}
	if members.Seconds != nil {
		recordSeconds(parts, members.Seconds)
	}
	if members.ServiceTier != "" {
		parts.serviceTier = firstLabel(members.ServiceTier)
	}
	setCount(&parts.inputAudio, members.Prompt.AudioTokens+members.Input.AudioTokens+members.Heard.AudioTokens)
	setCount(&parts.outputAudio, members.Completion.AudioTokens+members.Output.AudioTokens)
}

// setCount sets a count to a later one, unless that is 0 or impossible.
func setCount(count *int64, latest float64) {
	if latest >= 1 && latest <= maxTokenCount {
		*count = int64(latest)
	}
}

// recordSeconds sets the length of audio, which is counted in milliseconds.
func recordSeconds(parts *usageParts, value json.RawMessage) {
	milliseconds, isNumber := decimal(strings.Trim(string(value), `"`), 3)
	if isNumber && milliseconds > 0 && milliseconds <= maxTokenCount {
		parts.milliseconds = milliseconds
	}
}

// recordReportedCost keeps a cost as its text. Some providers report an object with a total.
func recordReportedCost(parts *usageParts, value json.RawMessage) {
	if value[0] == '{' {
		var members struct {
			Total json.RawMessage `json:"total_cost"`
		}
		if json.Unmarshal(value, &members) != nil {
			return
		}
		value = members.Total
	}
	text := strings.Trim(string(value), `"`)
	cost, isNumber := decimal(text, unitPlaces)
	if isNumber && cost <= maxPrice*dollarPicos && (cost > 0 || parts.cost == "") {
		parts.cost = text
	}
}

// recordCostMembers records what only costs depend on and is not in the usage: the service tier, which is
// at the top or where the usage is, and the images of a stream. The last service tier counts: the first
// event of the Responses API repeats that of the request.
func recordCostMembers(reader *responseReader, p *eventProtocol, members *responseMembers) {
	tier := members.ServiceTier
	for _, at := range p.usagePlaces {
		nested := nestedAt(members, at)
		if nested != nil {
			tier = firstLabel(nested.ServiceTier, tier)
		}
	}
	if tier != "" {
		reader.parts.serviceTier = firstLabel(tier, reader.parts.serviceTier)
	}
	if strings.HasPrefix(members.Type, "image_") && strings.HasSuffix(members.Type, ".completed") {
		reader.parts.images++
	}
}

// imageMarks are the members that each image of a response has one of. In a JSON string their quotes
// would be escaped.
var imageMarks = [][]byte{[]byte(`"b64_json":`), []byte(`"url":`)}

// countImages counts images in the part of a window that is skipped. A mark is counted where it ends.
func countImages(parts *usageParts, window []byte, skipped int) {
	for i, mark := range imageMarks {
		end := skipped
		if skipped < len(window) {
			end += len(mark) - 1
		}
		parts.marked[i] += bytes.Count(window[:end], mark)
	}
}

// recordMedia records the images and the seconds of audio that a whole response of a governed
// passthrough has. rest is what has not been skipped of it.
func recordMedia(reader *responseReader, members *responseMembers, rest []byte) {
	parts := &reader.parts
	countImages(parts, rest, len(rest))
	for i := range imageMarks {
		if images := int64(parts.marked[i]); images > parts.images {
			parts.images = images
		}
	}
	if members.Duration != nil && parts.milliseconds == 0 {
		recordSeconds(parts, members.Duration)
	}
}

// takeParts completes the usage of the record of a response.
func takeParts(reader *responseReader) {
	parts, resp := &reader.parts, reader.record
	if small := resp.details; small != nil {
		parts.serviceTier = small.ServiceTier
		takeSmallUsage(&resp.Usage, &small.Usage)
		takeSmallParts(parts, &small.Usage)
	}
	resp.ServiceTier = parts.serviceTier
	if parts.writes5m+parts.writes1h+parts.inputAudio+parts.outputAudio+parts.images+parts.milliseconds > 0 {
		takeUncommonParts(parts, &resp.Usage)
	}
}

// takeSmallParts takes what few small responses have.
func takeSmallParts(parts *usageParts, u *smallUsage) {
	cost := json.RawMessage(nil)
	if u.Cost != nil {
		cost = *u.Cost
	}
	if cost != nil || u.CacheWrites.For5m+u.CacheWrites.For1h+u.Prompt.AudioTokens+u.Completion.AudioTokens > 0 {
		recordUsageParts(parts, &usageMembers{Cost: cost, CacheWrites: u.CacheWrites, Prompt: u.Prompt, Completion: u.Completion})
	}
}

// takeUncommonParts sets the counts of a usage that few responses have.
func takeUncommonParts(parts *usageParts, u *Usage) {
	if written := parts.writes5m + parts.writes1h; written > u.CacheCreationInputTokens && written <= u.InputTokens {
		u.CacheCreationInputTokens = written
	}
	u.CacheCreation1hInputTokens = parts.writes1h
	u.InputAudioTokens = parts.inputAudio
	u.OutputAudioTokens = parts.outputAudio
	u.Images = parts.images
	u.AudioMilliseconds = parts.milliseconds
}
