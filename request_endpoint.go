package chatcompletion

// endpoint is what a policy says about the requests to one kind of endpoint at one provider.
type endpoint struct {
	kind            kind
	protocol        *protocol   // nil: that of the client
	errors          errorFormat // of the protocol
	postOnly        bool        // requests are POSTs with a JSON body, and nothing else
	basePath        string      // of the provider, for the protocol
	path            string      // of the provider, after the base path
	auth            *providerAuth
	streams         bool   // every response is a stream
	counts          bool   // it counts the tokens of a request, and uses none
	config          any    // parameters and rules for the members of the parameter configID, see configOf; nil: there are none
	configID        int    // of that parameter
	isVersioned     bool   // it depends on the version of the protocol, see protocol.defaultValue
	isModelPath     bool   // the model is in the path
	takesForms      bool   // a body may be a form
	isUncommon      bool   // isVersioned, isModelPath or takesForms, or it has a prompt or a guard
	pathModel       string // in the path of a request; empty: the model is in the body
	models          *modelRules
	parameters      *parameterSet
	rules           []*rule
	restrictsModels bool            // for all clients or for some
	naming          []int           // parameters whose elements may name models; nil: none
	tokenLimitName  string          // the only name that the provider knows; empty: it knows both, or none
	canAddUsage     bool            // the usage of every stream is requested
	parses          bool            // values are parsed, so that their number is bounded
	strict          bool            // parameters are those of the published schema
	elsewhere       map[string]bool // names in params.extra that are for other endpoints in use
	target          *Target         // for the records of calls
	cache           *decisionCache
	memory          *conversationMemory // nil: requests are no conversations
	prompt          *systemPrompt       // nil: the system prompt is the client's
	versions        *promptVersions     // copies with other prompts
	guard           *requestGuard       // nil: there is none

	maxRequestBodyBytes int64
	tokenLimits         []*sentParameter // decisions have the limit of the request; nil: no one wants it
	shown               []*sentParameter // decisions name them; nil: no one wants them
}

// configOf returns the parameters and the rules for the members of a parameter; nil: there are none. Yaegi
// could not set a field whose type leads back to its struct.
func configOf(ep *endpoint) *endpoint {
	config, has := ep.config.(*endpoint)
	if !has {
		return nil
	}
	return config
}
