package chatcompletion

import (
	"bytes"
	"strings"
)

// The lists of a dashboard, each of which an update has whole if it has changed.
const (
	decisionList = iota
	quotaList
	storeList
	unknownCostList
	droppedList
	lookUpList
	listKinds // their number
)

// listNames are the members with the lists.
func listNames() []string {
	return []string{"decisions", "quotas", "store", "unknownCosts", "dropped", "lookUpFailures"}
}

// decisionFigures is how often there was a decision, in a mode.
type decisionFigures struct {
	Decision string `json:"decision"`
	Mode     string `json:"mode"`
	Count    int64  `json:"count"`
}

// storeFigures is the state of the Redis of the quotas, or of all of them.
type storeFigures struct {
	Up        *bool `json:"up,omitempty"` // nil: none is in use
	Errors    int64 `json:"errors"`
	Fallbacks int64 `json:"fallbacks"`
}

// unknownCostFigures is how many calls with a model have no cost, and why.
type unknownCostFigures struct {
	Reason string `json:"reason"`
	Model  string `json:"model,omitempty"`
	Count  int64  `json:"count"`
}

// readLists reads the lists of a dashboard but those of quotas and stores.
func readLists(r *registry, lists []*boardList) {
	r.mu.Lock()
	enforced, reported := copyCounts(r.enforced), copyCounts(r.reported)
	lost, unknown := copyCounts(r.lost), copyCounts(r.unknownCosts)
	r.mu.Unlock()
	decisions := appendDecisions([]*decisionFigures{}, enforced, modeEnforce)
	setList(lists[decisionList], marshal(appendDecisions(decisions, reported, modeReport)))
	costs := []*unknownCostFigures{}
	for _, key := range sortedKeys(unknown) {
		reason, model, _ := strings.Cut(key, "\x00")
		costs = append(costs, &unknownCostFigures{reason, model, unknown[key]})
	}
	setList(lists[unknownCostList], marshal(costs))
	setList(lists[droppedList], marshal(lost))
	failures := map[string]int64{}
	if r == theRegistry {
		failures = documentFailureCounts()
	}
	setList(lists[lookUpList], marshal(failures))
}

func copyCounts(counts map[string]int64) map[string]int64 {
	copied := map[string]int64{}
	for key, count := range counts {
		copied[key] = count
	}
	return copied
}

// appendDecisions appends the counts of the decisions in a mode.
func appendDecisions(all []*decisionFigures, texts map[string]int64, mode string) []*decisionFigures {
	counts := countDecisions(texts)
	for _, decision := range sortedKeys(counts) {
		all = append(all, &decisionFigures{decision, mode, counts[decision]})
	}
	return all
}

// storeJSON returns the state of all Redis servers of quotas as one; nil: there never was one.
func storeJSON() []byte {
	theHealthMu.Lock()
	if len(theHealth) == 0 {
		theHealthMu.Unlock()
		return nil
	}
	figures, inUse, down := &storeFigures{}, int64(0), int64(0)
	for _, h := range theHealth {
		if stores := h.stores.Load(); stores > 0 {
			inUse += stores
			down += h.down.Load()
		}
		figures.Errors += h.errors.Load()
		figures.Fallbacks += h.fallbacks.Load()
	}
	theHealthMu.Unlock()
	if inUse > 0 {
		isUp := down <= 0
		figures.Up = &isUp
	}
	return marshal(figures)
}

// boardList is a list of a dashboard.
type boardList struct {
	encoded   []byte // nil: it has none
	isChanged bool   // since the latest update
}

// setList sets a list, and notes whether it has changed.
func setList(l *boardList, encoded []byte) {
	if !bytes.Equal(l.encoded, encoded) {
		l.encoded = encoded
		l.isChanged = true
	}
}

// arrayJSON returns a JSON array of elements in JSON.
func arrayJSON(elements [][]byte) []byte {
	return append(append([]byte("["), bytes.Join(elements, comma)...), ']')
}
