package chatcompletion

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// usageReport is what a consumer is told about itself. What is unknown is absent.
type usageReport struct {
	Object   string          `json:"object"`
	Consumer string          `json:"consumer"`
	Group    string          `json:"group,omitempty"`
	Now      string          `json:"now"`
	Models   json.RawMessage `json:"models,omitempty"` // patterns; absent: all
	Quotas   []*quotaReport  `json:"quotas"`
	Totals   *totalsReport   `json:"totals,omitempty"`
}

// quotaReport is what a usage report has about a quota. Amounts are numbers, and texts if they are money.
type quotaReport struct {
	Name      string          `json:"name"`
	Unit      string          `json:"unit"`
	Models    []string        `json:"models,omitempty"` // that it applies to; absent: all
	Limit     json.RawMessage `json:"limit"`
	Used      json.RawMessage `json:"used,omitempty"`
	Remaining json.RawMessage `json:"remaining,omitempty"`
	Window    string          `json:"window,omitempty"`
	ResetsAt  string          `json:"resetsAt,omitempty"`
	Mode      string          `json:"mode"`
	Shared    bool            `json:"shared"` // others use the counter, too
}

// totalsReport is what a usage report has about all calls of the consumer.
type totalsReport struct {
	Since        string `json:"since"`
	Calls        int64  `json:"calls"`
	InputTokens  *int64 `json:"inputTokens,omitempty"`
	OutputTokens *int64 `json:"outputTokens,omitempty"`
	CostUSD      string `json:"costUsd,omitempty"`
}

// usageObject identifies usage reports.
const usageObject = "usage"

// reportUsage responds to a consumer with its usage report. No provider is called, and no quota counts the
// request.
func reportUsage(x *exchange, p *policy, rw http.ResponseWriter, req *http.Request) {
	defer recoverUngoverned(p.name, rw)
	rw.Header().Set("Cache-Control", "no-store")
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		rw.Header().Set("Allow", "GET, HEAD, OPTIONS")
		writePolicyError(rw, errorsFor(req), methodNotAllowed(req.Method, http.MethodGet))
		return
	}
	writeJSON(rw, http.StatusOK, marshal(newUsageReport(x, p, req)))
}

// newUsageReport returns the usage report of the consumer of an exchange, whose policy is p.
func newUsageReport(x *exchange, p *policy, req *http.Request) *usageReport {
	who := x.consumer.caller
	report := &usageReport{Object: usageObject, Consumer: who.name, Group: who.group, Quotas: []*quotaReport{}}
	now := time.Now()
	if p.quotas != nil {
		now = p.quotas.clock()
		report.Quotas = newQuotaReports(p, x.call, now.UnixMilli(), req)
	}
	report.Now = timeText(now.UnixMilli())
	if patterns := usableModels(p, x.consumer); patterns != nil {
		report.Models = marshal(patterns)
	}
	if totals := totalsOf(p.telemetry.registry, who.name, who.group); totals != nil {
		report.Totals = newTotalsReport(totals)
	}
	return report
}

// timeText returns a time as usage reports have it.
func timeText(ms int64) string {
	return time.UnixMilli(ms).UTC().Format(time.RFC3339)
}

func newTotalsReport(t *consumerTotals) *totalsReport {
	report := &totalsReport{Since: timeText(t.since.UnixMilli()), Calls: t.calls}
	if t.inputTokens != noTotal {
		report.InputTokens = &t.inputTokens
	}
	if t.outputTokens != noTotal {
		report.OutputTokens = &t.outputTokens
	}
	if t.picodollars != noTotal {
		report.CostUSD = amountText(unitCost, t.picodollars)
	}
	return report
}

// newQuotaReports returns what a consumer is told about the quotas of its policy: those that apply to the
// model in the query, if there is one.
func newQuotaReports(p *policy, call *Call, ms int64, req *http.Request) []*quotaReport {
	all := p.quotas.charges
	if p.quotas.byCaller {
		all = callerCharges(p.quotas, call)
	}
	model := unaliased(p.models, req.URL.Query().Get("model"))
	reports := []*quotaReport{}
	var own []charge // whose use is read
	var ofOwn []*quotaReport
	for i := range all {
		c := all[i]
		if model != "" && !matchesModel(c.quota.models, model) {
			continue
		}
		report := newQuotaReport(&c, ms)
		reports = append(reports, report)
		if !report.Shared && setOwnSubject(&c, req, model) {
			own = append(own, c)
			ofOwn = append(ofOwn, report)
		}
	}
	for i, isKnown := range readCharges(p.store, own, ms) {
		if isKnown {
			setUse(ofOwn[i], &own[i])
		}
	}
	return reports
}

