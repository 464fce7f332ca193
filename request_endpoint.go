package chatcompletion

// endpoint is what a policy says about the requests to one kind of endpoint at one provider.
type endpoint struct {
	kind           kind
	postOnly       bool   // requests are POSTs with a JSON body, and nothing else
	path           string // of the provider, after the base path
	models         *modelRules
	parameters     *parameterSet
	rules          []*rule
	naming         []int           // parameters whose elements may name models; nil: none
	tokenLimitName string          // the only name that the provider knows; empty: it knows both, or none
	canAddUsage    bool            // the usage of every stream is requested
	parses         bool            // values are parsed, so that their number is bounded
	strict         bool            // parameters are those of the published schema
	elsewhere      map[string]bool // names in params.extra that are for other endpoints in use
	target         *Target         // for the records of calls
	cache          *decisionCache
	memory         *conversationMemory // nil: requests are no conversations

	maxRequestBodyBytes int64
	tokenLimits         []*sentParameter // decisions have the limit of the request; nil: no one wants it
	shown               []*sentParameter // decisions name them; nil: no one wants them
}
