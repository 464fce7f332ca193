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
	streams         bool                 // every response is a stream
	counts          bool                 // it counts the tokens of a request, and uses none
	config          *endpoint            // parameters and rules for the members of the parameter configID; nil: there are none
	configID        int                  // of that parameter
	actions         map[string]*endpoint // by the action in the path, where the model is in the path; nil: it is not
	byPath          *pathEndpoints       // those of an action, by path
	pathModel       string               // in the path; empty: the model is in the body
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

	maxRequestBodyBytes int64
	tokenLimits         []*sentParameter // decisions have the limit of the request; nil: no one wants it
	shown               []*sentParameter // decisions name them; nil: no one wants them
}
