package chatcompletion

import "strings"

// endpoint is what the policy demands of the requests to one kind of governed endpoint.
type endpoint struct {
	kind       kind
	isPlain    bool   // its requests are POSTs with a body of JSON, and nothing else
	path       string // of the provider, behind the base of its paths
	parameters *parameterSet
	rules      []*rule
	tokenLimit string          // the only name that the provider knows it by; empty: it knows both, or none
	asksUsage  bool            // of every stream
	parses     bool            // its values are looked into, so that their number counts
	strict     bool            // its parameters are those of the published schema
	elsewhere  map[string]bool // names that params.extra has for other endpoints in use
	target     *Target         // for the records of calls
	verdicts   *verdicts
}

// governedKinds are the kinds of endpoints whose requests are governed.
var governedKinds = []kind{completions, embeddings, responses, governedPassthrough}

// newEndpoints decides what a configuration demands at each kind of governed endpoint of a provider.
func newEndpoints(bad *problems, config *Config, p *policy) map[kind]*endpoint {
	all := map[kind]*endpoint{}
	asksUsage := parseStreamUsage(bad, config.StreamUsage)
	for _, k := range governedKinds {
		at := newEndpoint(k, p)
		if k == completions {
			at.elsewhere = namesElsewhere(at, p.routes)
		}
		if k != governedPassthrough {
			parseRules(bad, config, at)
		}
		for _, name := range evasionsOf(p, at, p.preset) {
			if r, isNew := ruleFor(at, name); isNew {
				r.dropped = true
			}
		}
		at.asksUsage = at.asksUsage && asksUsage && leavesStreamOptions(at.rules)
		all[k] = at
	}
	for k, path := range map[kind]string{deny: "", passthrough: "", models: "/models"} {
		all[k] = &endpoint{kind: k, path: path, target: all[completions].target} // of calls that are refused
	}
	return all
}

// namesElsewhere are parameters that the configuration means for other endpoints, where those are in use. A provider that is
// not OpenAI may have what is only of responses there at completions, too.
func namesElsewhere(at *endpoint, routes []route) map[string]bool {
	names := map[string]bool{}
	for _, r := range routes {
		var others []*parameter
		if r.kind == embeddings {
			others = embeddingsParameters()
		} else if r.kind == responses && at.strict {
			others = responsesParameters()
		}
		for _, other := range others {
			names[other.name] = true
		}
	}
	return names
}

// evasionsOf returns the parameters of a provider that would get around the rules of a policy for models and tokens.
func evasionsOf(p *policy, at *endpoint, provider *preset) []string {
	var names []string
	if !p.modelOverride || p.allowedModels != nil {
		names = append(names, provider.modelNames...)
	}
	for _, r := range at.rules {
		if isTokenLimit := r.twinID != r.id || r.name == maxOutputTokens; isTokenLimit && (r.limited || r.absent != nil) {
			names = append(names, provider.tokenLimits...)
		}
	}
	return names
}

// newEndpoint returns an endpoint of a policy's provider without rules.
func newEndpoint(k kind, p *policy) *endpoint {
	at := &endpoint{kind: k, isPlain: k != governedPassthrough, strict: p.preset.strict, verdicts: &verdicts{bySkeleton: map[string]*verdict{}}}
	operation := chatOperation
	parameters := []*parameter{modelID: ofString("model")}
	switch k {
	case completions:
		parameters = chatParameters()
		at.path = "/chat/completions"
		at.tokenLimit = p.preset.tokenLimit
		at.asksUsage = p.preset.streamUsage
		at.parses = true
	case responses:
		parameters = responsesParameters()
		at.path = "/responses"
		at.parses = true
	case embeddings:
		parameters = embeddingsParameters()
		at.path = "/embeddings"
		operation = embeddingsOperation
	case governedPassthrough:
		operation = passthroughOperation
	}
	if !at.strict {
		relax(parameters)
	}
	at.parameters = newParameterSet(parameters)
	at.target = newTarget(p, operation)
	return at
}

// newTarget returns what the records of all calls of an operation at a provider have in common.
func newTarget(p *policy, operation string) *Target {
	target := p.telemetry.target
	target.Operation = operation
	if target.Provider == "" || p.isFallback { // which Telemetry.Provider is not the name of
		target.Provider = p.preset.system
	}
	if p.upstream != nil {
		target.ServerAddress, target.ServerPort = p.upstream.host, p.upstream.port
	}
	target.key = strings.Join([]string{target.Operation, target.Provider, target.ServerAddress, target.ServerPort}, "\x00")
	return &target
}

// relax leaves of the checks on parameters those of types and ranges: a provider that is not OpenAI has values of its own.
// The bounds of the work for one request stay, and so do the options of a stream: who meters it depends on them.
func relax(parameters []*parameter) {
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
