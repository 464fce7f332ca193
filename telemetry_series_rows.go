package chatcompletion

import (
	"strconv"
)

// rowsAtATime is the number of rows that are read while a lock is held that requests need.
const rowsAtATime = 16

// rowsEnd returns the end of the rows that are read at a time, from one on.
func rowsEnd(from, count int) int {
	if to := from + rowsAtATime; to < count {
		return to
	}
	return count
}

// seriesFigures is a series as the dashboard shows it, accumulated since the registry was created.
// What is unknown is left out.
type seriesFigures struct {
	ID              int               `json:"id"`
	Operation       string            `json:"operation,omitempty"`
	Provider        string            `json:"provider,omitempty"`
	RequestModel    string            `json:"requestModel,omitempty"`
	ResponseModel   string            `json:"responseModel,omitempty"`
	ErrorType       string            `json:"errorType,omitempty"`
	ServerAddress   string            `json:"serverAddress,omitempty"`
	ServerPort      string            `json:"serverPort,omitempty"`
	Consumer        string            `json:"consumer,omitempty"`
	Group           string            `json:"group,omitempty"`
	Labels          map[string]string `json:"labels,omitempty"`
	Calls           int64             `json:"calls"`
	InputTokens     *int64            `json:"inputTokens,omitempty"`
	OutputTokens    *int64            `json:"outputTokens,omitempty"`
	Picodollars     string            `json:"picodollars,omitempty"`
	Cache           *cacheFigures     `json:"cache,omitempty"` // nil: no cache was asked
	Duration        []int64           `json:"duration"`
	DurationSeconds float64           `json:"durationSeconds"`
	FirstChunk      []int64           `json:"firstChunk,omitempty"`
}

// seriesRow is what a dashboard knows of a series. JSON would show its fields, which are therefore
// apart from the figures.
type seriesRow struct {
	source    *series
	figures   *seriesFigures
	amounts   *amounts
	encoded   []byte     // nil: the figures have changed
	isChanged bool       // since the latest update
	bases     []*amounts // at the beginning of the running step of each level
	inStep    []bool     // they have changed in it
}

// amounts are what a series has accumulated at one instant. It is not changed afterwards.
type amounts struct {
	calls       int64
	input       int64
	output      int64
	picodollars int64
	seconds     float64
	hasInput    bool
	hasOutput   bool
	isPriced    bool
	cache       *cacheFigures // nil: no cache was asked
}

func newSeriesRow(id int, source *series) *seriesRow {
	return &seriesRow{source: source, figures: newSeriesFigures(id, source.attributes), amounts: &amounts{seconds: noValue}}
}

// newSeriesFigures returns the figures of a series without values.
func newSeriesFigures(id int, attributes []string) *seriesFigures {
	all := labelMap(attributes)
	figures := &seriesFigures{
		ID:            id,
		Operation:     all[operationAttribute],
		Provider:      all[providerAttribute],
		RequestModel:  all[requestModelAttribute],
		ResponseModel: all[responseModelAttribute],
		ErrorType:     all[errorTypeAttribute],
		ServerAddress: all[serverAddressAttribute],
		ServerPort:    all[serverPortAttribute],
		Consumer:      all[consumerLabel],
		Group:         all[groupLabel],
	}
	for _, name := range []string{
		operationAttribute, providerAttribute, requestModelAttribute, responseModelAttribute, errorTypeAttribute,
		serverAddressAttribute, serverPortAttribute,
	} {
		delete(all, name)
	}
	if len(all) > 0 {
		figures.Labels = all
	}
	return figures
}

// readRows reads the series of some rows, and returns the rows that have changed. Each call takes
// time, so the sum of durations shows whether there was one.
func readRows(r *registry, rows []*seriesRow) []*seriesRow {
	var changed []*seriesRow
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, row := range rows {
		histograms := row.source.histograms
		durations := histograms[durationHistogram]
		if durations.sum == row.amounts.seconds {
			continue
		}
		input, output := histograms[inputHistogram], histograms[outputHistogram]
		row.amounts = &amounts{
			input: int64(input.sum), output: int64(output.sum), picodollars: row.source.cost, seconds: durations.sum,
			hasInput: input.sum > 0 || input.counts[0] > 0, hasOutput: output.sum > 0 || output.counts[0] > 0, isPriced: row.source.isPriced,
		}
		if row.source.results != nil {
			row.amounts.cache = cacheFiguresOf(row.source.results)
		}
		row.figures.Duration = append([]int64(nil), durations.counts...)
		row.figures.FirstChunk = nil
		if first := histograms[firstChunkHistogram]; first.sum > 0 {
			row.figures.FirstChunk = append([]int64(nil), first.counts...)
		}
		changed = append(changed, row)
	}
	return changed
}

// setFigures completes the figures of a row that has been read.
func setFigures(row *seriesRow) {
	figures, now := row.figures, row.amounts
	for _, count := range figures.Duration {
		now.calls += count
	}
	figures.Calls = now.calls
	figures.DurationSeconds = now.seconds
	if now.hasInput {
		figures.InputTokens = &now.input
	}
	if now.hasOutput {
		figures.OutputTokens = &now.output
	}
	if now.isPriced {
		figures.Picodollars = picodollarText(now.picodollars)
	}
	figures.Cache = now.cache
	row.encoded = nil
}

// rowJSON returns the JSON of a row.
func rowJSON(row *seriesRow) []byte {
	if row.encoded == nil {
		row.encoded = marshal(row.figures)
	}
	return row.encoded
}

// rowsJSON returns the JSON of rows, one by one.
func rowsJSON(rows []*seriesRow) [][]byte {
	encoded := make([][]byte, len(rows))
	for i, row := range rows {
		encoded[i] = rowJSON(row)
	}
	return encoded
}

// picodollarText returns an amount of money as the dashboard gets it: a JSON number would lose digits.
func picodollarText(picodollars int64) string {
	return strconv.FormatInt(picodollars, 10)
}
