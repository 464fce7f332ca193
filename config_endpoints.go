package chatcompletion

import (
	"math"
	"strings"
)

// newEndpoints returns the endpoints of a provider with their rules, and sets those of it that a request selects
// by its path or its version of the protocol.
func newEndpoints(bad *problems, config *Config, p *policy, pr *provider, rules *modelRules) map[kind]*endpoint {
	all := map[kind]*endpoint{}
	addsUsage := parseOneOf(bad, "streamUsage", config.StreamUsage, streamUsageAuto, streamUsageNever) != streamUsageNever
	pr.laterVersions = map[kind]*endpoint{}
	pr.modelPaths = &pathEndpoints{byAction: map[string]*endpoint{}, byPath: map[string]*endpoint{}}
	rows := newEndpointKinds()
	for _, row := range rows {
		ep := newEndpoint(row, pr)
		ep.models = rules
		ep.maxRequestBodyBytes = p.maxRequestBodyBytes
		ep.target = newTarget(p, pr, row.operation)
		if row.kind == completions {
			ep.elsewhere = namesElsewhere(ep, p.routes, rows)
		}
		parseEndpointRules(bad, config, p, row, ep)
		if !ep.strict {
			widen(ep.parameters.list)
		}
		ep.restrictsModels = restrictsModels(config, ep)
		dropAll(ep, bypassParams(ep, pr.preset))
		if config := configOf(ep); config != nil {
			dropAll(config, bypassing(config.parameters.list, ep.restrictsModels))
		}
		ep.canAddUsage = ep.canAddUsage && addsUsage && leavesStreamOptions(ep)
		ep.memory = newConversationMemory(ep, row.conversation)
		for _, name := range row.arguments {
			ep.memory.arguments = append(ep.memory.arguments, []byte(`"`+name+`":`))
		}
		usePrompt(bad, p, pr, row, ep)
		useSentParameters(p, ep)
		useRequestGuard(p, ep, row.conversation)
		if ep.isVersioned {
			pr.laterVersions[row.kind] = withoutSampling(ep)
		}
		if ep.isModelPath {
			pr.modelPaths.byAction[row.action] = ep
		}
		all[row.kind] = ep
	}
	for k, path := range map[kind]string{deny: "", ownUsage: "", passthrough: "", models: "/models"} {
		all[k] = &endpoint{kind: k, path: path, basePath: pr.preset.basePath, auth: pr.auth, models: rules, target: all[completions].target} // of calls that are rejected
	}
	return all
}

// useRequestGuard has an endpoint inspect requests.
func useRequestGuard(p *policy, ep *endpoint, conversation string) {
	if p.guard == nil || p.guard.request == nil {
		return
	}
	ep.isUncommon = true
	rules := *p.guard.request
	rules.turns = turnsOf(ep.kind)
	ep.guard = &requestGuard{
		rules: &rules, reportOnly: p.reportOnly, turns: newGuardedTurns(ep, conversation),
		status: p.guard.blockStatus, message: p.guard.blockMessage,
	}
}

// shownParameters returns the parameters that a span shows.
func shownParameters(semconv string) [][2]string {
	if semconv == semconvV01 {
		return append(append([][2]string(nil), spanParameters...), newSpanParameters...)
	}
	return spanParameters
}

// parseEndpointRules parses the rules of an endpoint, and of the members of the parameter that has more
// of them. A configuration that no endpoint of a protocol can have is a problem only where the routes
// have such an endpoint: nearly all configurations are for OpenAI's protocol alone.
func parseEndpointRules(bad *problems, config *Config, p *policy, row *endpointKind, ep *endpoint) {
	if row.protocol != openAIProtocol && !isRouted(p.routes, row) {
		bad = &problems{}
	}
	if !row.onlyModel {
		parseRules(bad, config, ep, row.names)
	}
	if row.config != "" {
		inner := &endpoint{kind: row.kind, protocol: row.protocol, strict: ep.strict, models: ep.models, parameters: newParameterSet(row.configured())}
		if !inner.strict {
			loosen(inner.parameters.list)
		}
		parseRules(bad, config, inner, row.names)
		if !inner.strict {
			widen(inner.parameters.list)
		}
		ep.config, ep.configID = inner, ep.parameters.ids[row.config]
	}
	requireParameters(ep)
}

