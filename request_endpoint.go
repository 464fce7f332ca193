package chatcompletion

// endpoint is what the policy demands of the requests to one kind of governed endpoint.
type endpoint struct {
	kind                kind
	postOnly            bool   // its requests are POSTs with a body of JSON, and nothing else
	path                string // of the provider, behind the base of its paths
	models              *modelRules
	parameters          *parameterSet
	rules               []*rule
	tokenLimit          string          // the only name that the provider knows it by; empty: it knows both, or none
	addsUsage           bool            // of every stream
	parses              bool            // its values are looked into, so that their number counts
	strict              bool            // its parameters are those of the published schema
	elsewhere           map[string]bool // names that params.extra has for other endpoints in use
	target              *Target         // for the records of calls
	maxRequestBodyBytes int64
	wantsDetails        bool // decisions name the parameters that spans show
	decisions           *decisionCache
}
