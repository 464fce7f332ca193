package chatcompletion

import (
	"math"
	"strings"
)

// newEndpoints returns the endpoints of a provider with their rules.
func newEndpoints(bad *problems, config *Config, p *policy, pr *provider, rules *modelRules) map[kind]*endpoint {
	all := map[kind]*endpoint{}
	addsUsage := parseOneOf(bad, "streamUsage", config.StreamUsage, streamUsageAuto, streamUsageNever) != streamUsageNever
	for _, k := range governedKinds {
		ep := newEndpoint(k, pr.preset)
		ep.models = rules
		ep.maxRequestBodyBytes = p.maxRequestBodyBytes
		ep.target = newTarget(p, pr, operations[k])
		if k == completions {
			ep.elsewhere = namesElsewhere(ep, p.routes)
		}
		if k != governedPassthrough {
			parseRules(bad, config, ep)
		}
		if !ep.strict {
			widen(ep.parameters.list)
		}
		for _, name := range bypassParams(ep, pr.preset) {
			if r, isNew := ruleFor(ep, name); isNew {
				r.dropped = true
			}
		}
		ep.canAddUsage = ep.canAddUsage && addsUsage && leavesStreamOptions(ep)
		ep.memory = newConversationMemory(ep)
		if p.telemetry.wantsDetails {
			ep.shown = sentParameters(ep, shownParameters(p.telemetry.semconv))
		}
		if p.quotas != nil {
			ep.tokenLimits = sentParameters(ep, tokenLimitParameters)
		}
		all[k] = ep
	}
	for k, path := range map[kind]string{deny: "", passthrough: "", models: "/models"} {
		all[k] = &endpoint{kind: k, path: path, models: rules, target: all[completions].target} // of calls that are rejected
	}
	return all
}

// shownParameters returns the parameters that a span shows.
func shownParameters(semconv string) [][2]string {
	if semconv == semconvV01 {
		return append(append([][2]string(nil), spanParameters...), newSpanParameters...)
	}
	return spanParameters
}

// governedKinds are the kinds of endpoints whose requests are governed.
var governedKinds = []kind{completions, embeddings, responses, governedPassthrough}

// operations are the values of gen_ai.operation.name of governed endpoints.
var operations = map[kind]string{
	completions: chatOperation, embeddings: embeddingsOperation, responses: chatOperation, governedPassthrough: passthroughOperation,
}

// namesElsewhere returns parameters that the configuration means for other endpoints in use.
// Providers other than OpenAI may have parameters of the Responses API at chat completions, too.
func namesElsewhere(ep *endpoint, routes []route) map[string]bool {
	names := map[string]bool{}
	for _, r := range routes {
		var others []*parameter
		if r.kind == embeddings {
			others = embeddingsParameters()
		} else if r.kind == responses && ep.strict {
			others = responsesParameters()
		}
		for _, other := range others {
			names[other.name] = true
		}
	}
	return names
}

// bypassParams returns the parameters of a provider that would bypass the rules of an endpoint for
// models and tokens.
func bypassParams(ep *endpoint, known *preset) []string {
	var names []string
	if !ep.models.override || ep.models.allowed != nil {
		names = append(names, known.modelNames...)
	}
	for _, r := range ep.rules {
		if isTokenLimit := r.aliasID != r.id || r.name == maxOutputTokens; isTokenLimit && (r.hasCeiling || r.defaultValue != nil) {
			names = append(names, known.tokenLimits...)
		}
	}
	return names
}

// newEndpoint returns an endpoint of a provider without rules.
func newEndpoint(k kind, known *preset) *endpoint {
	ep := &endpoint{kind: k, postOnly: k != governedPassthrough, strict: known.strict, cache: &decisionCache{bySkeleton: map[string]*decision{}}}
	parameters := []*parameter{modelID: ofString("model")}
	switch k {
	case completions:
		parameters = chatParameters()
		ep.path = "/chat/completions"
		ep.tokenLimitName = known.tokenLimitName
		ep.canAddUsage = known.streamUsage
		ep.parses = true
	case responses:
		parameters = responsesParameters()
		ep.path = "/responses"
		ep.parses = true
	case embeddings:
		parameters = embeddingsParameters()
		ep.path = "/embeddings"
	}
	if !ep.strict {
		loosen(parameters)
	}
	ep.parameters = newParameterSet(parameters)
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
		case "messages":
			p.check = checkLooseMessages
		case "logprobs": // a count at Together
			p.starts, p.article = "tf-0123456789", "a boolean or an integer"
		default:
			p.oneOf = nil // not in one assignment: Yaegi panics at a nil there
			p.check = nil
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