// withoutSampling returns an endpoint for later versions of Anthropic's API, which refuse the parameters of
// sampling: those that the rules decide on are dropped, since clients choose the version.
func withoutSampling(ep *endpoint) *endpoint {
	own := *ep
	own.cache = newDecisionCache(cachedMaxBytes)
	own.versions = &promptVersions{}
	own.rules = nil
	for _, r := range ep.rules {
		if r.name == "temperature" || r.name == "top_p" || r.name == "top_k" {
			r = &rule{name: r.name, id: r.id, aliasID: r.id, dropped: true}
		}
		own.rules = append(own.rules, r)
	}
	return &own
}

// checkCountPaths checks that no provider has one path for every endpoint if the routes have an endpoint
// whose requests are not charged: they would reach others.
func checkCountPaths(bad *problems, p *policy) {
	for _, r := range p.routes {
		for i, pr := range p.providers {
			if ep := p.providers[0].endpoints[r.kind]; pr.path != "" && ep != nil && ep.counts {
				prefix := ""
				if i > 0 {
					prefix = fallbackPrefix(i - 1)
				}
				bad.add(prefix+"path", "is the path of every endpoint, and so cannot be set with %q in %q; use another middleware there", r.kind, "routes")
			}
		}
	}
}

// checkUsageRoutes checks that a policy whose routes have usage reports identifies consumers.
func checkUsageRoutes(bad *problems, config *Config, p *policy) {
	for _, key := range sortedKeys(config.Routes) {
		if kindNamed(config.Routes[key]) == ownUsage && p.consumers == nil {
			bad.add("routes."+key, "%s requires %q", ownUsage, "consumers")
		}
	}
}

// isRouted reports whether one of the routes is for a kind, or for all actions of a model in the path.
func isRouted(routes []route, row *endpointKind) bool {
	for _, r := range routes {
		if r.kind == row.kind || (r.kind == generateContent && row.action != "") {
			return true
		}
	}
	return false
}

// requireParameters leaves out of the required parameters those that a rule adds.
func requireParameters(ep *endpoint) {
	var required []int
	for _, id := range ep.parameters.required {
		isAdded := false
		for _, r := range ep.rules {
			isAdded = isAdded || ((r.id == id || r.aliasID == id) && r.defaultValue != nil)
		}
		if !isAdded {
			required = append(required, id)
		}
	}
	ep.parameters.required = required
}

// useSentParameters sets which parameters the decisions of an endpoint name, for spans and for quotas.
func useSentParameters(p *policy, ep *endpoint) {
	for _, e := range []*endpoint{ep, configOf(ep)} {
		if e == nil {
			continue
		}
		if p.telemetry.wantsDetails {
			e.shown = sentParameters(e, shownParameters(p.telemetry.semconv))
		}
		if p.quotas != nil {
			e.tokenLimits = sentParameters(e, tokenLimitParameters)
		}
	}
}

// namesElsewhere returns parameters that the configuration means for other endpoints in use.
// Providers other than OpenAI may have parameters of the Responses API at chat completions, too.
func namesElsewhere(ep *endpoint, routes []route, rows []*endpointKind) map[string]bool {
	names := map[string]bool{}
	for _, r := range routes {
		var others []*parameter
		for _, row := range rows {
			if r.kind == row.kind && row.kind != completions && !row.onlyModel && (ep.strict || row.kind == embeddings) {
				others = row.parameters()
				if row.configured != nil {
					others = append(others, row.configured()...)
				}
			}
		}
		for _, other := range others {
			names[other.name] = true
		}
	}
	return names
}

// restrictsModels reports whether a configuration restricts the models of an endpoint, for all clients
// or for some.
func restrictsModels(config *Config, ep *endpoint) bool {
	restricts := !ep.models.override || ep.models.allowed != nil || len(config.Consumers.From) > 0
	for i := range config.Consumers.List {
		restricts = restricts || len(config.Consumers.List[i].AllowedModels) > 0
	}
	return restricts
}

// bypassParams returns the parameters of a provider that would bypass the rules of an endpoint for
// models and tokens.
func bypassParams(ep *endpoint, known *preset) []string {
	config := configOf(ep)
	limits := limitsTokens(ep.rules) || (config != nil && limitsTokens(config.rules))
	names := bypassing(ep.parameters.list, ep.restrictsModels || limits)
	if ep.restrictsModels {
		names = append(names, known.modelNames...)
	}
	if limits {
		names = append(names, known.tokenLimits...)
	}
	return names
}

// limitsTokens reports whether one of the rules limits the tokens of the output.
func limitsTokens(rules []*rule) bool {
	for _, r := range rules {
		if isTokenLimit(r) && (r.hasCeiling || r.defaultValue != nil) {
			return true
		}
	}
	return false
}

