package chatcompletion

import "strings"

// newEndpoints decides what a configuration demands at each kind of governed endpoint of a provider.
func newEndpoints(bad *problems, config *Config, p *policy, pr *provider, rules *modelRules) map[kind]*endpoint {
	all := map[kind]*endpoint{}
	addsUsage := parseStreamUsage(bad, config.StreamUsage)
	for _, k := range governedKinds {
		ep := newEndpoint(k, pr.preset)
		ep.models = rules
		ep.maxRequestBodyBytes = p.maxRequestBodyBytes
		ep.wantsDetails = p.telemetry.wantsDetails
		ep.target = newTarget(p, pr, operations[k])
		if k == completions {
			ep.elsewhere = namesElsewhere(ep, p.routes)
		}
		if k != governedPassthrough {
			parseRules(bad, config, ep)
		}
		for _, name := range bypassParams(ep, pr.preset) {
			if r, isNew := ruleFor(ep, name); isNew {
				r.dropped = true
			}
		}
		ep.addsUsage = ep.addsUsage && addsUsage && leavesStreamOptions(ep.rules)
		all[k] = ep
	}
	for k, path := range map[kind]string{deny: "", passthrough: "", models: "/models"} {
		all[k] = &endpoint{kind: k, path: path, models: rules, target: all[completions].target} // of calls that are refused
	}
	return all
}

// governedKinds are the kinds of endpoints whose requests are governed.
var governedKinds = []kind{completions, embeddings, responses, governedPassthrough}

// operations are the values of gen_ai.operation.name of governed endpoints.
var operations = map[kind]string{
	completions: chatOperation, embeddings: embeddingsOperation, responses: chatOperation, governedPassthrough: passthroughOperation,
}

// namesElsewhere are parameters that the configuration means for other endpoints, where those are in use. A provider that is
// not OpenAI may have what is only of responses there at completions, too.
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

// bypassParams returns the parameters of a provider that would get around the rules of a policy for models and tokens.
func bypassParams(ep *endpoint, known *preset) []string {
	var names []string
	if !ep.models.override || ep.models.allowed != nil {
		names = append(names, known.modelNames...)
	}
	for _, r := range ep.rules {
		if isTokenLimit := r.aliasID != r.id || r.name == maxOutputTokens; isTokenLimit && (r.limited || r.defaultValue != nil) {
			names = append(names, known.tokenLimits...)
		}
	}
	return names
}

// newEndpoint returns an endpoint of a provider without rules.
func newEndpoint(k kind, known *preset) *endpoint {
	ep := &endpoint{kind: k, postOnly: k != governedPassthrough, strict: known.strict, decisions: &decisionCache{bySkeleton: map[string]*decision{}}}
	parameters := []*parameter{modelID: ofString("model")}
	switch k {
	case completions:
		parameters = chatParameters()
		ep.path = "/chat/completions"
		ep.tokenLimit = known.tokenLimit
		ep.addsUsage = known.streamUsage
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

// newTarget returns what the records of all calls of an operation at a provider have in common.
func newTarget(p *policy, pr *provider, operation string) *Target {
	target := p.telemetry.target
	target.Operation = operation
	if target.Provider == "" || pr != p.providers[0] { // which Telemetry.Provider is not the name of
		target.Provider = pr.preset.genAIName
	}
	if pr.upstream != nil {
		target.ServerAddress, target.ServerPort = pr.upstream.host, pr.upstream.port
	}
	target.key = strings.Join([]string{target.Operation, target.Provider, target.ServerAddress, target.ServerPort}, "\x00")
	return &target
}

// loosen leaves of the checks on parameters those of types and ranges: a provider that is not OpenAI has values of its own.
// The bounds of the work for one request stay, and so do the options of a stream: who meters it depends on them.
func loosen(parameters []*parameter) {
	for _, p := range parameters {
		switch p.name {
		case "input", streamOptions:
		case "messages":
			p.check = checkLooseMessages
		case "logprobs": // which is a count at Together
			p.starts, p.article = "tf0123456789", "a boolean or an integer"
		default:
			p.oneOf = nil // not in one assignment: Yaegi panics at a nil there
			p.check = nil
			p.whole = false
		}
	}
}

// parseStreamUsage tells whether streams are asked for their usage.
func parseStreamUsage(bad *problems, value string) bool {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case streamUsageAuto, "":
		return true
	case streamUsageNever:
	default:
		bad.add("streamUsage", "%q is neither %q nor %q", value, streamUsageAuto, streamUsageNever)
	}
	return false
}

// leavesStreamOptions tells whether no rule says what becomes of the options of a stream, whatever the client sends.
func leavesStreamOptions(rules []*rule) bool {
	for _, r := range rules {
		if r.name == streamOptions && (r.dropped || r.enforced) {
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
