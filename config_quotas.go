package chatcompletion

import (
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// quotaName matches the names of quotas, which are parts of keys and attributes.
var quotaName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// parseQuotas parses Config.Quotas. It returns nil if there are none.
func parseQuotas(bad *problems, config *Config, p *policy, pattern *regexp.Regexp) *quotaRules {
	if len(config.Quotas) == 0 {
		return nil
	}
	rules := &quotaRules{clock: time.Now}
	names, headers := map[string]bool{}, map[string]int{}
	for i := range config.Quotas {
		prefix := quotaPrefix(i)
		c := parseQuota(bad, config, &config.Quotas[i], prefix, p, pattern)
		q := c.quota
		if names[q.name] {
			bad.add(prefix+"name", "%q is the name of another quota", q.name)
		}
		names[q.name] = true
		if q.headers != nil {
			headers[q.headers[0]]++
		}
		rules.charges = append(rules.charges, *c)
		rules.hasCost = rules.hasCost || c.counts == countCost
		rules.vary = rules.vary || rules.hasCost || q.models != nil || q.per != nil
		rules.byCaller = rules.byCaller || q.byConsumer || q.byGroup
		rules.reservesOutput = rules.reservesOutput || c.reserves == countOutput || c.reserves == countTokens || c.reserves == countFullCost
	}
	for i := range rules.charges {
		c := &rules.charges[i]
		c.competes = c.quota.headers != nil && headers[c.quota.headers[0]] > 1
	}
	return rules
}

// quotaPrefix returns what the keys of one of the quotas begin with.
func quotaPrefix(place int) string {
	return fmt.Sprintf("quotas[%d].", place)
}

// parseQuota parses one of the quotas. It returns what a request takes from it.
func parseQuota(bad *problems, config *Config, keys *Quota, prefix string, p *policy, pattern *regexp.Regexp) *charge {
	q := &quota{name: strings.TrimSpace(keys.Name)}
	c := &charge{quota: q, hold: p.maxStreamDuration}
	if c.hold == 0 {
		c.hold = defaultHold
	}
	c.hold += time.Minute
	if !quotaName.MatchString(q.name) {
		bad.add(prefix+"name", "must be a name of at most 64 letters, digits, dots, underscores and hyphens, got %q", shortened(keys.Name))
	}
	q.unit = parseOneOf(bad, prefix+"unit", keys.Unit, unitRequests, unitTokens, unitInputTokens, unitOutputTokens, unitCost, unitConcurrent)
	switch {
	case strings.TrimSpace(keys.Unit) == "":
		bad.add(prefix+"unit", "must be set, such as %q", unitTokens)
	case q.unit == unitCost && p.prices == nil:
		bad.add(prefix+"unit", "%q requires %q", unitCost, "prices")
	}
	parseReserve(bad, keys, prefix, c)
	parseLimit(bad, keys, prefix, c)
	c.window, q.windowText = parseQuotaWindow(bad, keys, prefix, q.unit)
	parsePer(bad, prefix+"per", keys.Per, config, pattern, q)
	q.models, q.modelsText = modelPatterns(bad, prefix+"models", keys.Models)
	c.enforce = parseOneOf(bad, prefix+"mode", keys.Mode, modeEnforce, modeReport) != modeReport && !p.reportOnly
	c.key = ":" + q.name + ":" + q.unit + ":" + q.windowText + ":"
	if !parseBool(bad, prefix+"shared", keys.Shared, false) {
		c.key = p.name + c.key
	}
	if c.enforce { // clients need not know of others
		q.headers = limitHeaders[q.unit]
	}
	return c
}

// defaultHold is how long a reservation lasts if Config.MaxStreamDuration does not bound a response.
const defaultHold = time.Hour

// limitHeaders are the headers about limits that show the quotas in a unit.
var limitHeaders = map[string][]string{
	unitRequests: requestLimitHeaders, unitTokens: tokenLimitHeaders, unitInputTokens: tokenLimitHeaders, unitOutputTokens: tokenLimitHeaders,
}

// useCounters connects the quotas of a policy with their counters, which outlive the configuration.
func useCounters(p *policy) {
	if p.quotas == nil {
		return
	}
	p.quotas.isUncommon = p.quotas.vary || p.store != nil || p.prompt != nil
	for i := range p.quotas.charges {
		c := &p.quotas.charges[i]
		scope := p.name
		if strings.HasPrefix(c.key, ":") {
			scope = "" // shared
		}
		g := &counterGroup{
			key: c.key, name: c.quota.name, scope: scope, unit: c.quota.unit, window: c.window, maxSeries: p.telemetry.target.MaxSeries, hold: c.hold,
		}
		if p.store != nil {
			g.redis = p.store
		}
		c.group = useGroup(theMemoryStore, g)
	}
}

// reservedAmounts are what a quota reserves in each unit and for each value of Quota.Reserve. What is
// missing is nothing.
var reservedAmounts = map[string]amountKind{
	unitTokens + reserveInput: countInput, unitTokens + reserveFull: countTokens,
	unitInputTokens + reserveInput: countInput, unitInputTokens + reserveFull: countInput,
	unitOutputTokens + reserveFull: countOutput,
	unitCost + reserveInput:        countCost, unitCost + reserveFull: countFullCost,
	unitRequests + reserveInput: countRequest, unitConcurrent + reserveInput: countRequest,
}

// countedAmounts are what a quota counts in each unit.
var countedAmounts = map[string]amountKind{
	unitRequests: countRequest, unitTokens: countTokens, unitInputTokens: countInput, unitOutputTokens: countOutput, unitCost: countCost,
}

// parseReserve parses Quota.Reserve.
func parseReserve(bad *problems, keys *Quota, prefix string, c *charge) {
	unit := c.quota.unit
	reserve := parseOneOf(bad, prefix+"reserve", keys.Reserve, reserveNone, reserveInput, reserveFull)
	if unit == unitRequests || unit == unitConcurrent {
		checkUnused(bad, prefix, []setting{{"reserve", keys.Reserve}}, "with unit "+unit)
		reserve = ""
	}
	if reserve == "" {
		reserve = reserveInput
	}
	c.reserves = reservedAmounts[unit+reserve]
	c.counts = countedAmounts[unit]
}

// Bounds of Quota.Limit.
const (
	maxLimit     = 1_000_000_000_000_000
	maxLimitCost = 9_000_000 // USD; the next digit does not fit in picodollars
)

// parseLimit parses Quota.Limit: a whole number, or an amount of money.
func parseLimit(bad *problems, keys *Quota, prefix string, c *charge) {
	q, text, ok := c.quota, string(numberText(keys.Limit)), false
	if q.unit == unitCost {
		c.limit, ok = decimal(text, unitPlaces)
		if !ok || c.limit < 1 || c.limit > maxLimitCost*dollarPicos {
			bad.add(prefix+"limit", "must be an amount in USD from 0.000000000001 to %d, such as \"25.00\", got %q", maxLimitCost, shortened(text))
			return
		}
	} else {
		number, isNumber := parseNumber(keys.Limit)
		if !isNumber || isUnset(keys.Limit) || number != math.Trunc(number) || number < 1 || number > maxLimit {
			bad.add(prefix+"limit", "must be an integer from 1 to %d, got %q", int64(maxLimit), shortened(text))
			return
		}
		c.limit = int64(number)
	}
	q.limitText = amountText(q.unit, c.limit)
	q.limitValue = []string{q.limitText}
}

// calendarWindows are the windows that are not durations in Go's syntax, or whose beginning is not
// aligned to the epoch.
var calendarWindows = map[string]*window{
	"1d": {lengthMs: dayMs}, "1w": {lengthMs: weekMs, offsetMs: firstMondayMs}, "1M": {},
}

// Bounds of Quota.Window.
const (
	minWindow = time.Second
	maxWindow = 366 * 24 * time.Hour
)

// parseQuotaWindow parses Quota.Window, and returns the window with its name.
func parseQuotaWindow(bad *problems, keys *Quota, prefix, unit string) (*window, string) {
	text := strings.TrimSpace(keys.Window)
	if unit == unitConcurrent {
		checkUnused(bad, prefix, []setting{{"window", text}}, "with unit "+unit)
		return nil, ""
	}
	if w := calendarWindows[text]; w != nil {
		return w, text
	}
	length, err := time.ParseDuration(text)
	if err != nil || length < minWindow || length > maxWindow || length%time.Millisecond != 0 {
		bad.add(prefix+"window", "must be 1m, 1h, 1d, 1w, 1M or a duration from 1s to 8784h, such as 30m, got %q", shortened(text))
		return nil, ""
	}
	return &window{lengthMs: length.Milliseconds()}, text
}

// References that stand alone in most configurations, and the one to the model that the provider is
// sent.
const (
	perConsumer = "$(" + callerInfo + "." + callerName + ")"
	perGroup    = "$(" + callerInfo + "." + callerGroup + ")"
	perModel    = "$(model)"
)

// parsePer parses Quota.Per. The subjects are published, so they must not be credentials.
func parsePer(bad *problems, key, text string, config *Config, pattern *regexp.Regexp, q *quota) {
	text = strings.TrimSpace(text)
	if q.byConsumer = text == perConsumer || (text == "" && identifiesConsumers(config)); q.byConsumer {
		return
	}
	if q.byGroup = text == perGroup; q.byGroup {
		return
	}
	for i, piece := range strings.Split(text, perModel) {
		if i > 0 {
			q.per = append(q.per, &template{})
		}
		if piece != "" {
			t := parseLabel(bad, key, piece, config.AuthHeader.Name, pattern)
			for _, part := range t.parts {
				q.per = append(q.per, &template{pattern: t.pattern, parts: []templatePart{part}})
			}
		}
	}
	setSeparators(q)
	if len(q.per) == 1 && len(q.per[0].parts) == 1 && q.per[0].parts[0].source == headers {
		q.header = http.CanonicalHeaderKey(q.per[0].parts[0].key)
	}
}

// setSeparators sets what keeps the values of a subject apart, if it has several.
func setSeparators(q *quota) {
	values, separators, follows := 0, "", false
	for _, part := range q.per {
		isValue := isReference(part)
		if isValue {
			values++
			q.adjoins = q.adjoins || follows
		} else {
			separators += part.parts[0].text
		}
		follows = isValue
	}
	if values > 1 {
		q.separators = separators
	} else {
		q.adjoins = false
	}
}