// bypassing returns the names of the parameters that bypass rules, if there are any to bypass.
func bypassing(parameters []*parameter, restricts bool) []string {
	var names []string
	for _, p := range parameters {
		if p.bypasses && restricts {
			names = append(names, p.name)
		}
	}
	return names
}

// dropAll has an endpoint drop parameters that have no other rule.
func dropAll(ep *endpoint, names []string) {
	for _, name := range names {
		if r, isNew := ruleFor(ep, name); isNew {
			r.dropped = true
		}
	}
}

// newEndpoint returns an endpoint of a provider without rules.
func newEndpoint(row *endpointKind, pr *provider) *endpoint {
	known := pr.preset
	ep := &endpoint{
		kind: row.kind, protocol: row.protocol, path: row.path, basePath: known.basePath, auth: pr.auth, streams: row.streams, counts: row.counts,
		postOnly: row.kind != governedPassthrough && row.kind != realtime, strict: known.strict, parses: row.conversation != "",
		cache: newDecisionCache(cachedMaxBytes), versions: &promptVersions{}, isModelPath: row.action != "", takesForms: row.kind == governedPassthrough,
	}
	if of := row.protocol; of != nil {
		ep.errors = of.errors
		ep.isVersioned = of.defaultHeader != ""
		ep.basePath = presetFor(known, of).basePath
		ep.auth = pr.auths[of.name]
		ep.strict = known.strict || known.name == of.name
	}
	ep.isUncommon = ep.isVersioned || ep.isModelPath || ep.takesForms
	if row.kind == responses {
		ep.errors = responsesErrors
	}
	if row.kind == completions {
		ep.tokenLimitName = known.tokenLimitName
		ep.canAddUsage = known.streamUsage
	}
	parameters := row.parameters()
	if !ep.strict {
		loosen(parameters)
	}
	ep.parameters = newParameterSet(parameters)
	for id, p := range parameters {
		if p.naming {
			ep.naming = append(ep.naming, id)
		}
	}
	return ep
}

// newTarget returns what the records of all calls with an operation at a provider have in common.
func newTarget(p *policy, pr *provider, operation string) *Target {
	target := p.telemetry.target
	target.Operation = operation
	target.readsParts = readsParts(p)
	if target.Provider == "" || pr != p.providers[0] { // Telemetry.Provider names the first one
		target.Provider = pr.preset.genAIName
	}
	if pr.upstream != nil {
		target.ServerAddress, target.ServerPort = pr.upstream.host, pr.upstream.port
	}
	target.key = strings.Join([]string{target.Operation, target.Provider, target.ServerAddress, target.ServerPort}, "\x00")
	return &target
}

// loosen keeps only the checks of types and ranges: providers other than OpenAI define other
// values. The bounds on the work for a request stay, and so does the check of stream options, on
// which metering depends.
func loosen(parameters []*parameter) {
	for _, p := range parameters {
		switch p.name {
		case streamOptions:
		case "input":
			if p.required {
				loosenEmbeddingsInput(p)
			}
		case "logprobs": // a count at Together
			p.starts, p.article = "tf-0123456789", "a boolean or an integer"
		default:
			p.oneOf = nil // not in one assignment: Yaegi panics at a nil there
			p.check = p.looseCheck
			p.whole = false
		}
	}
}

// loosenEmbeddingsInput leaves the input of embeddings to the provider: it may be an object or an
// array of them, or missing, because the texts are in other parameters. It is not decoded, so that
// its length costs nothing.
func loosenEmbeddingsInput(p *parameter) {
	p.starts, p.article = `"[{`, "a string, an array or an object"
	p.check = nil
	p.required = false
}

// widen removes the ranges of numbers in requests: providers other than OpenAI have other ranges,
// and meanings for values such as -1. The configuration has been parsed with OpenAI's ranges.
func widen(parameters []*parameter) {
	for _, p := range parameters {
		p.minimum, p.maximum = -math.MaxFloat64, math.MaxFloat64
	}
}

// leavesStreamOptions reports whether no rule decides on stream_options, whatever the client sends:
// by its value, or by that of a parameter beside which they are refused.
func leavesStreamOptions(ep *endpoint) bool {
	for _, r := range ep.rules {
		if r.name == streamOptions && (r.dropped || r.enforced) {
			return false
		}
		if ep.parameters.list[r.id].noUsage && r.defaultValue != nil {
			return false
		}
	}
	return true
}

// Values of Config.StreamUsage.
const (
	streamUsageAuto  = "auto"
	streamUsageNever = "never"
)
