package chatcompletion

import "strings"

// endpoint is what the policy demands of the requests to one kind of governed endpoint.
type endpoint struct {
	kind       kind
	postOnly   bool   // its requests are POSTs with a body of JSON, and nothing else
	path       string // of the provider, behind the base of its paths
	parameters *parameterSet
	rules      []*rule
	tokenLimit string          // the only name that the provider knows it by; empty: it knows both, or none
	addsUsage  bool            // of every stream
	parses     bool            // its values are looked into, so that their number counts
	strict     bool            // its parameters are those of the published schema
	elsewhere  map[string]bool // names that params.extra has for other endpoints in use
	target     *Target         // for the records of calls
	decisions  *decisionCache
}

// governedKinds are the kinds of endpoints whose requests are governed.
var governedKinds = []kind{completions, embeddings, responses, governedPassthrough}

// newEndpoints decides what a configuration demands at each kind of governed endpoint of a provider.
func newEndpoints(bad *problems, config *Config, p *policy) map[kind]*endpoint {
	all := map[kind]*endpoint{}
	asksUsage := parseStreamUsage(bad, config.StreamUsage)
	for _, k := range governedKinds {
		ep := newEndpoint(k, p)
		if k == completions {
			ep.elsewhere = namesElsewhere(ep, p.routes)
		}
		if k != governedPassthrough {
			parseRules(bad, config, ep)
		}
		for _, name := range bypassParams(p, ep, p.preset) {
			if r, isNew := ruleFor(ep, name); isNew {
				r.dropped = true
			}
		}
		ep.addsUsage = ep.addsUsage && asksUsage && leavesStreamOptions(ep.rules)
		all[k] = ep
	}
	for k, path := range map[kind]string{deny: "", passthrough: "", models: "/models"} {
		all[k] = &endpoint{kind: k, path: path, target: all[completions].target} // of calls that are refused
	}
	return all
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
func bypassParams(p *policy, ep *endpoint, provider *preset) []string {
	var names []string
	if !p.modelOverride || p.allowedModels != nil {
		names = append(names, provider.modelNames...)
	}
	for _, r := range ep.rules {
		if isTokenLimit := r.aliasID != r.id || r.name == maxOutputTokens; isTokenLimit && (r.limited || r.defaultValue != nil) {
			names = append(names, provider.tokenLimits...)
		}
	}
	return names
}

// newEndpoint returns an endpoint of a policy's provider without rules.
func newEndpoint(k kind, p *policy) *endpoint {
	ep := &endpoint{kind: k, postOnly: k != governedPassthrough, strict: p.preset.strict, decisions: &decisionCache{bySkeleton: map[string]*decision{}}}
	operation := chatOperation
	parameters := []*parameter{modelID: ofString("model")}
	switch k {
	case completions:
		parameters = chatParameters()
		ep.path = "/chat/completions"
		ep.tokenLimit = p.preset.tokenLimit
		ep.addsUsage = p.preset.streamUsage
		ep.parses = true
	case responses:
		parameters = responsesParameters()
		ep.path = "/responses"
		ep.parses = true
	case embeddings:
		parameters = embeddingsParameters()
		ep.path = "/embeddings"
		operation = embeddingsOperation
	case governedPassthrough:
		operation = passthroughOperation
	}
	if !ep.strict {
		loosen(parameters)
	}
	ep.parameters = newParameterSet(parameters)
	ep.target = newTarget(p, operation)
	return ep
}

// newTarget returns what the records of all calls of an operation at a provider have in common.
func newTarget(p *policy, operation string) *Target {
	target := p.telemetry.target
	target.Operation = operation
	if target.Provider == "" || p.isFallback { // which Telemetry.Provider is not the name of
		target.Provider = p.preset.genAIName
	}
	if p.upstream != nil {
		target.ServerAddress, target.ServerPort = p.upstream.host, p.upstream.port
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