// newQuotaReport returns what a consumer is told about a quota whoever uses it.
func newQuotaReport(c *charge, ms int64) *quotaReport {
	q := c.quota
	report := &quotaReport{Name: q.name, Unit: q.unit, Limit: amountJSON(q.unit, c.limit), Window: q.windowText, Mode: modeEnforce, Shared: !isOfConsumer(q)}
	if !c.enforce {
		report.Mode = modeReport
	}
	if q.modelsText != "" {
		report.Models = strings.Split(q.modelsText, ", ")
	}
	if c.window != nil {
		_, end := windowBounds(c.window, ms)
		report.ResetsAt = timeText(end)
	}
	return report
}

// setUse sets what is used of a quota, and what remains.
func setUse(report *quotaReport, c *charge) {
	remaining := c.limit - c.used
	if remaining < 0 {
		remaining = 0
	}
	report.Used = amountJSON(c.quota.unit, c.used)
	report.Remaining = amountJSON(c.quota.unit, remaining)
	if c.window != nil {
		report.ResetsAt = timeText(c.resetMs)
	}
}

// amountJSON returns an amount as JSON: money as text, since parsers read numbers as binary fractions.
func amountJSON(unit string, amount int64) json.RawMessage {
	if unit == unitCost {
		return marshal(amountText(unit, amount))
	}
	return marshal(amount)
}

// isOfConsumer reports whether each counter of a quota is that of one consumer.
func isOfConsumer(q *quota) bool {
	for _, part := range q.per {
		for _, reference := range part.parts {
			if reference.source == callerInfo && reference.key == callerName {
				return true
			}
		}
	}
	return q.byConsumer
}

// setOwnSubject adds the subject to the key of a charge for the present request. It reports whether that is
// known: a quota may count by model, or by what the request does not have.
func setOwnSubject(c *charge, req *http.Request, model string) bool {
	if c.quota.per == nil {
		return true // see callerCharges
	}
	for _, part := range c.quota.per {
		if part.parts == nil && model == "" {
			return false
		}
	}
	c.enforce = true // else requests without a subject have a counter that others use, too
	return addSubject(c, req, model) == nil
}

// usableModels returns the patterns of the models that a consumer may use, whose policy is p; nil: all of
// them.
func usableModels(p *policy, c *consumer) []string {
	rules := p.models
	if p.reportOnly || (rules.named == nil && rules.allowed == nil && c.allowed == nil) {
		return nil
	}
	usable := []string{}
	if rules.named != nil {
		for _, name := range sortedKeys(rules.named) {
			if isAllowed(rules, unaliased(rules, name)) {
				usable = append(usable, name)
			}
		}
		return usable
	}
	switch {
	case c.allowed == nil:
		usable = strings.Split(rules.allowedText, ", ")
	case rules.allowed == nil:
		usable = strings.Split(c.allowedText, ", ")
	default:
		usable = commonPatterns(strings.Split(rules.allowedText, ", "), strings.Split(c.allowedText, ", "))
	}
	for _, alias := range sortedKeys(rules.aliases) {
		if isAllowed(rules, rules.aliases[alias]) {
			usable = append(usable, alias)
		}
	}
	return usable
}

// commonPatterns returns patterns of the models that match a pattern of each of two lists.
func commonPatterns(patterns, own []string) []string {
	common := []string{}
	for _, pattern := range own {
		for _, wider := range patterns {
			if both := commonPattern(wider, pattern); both != "" && !containsText(common, both) {
				common = append(common, both)
			}
		}
	}
	return common
}

// commonPattern returns the pattern of what both of two match; "": there is nothing. If none includes the
// other, no pattern says it, and it is the second one, of the consumer.
func commonPattern(pattern, own string) string {
	switch {
	case includes(pattern, own):
		return own
	case includes(own, pattern):
		return pattern
	case overlap(pattern, own):
		return own
	}
	return ""
}

// includes reports whether a pattern matches all that another one matches.
func includes(pattern, other string) bool {
	expression, err := compilePatterns([]string{pattern})
	return err == nil && expression.MatchString(other)
}

// overlap reports whether some text matches two patterns, neither of which includes the other: both have an
// asterisk, and what precedes the first and follows the last one agrees.
func overlap(pattern, other string) bool {
	start, _, isPattern := strings.Cut(pattern, "*")
	otherStart, _, isOtherPattern := strings.Cut(other, "*")
	if !isPattern || !isOtherPattern {
		return false
	}
	end, otherEnd := pattern[strings.LastIndex(pattern, "*")+1:], other[strings.LastIndex(other, "*")+1:]
	return (strings.HasPrefix(start, otherStart) || strings.HasPrefix(otherStart, start)) &&
		(strings.HasSuffix(end, otherEnd) || strings.HasSuffix(otherEnd, end))
}
