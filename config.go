package chatcompletion

// Config is the configuration of one instance of the middleware. No key is required: an empty
// configuration validates requests and sets X-Ai-Model for routing and access logs.
//
// Traefik matches keys without regard to case. A field of type any takes a boolean or a number, or
// a string that holds one as JSON writes it: Traefik's file provider and container labels turn
// every scalar into a string. An empty string in such a field is the same as no value. Sizes are in
// bytes. Durations are in Go's syntax, such as 500ms, 30s or 1m30s; a number without a unit is
// refused.
//
// The comment of each field states its default and what New refuses, apart from values of another
// type, which are always refused. New reports all problems of a configuration at once.
type Config struct {
	// Token is the provider's API key, or a reference to it:
	//
	//	urn:env:NAME                         an environment variable of Traefik, read on each load
	//	                                     of the configuration
	//	urn:file:/path                       a file, looked up again every Secrets.Refresh
	//	urn:k8s:secret:name:key              a key of a Kubernetes Secret, found through Secrets
	//	urn:k8s:secret:namespace/name:key    the same in another namespace
	//
	// In a Kubernetes Middleware, Traefik's CRD provider resolves the form without a namespace
	// itself and rejects the other one.
	// Default: none; the client's own credentials are forwarded, and with Provider or
	// AuthHeader.Name its key is moved to the header that the provider reads. Refused: other values
	// that begin with urn:, relative paths, control characters, and urn:k8s:secret outside a
	// cluster without Secrets.Dir or Secrets.Endpoint.
	Token string
	// Secrets configures how the keys are looked up that Token and OTLP.Headers refer to with
	// urn:k8s:secret or urn:file.
	Secrets Secrets
	// Model is the model that is enforced, or the default if AllowModelOverride is true. It may
	// refer to the request with $(uri_captures.name), $(headers.name) and $(query_params.name), as
	// in Kong's ai-proxy, and to its consumer with $(consumer.name) and $(consumer.group); a request
	// that lacks the value gets status 400.
	// Default: none. Refused: more than 256 bytes, control characters, invalid UTF-8, invalid
	// references, and a fixed model that AllowedModels does not match.
	Model string
	// ModelPattern is a regular expression, matched against the escaped path of the request. Its
	// named groups are the uri_captures of Model, Path and Telemetry.Labels. Kong's spelling is
	// accepted: ~/(?<model>[^#?/]+)/chat/completions$.
	// Default: none. Refused: invalid expressions, and a pattern that nothing refers to.
	ModelPattern string
	// AllowModelOverride selects whether the client's model is used (true) or replaced by Model
	// (false).
	// Default: true if Model is empty, else false, as in Traefik Hub. Refused: false without Model.
	AllowModelOverride any
	// Params are parameters set in every request to an endpoint that has them.
	Params Params
	// AllowParamsOverride selects whether Params only fill in what the client left out (true) or
	// also replace what it sent (false).
	// Default: false, as in Traefik Hub.
	AllowParamsOverride any
	// Limits are ceilings: a client's value above its ceiling is lowered to it.
	Limits Limits
	// DropParams are the names of parameters to remove, such as temperature for a model that
	// rejects it.
	// Default: none. Refused: model, messages, input, contents and stream, other spellings of known names,
	// and what Params or Limits set.
	DropParams []string
	// AllowedModels are patterns of the models that may be used. An asterisk matches any text, the
	// empty text included; all other characters match themselves. Patterns are matched after
	// ModelAliases are resolved, whether the model is in the body or in the path.
	// Default: all models are allowed.
	AllowedModels []string
	// ModelAliases maps the model names that clients use to those of the provider,
	// case-sensitively.
	// Default: none. Refused: an alias of another alias, an invalid model name, and a target that
	// AllowedModels does not match.
	ModelAliases map[string]string
	// ModelHeader is the request header that carries the final model to later routers and to the
	// provider. The client's own header of this name is always removed.
	// Default: X-Ai-Model. Refused: invalid header names, and headers that carry credentials or are
	// reserved for HTTP or this middleware.
	ModelHeader string
	// Routes maps the ends of paths, such as /v1/models, to the kind of the endpoint:
	//
	//	completions              OpenAI's chat completions, governed
	//	embeddings               OpenAI's embeddings, governed
	//	responses                creating a response of OpenAI's Responses API, governed
	//	messages                 Anthropic's Messages, governed
	//	countTokens              the count of tokens of Messages, or of responses at a key that ends
	//	                         in /responses/input_tokens, governed
	//	generateContent          all actions of a model in Gemini's own protocol, governed; the key
	//	                         ends in /*, such as /v1beta/models/*
	//	realtime                 OpenAI's Realtime API, a WebSocket with the model in the query,
	//	                         governed
	//	models                   GET returns the list of models that may be used
	//	usage                    GET returns what the consumer that sends the request has used, and what
	//	                         is left of its quotas
	//	passthrough: governed    forwarded; the model that a JSON body names is governed
	//	passthrough              forwarded unmodified, with Token and Path
	//	deny                     refused with status 403
	//
	// The longest match wins; matching respects segment boundaries and ignores case. A * in a key
	// stands for one whole segment, such as an id: /v1/files/*/content. From the end of the path, a
	// name in a key wins over a *. The key * stands for all other paths.
	// Default: completions, also for paths that no key matches. Refused: other kinds, models or usage
	// at a key with *, usage without Consumers, keys with * below models other than those of
	// generateContent, generateContent at a key without /* at its end, keys with ?, # or %, with a * that is not a whole segment or without
	// a name, and two keys that mean the same paths.
	Routes map[string]string
	// Consumers identifies who sends a request.
	Consumers Consumers
	// Provider is the name of the provider, without regard to case. It determines the paths of the
	// provider's endpoints in each protocol, AuthHeader, the name of the token limit, whether usage is
	// requested for streams, Telemetry.Provider, and whether values outside the published schema are
	// refused. The configuration reference (docs/configuration.md) lists the names.
	// Default: none; requests follow the published APIs at the client's paths, or with Host below
	// /v1, and below /v1beta in Gemini's protocol. Refused: other names.
	Provider string
	// Path replaces the path of every request to the provider, whatever the endpoint and Provider.
	// In Gemini's protocol, it replaces what precedes the model. The query is kept. It may refer to
	// the request as Model does.
	// Default: that of Provider, else with Host that of the published API, else the client's.
	// Refused: a path without a leading slash, spaces, control characters, ?, # and %, invalid
	// references, and any with countTokens in Routes.
	Path string
	// Host is the name or the IP address of the provider's host. With it, the middleware forwards
	// requests itself and never calls the router's service.
	// Default: none; the router's service is the provider. Refused: anything but a host, such as a
	// URL.
	Host string
	// Port is the provider's port.
	// Default: that of Provider, else 443 with TLS and 80 without. Refused: less than 1, more than
	// 65535, and a port without Host.
	Port any
	// TLS configures TLS for connections to Host. Refused: without Host.
	TLS TLS
	// Timeouts limit the wait for Host. They do not limit how long a stream lasts.
	// Refused: without Host.
	Timeouts Timeouts
	// Fallbacks are the providers to fail over to, in order, when Host or the fallback before
	// cannot be reached, exceeds its timeout, or responds with status 429 or 5xx. There is no
	// failover once a byte of a response has reached the client.
	// Default: none. Refused: without Host.
	Fallbacks []Fallback
	// AuthHeader is the request header that carries Token to the provider.
	AuthHeader AuthHeader
	// MaxRequestBodySize is the maximum size of a request body in bytes, both as received and
	// decompressed. A form that is larger streams to the provider.
	// Default: 10485760 (10 MiB). Refused: less than 1, more than 2147483647.
	MaxRequestBodySize any
	// MaxResponseBytes is the maximum size of a governed response body in bytes, as the client
	// receives it. A response whose Content-Length exceeds it is replaced by a 502; any other
	// response is aborted at the limit.
	// Default: none. Refused: less than 1, more than 2147483647.
	MaxResponseBytes any
	// MaxStreamDuration is the maximum duration of a governed event stream, counted from its
	// header; the stream is then aborted.
	// Default: none. Refused: less than 1s, more than 24h.
	MaxStreamDuration string
	// Quotas bound what may be used in a window of time. A request has to pass all that apply to it,
	// else it gets status 429.
	// Default: none.
	Quotas []Quota
	// Guard looks for content in requests and responses that must not reach the other side.
	// Refused: with realtime in Routes.
	Guard Guard
	// Mode is enforce or report. In report mode, no request is refused for its content and no body
	// is changed; X-Ai-Policy lists the decisions that enforce mode would have applied. The
	// provider and the key are the same in both modes.
	// Default: enforce. Refused: other values.
	Mode string
	// StreamUsage is auto or never. With auto, the middleware requests the usage of every stream of
	// chat completions, if Provider supports that, and removes the usage event for clients that did
	// not request it. With never, requests and streams stay unmodified, and a stream is metered
	// without tokens unless it reports its usage anyway.
	// Default: auto. Refused: other values.
	StreamUsage string
	// Prompt is what the system prompts of requests are. It applies to chat completions, responses,
	// messages, generateContent and the counts of their tokens.
	Prompt Prompt
	// Prices are what models cost. With them, each call has a cost.
	Prices Prices
	// Redis has the counters of Quotas, so that several Traefiks share them, and with Cache.Store the
	// stored responses.
	// Default: none; each Traefik counts on its own. Refused: without Quotas and Cache.Store redis.
	Redis Redis
	// Cache stores responses, and serves the same request again without calling the provider.
	// Default: none. In report mode nothing is stored or served.
	Cache Cache
	// Telemetry configures metrics, spans and log lines.
	Telemetry Telemetry
	// Expose turns this instance into an endpoint that serves telemetry instead of forwarding
	// requests. Each value serves what all chat-completion middlewares of this Traefik record:
	//
	//	prometheus  metrics
	//	dashboard   a page with live figures, and the same figures as JSON
	//
	// Default: none. Refused: other values, and all other keys except Telemetry and Secrets.
	Expose string
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// Params are values of parameters. A parameter without a value here is left to the client. Values
// must be valid in the published schema.
//
// MaxTokens and MaxCompletionTokens are two spellings of one parameter: at most one may be set, and
// it governs both. If Config.Provider knows one spelling only, that one is sent. The Responses API
// calls the parameter max_output_tokens, Messages max_tokens, and Gemini's protocol maxOutputTokens.
//
// Gemini's parameters are in generationConfig, and are named topP, frequencyPenalty and so on.
// Parameters that an endpoint does not have are not sent to it.
type Params struct {
	// Temperature is sent as temperature. Default: none. Refused: less than 0, more than 2.
	Temperature any
	// TopP is sent as top_p. Default: none. Refused: less than 0, more than 1.
	TopP any
	// MaxTokens is sent as max_tokens: an integer number of tokens.
	// Default: none. Refused: less than 1, and both MaxTokens and MaxCompletionTokens.
	MaxTokens any
	// MaxCompletionTokens is sent as max_completion_tokens: an integer number of tokens.
	// Default: none. Refused: less than 1, and both MaxTokens and MaxCompletionTokens.
	MaxCompletionTokens any
	// FrequencyPenalty is sent as frequency_penalty.
	// Default: none. Refused: less than -2, more than 2.
	FrequencyPenalty any
	// PresencePenalty is sent as presence_penalty.
	// Default: none. Refused: less than -2, more than 2.
	PresencePenalty any
	// Extra maps any other parameter, such as seed or reasoning_effort, to its value, by its name in
	// the protocol of the endpoint; those of Gemini's may be written with underscores. A string is
	// sent as JSON if it is JSON of the type in the schema or, for names unknown to the schema, any
	// JSON but a string.
	// Default: none. Refused: model, messages, input, contents, stream, names with a key of their
	// own, other spellings of known names, and values that the schema does not allow.
	Extra map[string]any
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// TLS configures TLS for the connection to a provider. The minimum version is TLS 1.2.
type TLS struct {
	// Enabled selects TLS (true) or plaintext (false).
	// Default: false for the providers that usually run on the user's own machines (ollama, vllm
	// and llamacpp), else true.
	Enabled any
	// ServerName is the name that the provider's certificate must match, which is also sent as SNI.
	// Default: Host. Refused: anything but a host, and a name without TLS.
	ServerName string
	// CAFile is the absolute path of a PEM file with the certificate authorities to verify the
	// provider with. It is read when the configuration is loaded.
	// Default: the system's authorities. Refused: relative paths, files without certificates, and a
	// file without TLS.
	CAFile string
	// InsecureSkipVerify accepts any certificate, which exposes the key and the prompts to whoever
	// can intercept the connection.
	// Default: false. Refused: without TLS.
	InsecureSkipVerify any
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// Timeouts limit the wait for each provider, fallbacks included.
type Timeouts struct {
	// Connect is the timeout of the TCP connection, and once more of its TLS handshake.
	// Default: 10s. Refused: less than 1ms, more than 10m.
	Connect string
	// FirstByte is the time from the start of an attempt until the response header arrives. If
	// another provider can be tried next, it extends to the first byte of the body. Connecting and
	// sending the request count, except for passthrough and the list of models.
	// Default: 10m, the timeout of OpenAI's SDKs. Refused: less than 1ms, more than 1h.
	FirstByte string
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// Fallback is a provider to fail over to. Its keys mean the same as the keys of Config with these
// names; all other configuration applies to every provider.
type Fallback struct {
	// Provider is like Config.Provider.
	Provider string
	// Host is like Config.Host. Default: that of Provider. Refused: no host at all.
	Host string
	// Port is like Config.Port.
	Port any
	// TLS is like Config.TLS.
	TLS TLS
	// Path is like Config.Path. Default: that of Provider.
	Path string
	// Model replaces the client's model at this provider, without ModelAliases and AllowedModels.
	// Report mode does not apply it.
	// Default: the model for the first provider. Refused: more than 256 bytes, control characters,
	// invalid UTF-8, and invalid references.
	Model string
	// Token is the provider's key, like Config.Token.
	// Default: none; no key is sent, since a client's credentials are forwarded to the first
	// provider only.
	Token string
	// AuthHeader is like Config.AuthHeader. Refused: Config.ModelHeader.
	AuthHeader AuthHeader
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// Limits are ceilings for the parameters of the same names, under the names that Params have in the
// protocol of the endpoint. A request without a token limit gets the ceiling as its limit, since the
// provider's own maximum would apply otherwise. A request without a value of another parameter stays
// without it.
type Limits struct {
	// Temperature is the maximum of temperature. Default: none. Refused: less than 0, more than 2.
	Temperature any
	// TopP is the maximum of top_p. Default: none. Refused: less than 0, more than 1.
	TopP any
	// MaxTokens is the maximum number of tokens, sent as max_tokens if the client set no token
	// limit.
	// Default: none. Refused: less than 1, and both MaxTokens and MaxCompletionTokens.
	MaxTokens any
	// MaxCompletionTokens is the maximum number of tokens, sent as max_completion_tokens if the
	// client set no token limit.
	// Default: none. Refused: less than 1, and both MaxTokens and MaxCompletionTokens.
	MaxCompletionTokens any
	// FrequencyPenalty is the maximum of frequency_penalty.
	// Default: none. Refused: less than -2, more than 2.
	FrequencyPenalty any
	// PresencePenalty is the maximum of presence_penalty.
	// Default: none. Refused: less than -2, more than 2.
	PresencePenalty any
	// N is the maximum number of choices, which Gemini's protocol calls candidateCount.
	// Default: none. Refused: less than 1, more than 128.
	N any
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// Quota bounds what each subject may use: requests, tokens or money in a window of time, or requests
// at the same time. Its counters are those of this Traefik, or those in Config.Redis.
type Quota struct {
	// Name is the name of the quota in errors, metrics and X-Ai-Quota.
	// Refused: none, more than 64 characters, others than letters, digits, dots, underscores and
	// hyphens, and the name of another quota.
	Name string
	// Per is whose use is counted: each different value has a counter of its own. It may refer to the
	// request as Config.Model does, and with $(model) to the model that the provider is sent. A request
	// without a consumer, or without a group, shares the counter of all such requests if Per is one
	// reference to it.
	// Default: $(consumer.name) with Config.Consumers, else one counter for all. Refused: invalid
	// references, and those to headers and query parameters that carry credentials.
	Per string
	// Unit is what is counted: requests, tokens, inputTokens, outputTokens, cost, or concurrent, the
	// requests that have not ended.
	// Refused: none, other values, and cost without Config.Prices.
	Unit string
	// Limit is what may be used in a window: an integer, or with Unit cost an amount in USD as decimal
	// text, such as "25.00".
	// Refused: none, less than 0.000000000001, more than 1000000000000000; with Unit cost more than
	// 9000000, else fractions.
	Limit any
	// Window is the span of time after which a counter begins at zero: 1d, 1w or 1M for a day, a week
	// from Monday or a month of the calendar in UTC, or a duration, which is aligned to the epoch.
	// Default: none, with Unit concurrent. Refused: less than 1s, more than 8784h, fractions of
	// milliseconds, no window without Unit concurrent, and a window with it.
	Window string
	// Models are patterns of the models that the quota applies to, as in Config.AllowedModels. They
	// are matched against the model that the provider is sent.
	// Default: all models.
	Models []string
	// Mode is enforce or report. In report mode, the quota counts, and refuses nothing.
	// Default: enforce; in report mode of the middleware report. Refused: other values.
	Mode string
	// Reserve is what is reserved until the usage is known:
	//
	//	none     nothing
	//	input    the estimated tokens of the input
	//	full     these, and the token limit that the provider is sent
	//
	// Default: input. Refused: other values, and any with Unit requests or concurrent.
	Reserve string
	// Shared selects whether all middlewares that have a shared quota of this name, with the same unit
	// and window, use the same counters (true), or each its own (false).
	// Default: false.
	Shared any
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// Guard looks for content in the texts of requests and responses, and blocks, masks or reports it. Long
// base64 data is no text. Of a conversation, what is new is inspected. What cannot be inspected is
// blocked.
type Guard struct {
	// Request has the rules for requests.
	Request GuardRules
	// Response has the rules for responses.
	Response GuardResponse
	// OnBlock is what the client gets instead of what has been blocked.
	OnBlock GuardBlock
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// GuardRules are rules for the texts of requests.
type GuardRules struct {
	// Rules are what is looked for. Default: none. Refused: more than 64, and two with the same name.
	Rules []GuardRule
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// GuardResponse are rules for the texts of responses, and bounds on what is held of a stream until it is
// known whether a rule matches.
type GuardResponse struct {
	// Rules are like GuardRules.Rules. Refused: GuardRule.Roles.
	Rules []GuardRule
	// Window is the length in bytes that one match may have across the events of a stream. If what may
	// become a match is longer, the stream is blocked.
	// Default: 1024. Refused: less than 64, more than 65536, and without Rules.
	Window any
	// Overlap is the length in bytes of text that stays in view after it has been sent, for what a
	// pattern requires before a match.
	// Default: 256. Refused: less than 16, more than 65536, more than Window, and
	// without Rules.
	Overlap any
	// MaxHold is the size in bytes of the events of one stream that are held at most. Beyond it, the
	// stream is blocked.
	// Default: 16384. Refused: less than 64, more than 1048576, less than Window,
	// and without Rules.
	MaxHold any
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// GuardRule is what is looked for, and what happens to a text that has it.
type GuardRule struct {
	// Name identifies the rule in X-Ai-Policy, in errors and in metrics.
	// Refused: none, more than 64 characters, others than letters, digits, dots, underscores and
	// hyphens, and the name of another rule.
	Name string
	// Builtin is what the rule looks for:
	//
	//	email         addresses of email
	//	phone         telephone numbers: with + and the code of a country, or as in North America
	//	ssn           social security numbers of the United States, in three groups
	//	creditCard    numbers of payment cards with the right check digit, in one group or in several
	//	iban          international bank account numbers with the right check digits
	//	ipv4          addresses of the Internet Protocol, version 4
	//	secretKey     API keys of OpenAI, Anthropic, Google, AWS, GitHub, Slack and Stripe, JSON Web
	//	              Tokens, and private keys in PEM
	//
	// Default: none. Refused: other values, and both Builtin and Pattern.
	Builtin string
	// Pattern is a regular expression in the syntax of RE2 that the rule looks for. ^ and $ match at the
	// beginning and the end of a line.
	// Default: none. Refused: invalid expressions, more than 500 characters, \A, \z, what matches the
	// empty text, and neither Builtin nor Pattern.
	Pattern string
	// Action is what happens to a text that matches:
	//
	//	block     the request or the response is blocked, with an error
	//	mask      what matches is replaced, character by character
	//	report    nothing
	//
	// Each is reported in X-Ai-Policy. Refused: none, other values.
	Action string
	// Mask is how a match is masked. Refused: with another Action.
	Mask GuardMask
	// Roles are whose texts the rule applies to: system, user, assistant or tool. Results of tools are
	// the tool's, and tools themselves the system's. Texts without a role, such as metadata, are of all
	// roles.
	// Default: all. Refused: other values, and any in responses.
	Roles []string
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// GuardMask is how a match is masked. One that has no more characters than are kept is masked whole.
type GuardMask struct {
	// Char is the character that replaces each character.
	// Default: *. Refused: more than one character, control characters, quotes and backslashes.
	Char string
	// KeepLeft is the number of characters that stay at the beginning.
	// Default: 0. Refused: less than 0, more than 64.
	KeepLeft any
	// KeepRight is the number of characters that stay at the end.
	// Default: 0. Refused: less than 0, more than 64.
	KeepRight any
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// GuardBlock is the error for what has been blocked.
type GuardBlock struct {
	// Status is the status of the error. Default: 400. Refused: less than 400, more than 499, and
	// without rules.
	Status any
	// Message is the message of the error.
	// Default: The request was blocked by the content rule `name`. Remove what the rule matches, and
	// try again. Refused: more than 1000 bytes, invalid UTF-8, and without rules.
	Message string
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// Secrets configures where keys in Kubernetes Secrets are found, and how long a key that is looked
// up remains valid. Without Dir and Endpoint, keys are read from the API server of the cluster that
// Traefik runs in, at KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT; outside a cluster,
// references to Kubernetes are refused.
//
// Keys are looked up in the background, once for all middlewares with the same reference and the
// same Secrets. A failed look-up is retried after 1s, 2s, 4s, 8s and then every 10s, or every
// Refresh if that is shorter.
type Secrets struct {
	// Dir is the absolute path of a directory with mounted Secrets. A reference is the file
	// Dir/name/key, or Dir/namespace/name/key with a namespace.
	// Default: none. Refused: relative paths, and Endpoint, TokenFile, CAFile or Namespace beside
	// it.
	Dir string
	// Endpoint is the URL of another API server, such as https://10.0.0.1:6443.
	// Default: the API server of Traefik's own cluster. Refused: other schemes than http and https,
	// a URL with credentials, a query or a fragment, and http to any host but this machine.
	Endpoint string
	// TokenFile is the absolute path of a file with the token for the API server, read for every
	// look-up.
	// Default: that of Traefik's service account; with Endpoint none, which suits kubectl proxy.
	// Refused: relative paths, and outside a cluster without Endpoint.
	TokenFile string
	// CAFile is the absolute path of a PEM file with the certificate authorities to verify the API
	// server with, read for every look-up.
	// Default: that of Traefik's service account; with Endpoint the system's authorities. Refused:
	// relative paths, and outside a cluster without Endpoint.
	CAFile string
	// Namespace applies to references without a namespace.
	// Default: that of Traefik's service account; with Endpoint none. Refused: invalid names.
	Namespace string
	// Refresh is the interval between two look-ups of a key, capped at half of MaxStale. A
	// provider's response with status 401 to a governed request triggers a look-up at once, but not
	// within 5s of the one before.
	// Default: 1m. Refused: less than 1s, more than 1h.
	Refresh string
	// MaxStale is how long a key stays in use after its last successful look-up while look-ups
	// fail, whatever the reason.
	// Default: 1h. Refused: less than 1s, more than 8760h.
	MaxStale string
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// Consumers identifies who sends a request, by the key of the request or by a name that a middleware
// before this one has set. Of chained instances, the first one identifies; with Groups, a later one
// applies its own keys to the group of that consumer.
//
// A key is taken from the headers Authorization (with Bearer), X-Api-Key, Api-Key and X-Goog-Api-Key,
// and from the query parameter key. It is looked up by its SHA-256, and not forwarded.
type Consumers struct {
	// Required refuses requests without a known consumer with status 401, in report mode as well.
	// CORS preflights need none.
	// Default: true with keys, false with Header. Refused: without List, From and Header.
	Required any
	// List are the consumers. Default: none. Refused: two with the same name or the same key.
	List []Consumer
	// From is a list of more consumers as JSON, with the members of Consumer, or a reference to it as
	// in Token. A file is checked every 5s, and read if its time or its size has changed; a Secret is
	// read every Secrets.Refresh. A list that cannot be read or is invalid leaves the last valid one
	// in use.
	// Default: none. Refused: other text, an unset environment variable, and a list in the
	// configuration or in the environment that is invalid.
	From string
	// Header is the request header that holds the name of the consumer, instead of keys. A
	// middleware before this one must set it, and replace what the client sent. It is not forwarded.
	// A name that is not listed is that of a consumer without a group.
	// Default: none. Refused: invalid header names, headers that carry credentials or are reserved,
	// and ModelHeader.
	Header string
	// Groups maps the names of groups to the keys of Config that are replaced for their members.
	// Default: none; a group is a label only. Refused: invalid names.
	Groups map[string]ConsumerGroup
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// Consumer is who may send requests: a team, an application, a person.
type Consumer struct {
	// Name identifies the consumer in labels, in the access log, and in templates. Refused: none,
	// more than 128 bytes, control characters, and invalid UTF-8.
	Name string
	// Key is the consumer's key: its SHA-256 as sha256: and 64 hexadecimal digits, or a reference to
	// the key, or to its SHA-256, as in Token. A reference to a file or a Secret is looked up as often
	// as Token is.
	// Default: none, with Consumers.Header. Refused: the key itself, no key without
	// Consumers.Header, and a key with it.
	Key string
	// Group is the name of the consumer's group.
	// Default: none. Refused: a group that Consumers.Groups does not have, if it has any.
	Group string
	// Expires is when the consumer ends, in the form of RFC 3339, such as 2027-01-01T00:00:00Z.
	// Default: none; the consumer does not end. Refused: other forms.
	Expires string
	// PreviousKey is a second key for a while, so that a key can be replaced without a failed
	// request.
	PreviousKey PreviousKey
	// Disabled refuses the requests of the consumer. Default: false.
	Disabled any
	// AllowedModels are patterns of the models that the consumer may use, of those that the instance
	// allows. Report mode does not enforce them.
	// Default: all of them.
	AllowedModels []string
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// PreviousKey is a key that has been replaced, and is valid for a while longer.
type PreviousKey struct {
	// Key is like Consumer.Key. Default: none. Refused: without Until.
	Key string
	// Until is when the key ends, in the form of RFC 3339. Default: none. Refused: without Key.
	Until string
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// ConsumerGroup holds keys of Config that are replaced for the members of a group. A key that is
// missing here is that of Config; Params, Limits and maps are replaced as a whole. Refused: what Config
// refuses, with these keys.
type ConsumerGroup struct {
	// Model is like Config.Model.
	Model string
	// AllowModelOverride is like Config.AllowModelOverride.
	AllowModelOverride any
	// AllowedModels is like Config.AllowedModels. Members of a group with AllowedModels cannot use
	// endpoints of the kind passthrough, and not those of the kind passthrough: governed without
	// naming a model.
	AllowedModels []string
	// ModelAliases is like Config.ModelAliases.
	ModelAliases map[string]string
	// Params is like Config.Params.
	Params Params
	// Limits is like Config.Limits.
	Limits Limits
	// DropParams is like Config.DropParams.
	DropParams []string
	// Quotas is like Config.Quotas. A quota that has the name, the unit and the window of one in Config
	// uses the same counters, with its own limit.
	Quotas []Quota
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// Redis is a Redis, or a Valkey, that has the counters of quotas. The keys have the names, types and
// defaults of redis in Traefik's RateLimit; OnError and KeyPrefix do not exist there. It is used as
// soon as one key has a value.
//
// A command takes at most the sum of the three timeouts, the wait for a connection included. All
// middlewares of this Traefik with equal settings share the connections.
type Redis struct {
	// Endpoints is the address of the server, host:port.
	// Default: localhost:6379. Refused: other forms, and more than one: Redis Cluster and Sentinel
	// are not supported.
	Endpoints []string
	// Username is the user, or a reference to it as in Token.
	// Default: none; the user default. Refused: without Password, and what Token refuses.
	Username string
	// Password is the password, or a reference to it as in Token.
	// Default: none; there is no authentication. Refused: what Token refuses.
	Password string
	// DB is the number of the database.
	// Default: 0. Refused: less than 0, more than 1048576.
	DB any
	// PoolSize is the maximum number of connections; 0 is ten per CPU that Go uses.
	// Default: 0. Refused: less than 0, more than 10000.
	PoolSize any
	// MinIdleConns is the number of idle connections that are kept open, up to PoolSize.
	// Default: 0. Refused: less than 0, more than 10000.
	MinIdleConns any
	// MaxActiveConns is the number of connections that PoolSize is lowered to; 0 lowers nothing.
	// Default: 0. Refused: less than 0, more than 10000.
	MaxActiveConns any
	// ReadTimeout is the time that a reply may take. In the timeouts, a number without a unit is one
	// of seconds, as in Traefik.
	// Default: 3s. Refused: less than 1ms, more than 1m; also 0, which means no timeout in Traefik.
	ReadTimeout string
	// WriteTimeout is like Redis.ReadTimeout, for sending a command.
	WriteTimeout string
	// DialTimeout is like Redis.ReadTimeout, for a new connection, with its TLS handshake and its
	// authentication.
	// Default: 5s.
	DialTimeout string
	// TLS configures TLS.
	TLS RedisTLS
	// OnError is what happens to requests with quotas while the server is unavailable:
	//
	//	local    the counters of this Traefik go on; what they count is added to those in Redis as
	//	         soon as it is back
	//	deny     they are refused with status 503
	//	allow    no quota applies to them
	//
	// Default: local. Refused: other values.
	OnError string
	// KeyPrefix precedes each key in Redis, with a colon after it.
	// Default: chat-completion. Refused: more than 64 bytes, spaces and control characters.
	KeyPrefix string
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// RedisTLS configures TLS for the connections to Redis. The minimum version is TLS 1.2. CA, Cert and
// Key are PEM text, or the absolute path of a file with it, which is read when the configuration is
// loaded.
type RedisTLS struct {
	// Enabled selects TLS (true) or plaintext (false).
	// Default: true if another key of TLS has a value. Refused: false beside such a key.
	Enabled any
	// CA has the certificate authorities to verify the server with.
	// Default: the system's authorities. Refused: files without certificates.
	CA string
	// Cert is the certificate that the server asks for. Default: none. Refused: without its Key.
	Cert string
	// Key is the private key of Cert. Default: none. Refused: without Cert.
	Key string
	// InsecureSkipVerify accepts any certificate, which exposes the password and the counters to
	// whoever can intercept the connection.
	// Default: false.
	InsecureSkipVerify any
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// AuthHeader is the header that carries the provider's key.
type AuthHeader struct {
	// Name is the name of the header.
	// Default: that of Config.Provider, else Authorization. Refused: invalid header names, and
	// headers reserved for HTTP or this middleware.
	Name string
	// Prefix precedes the key. A prefix that does not end in a space, = or : gets a space appended.
	// An empty prefix sends the key alone.
	// Default: "Bearer " for Authorization, else empty. Refused: control characters.
	Prefix *string
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// Prompt is what the system prompts of requests are: the operator's, the client's, or both. The client's
// are the messages with the role system or developer of chat completions, instructions in the Responses
// API, system in Messages, and systemInstruction in Gemini's protocol, and in each of them also the
// elements of the conversation with one of these roles.
//
// What one instance has inserted is not a client's system prompt to the chained instances after it. In
// report mode nothing is inserted.
type Prompt struct {
	// System is the operator's system prompt.
	System SystemPrompt
	// ForbidClientSystem refuses requests with a system prompt of the client, with status 400. In
	// Gemini's protocol, also those with cachedContent, which may have one.
	// Default: false.
	ForbidClientSystem any
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// SystemPrompt is the operator's system prompt. It is inserted byte for byte in the same way each time,
// and all other bytes of a request stay, so that the caches of providers work.
type SystemPrompt struct {
	// Text is the system prompt, or urn:file:/path. The file is looked up again in the background;
	// while it cannot be read, or is invalid, the last valid text remains. White space around the text
	// is removed.
	// Default: none; the system prompt is the client's. Refused: other values that begin with urn:,
	// relative paths, more than 65536 bytes, and invalid UTF-8.
	Text string
	// Mode is what happens to the client's system prompt:
	//
	//	prepend     Text comes before it
	//	append      Text comes after it; in chat completions after the system messages at the
	//	            beginning
	//	replace     Text replaces it, wherever in the conversation it is
	//	ifAbsent    Text is inserted into requests that do not begin with one
	//
	// In an array, Text is an element of its own. In a string, a blank line separates the two.
	// Default: prepend. Refused: other values, any without Text, and replace and ifAbsent with
	// ForbidClientSystem.
	Mode string
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// Prices are what models cost, in USD. Prices are decimal text, such as "2.50", which is exact; a
// number is read as its shortest decimal text, and Traefik's file provider cuts it to six decimals.
// Costs are integers in picodollars (1e-12 USD). A price that is finer than a picodollar per token,
// request, image or second is rounded to the nearest, up from the middle.
//
// The price of a call is that of the model that the response names, else that of the model that the
// provider was sent. A name with the provider's before it, such as groq/llama-3.3-70b-versatile, is
// looked up with the name alone, and applies to the provider of that name in Config.Provider. The
// name itself wins over patterns, and the pattern with the most characters other than * wins over
// others; of equal ones, that of Models, then the one with fewer *, then the first in the order of bytes.
// A call without a price has no cost, which is not a cost of 0.
type Prices struct {
	// From is where further prices are: urn:env, urn:file or urn:k8s:secret as in Config.Token, or
	// the JSON itself. The JSON is {"models": {…}} with models as in Models, or LiteLLM's
	// model_prices_and_context_window.json. Files and Secrets are read again in the background;
	// while one cannot be read, or is broken, the last good prices remain.
	// Default: none. Refused: other texts, and JSON that is neither. Files have at most 16 MiB.
	From string
	// Models maps names of models to their prices. An asterisk matches any text, as in
	// Config.AllowedModels.
	// Default: none. Refused: names of more than 256 bytes, with control characters or with invalid
	// UTF-8, and a model without prices.
	Models map[string]Price
	// Unpriced is allow or deny: whether requests for models without a price are forwarded or refused
	// with status 400 where a quota with Unit cost applies to them.
	// Default: allow; their cost is not counted. Refused: other values.
	Unpriced string
	// TrustReported selects whether the cost that a provider reports as usage.cost wins over the
	// prices.
	// Default: true. Refused: false without From and Models.
	TrustReported any
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// Price is what a model costs: per million tokens, per request, per image and per second. Tokens are
// counted once: cached input and audio are not input as well. A price of tokens that a call has and
// that is not configured, nor replaced by another as below, leaves the cost unknown.
// Refused in each: numbers below 0, above 9000000, and what is not a decimal number.
type Price struct {
	// Input is the price of a million input tokens.
	Input any
	// Output is the price of a million output tokens.
	Output any
	// CacheRead is the price of a million input tokens read from a cache. Default: Input.
	CacheRead any
	// CacheWrite is the price of a million input tokens written to a cache. Default: Input.
	CacheWrite any
	// CacheWrite1h is that of those which the cache keeps for an hour. Default: CacheWrite.
	CacheWrite1h any
	// Reasoning is the price of a million reasoning tokens. Default: Output.
	Reasoning any
	// InputAudio is the price of a million input tokens of audio. Default: Input.
	InputAudio any
	// OutputAudio is the price of a million output tokens of audio. Default: Output.
	OutputAudio any
	// Request is the price of a request. Default: 0.
	Request any
	// Image is the price of an image in the response of an image endpoint. Default: 0.
	Image any
	// Second is the price of a second of audio, counted in milliseconds. Default: 0.
	Second any
	// Tiers are the prices of long inputs. The tier with the highest Over below the whole input
	// counts, and reprices the whole call.
	// Default: none. Refused: two with the same Over.
	Tiers []PriceTier
	// ServiceTiers maps the service tiers that responses name to what their costs are multiplied
	// with, such as "0.5" for flex. A result that is finer than a picodollar is rounded to the
	// nearest, up from the middle.
	// Default: none, any service tier costs the same. Refused: more than 1000.
	ServiceTiers map[string]any
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// PriceTier is what a model costs with a long input. What it leaves out costs what it costs below.
type PriceTier struct {
	// Over is the number of input tokens, cached ones included, above which the tier applies.
	// Refused: none, less than 1, more than 1000000000000.
	Over any
	// Input is like Price.Input.
	Input any
	// Output is like Price.Output.
	Output any
	// CacheRead is like Price.CacheRead.
	CacheRead any
	// CacheWrite is like Price.CacheWrite.
	CacheWrite any
	// CacheWrite1h is like Price.CacheWrite1h.
	CacheWrite1h any
	// Reasoning is like Price.Reasoning.
	Reasoning any
	// InputAudio is like Price.InputAudio.
	InputAudio any
	// OutputAudio is like Price.OutputAudio.
	OutputAudio any
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// Cache stores the responses to governed requests. The next request that is the same, for the
// provider and for those who share responses, is served the bytes that are stored: it costs a request,
// and neither tokens nor money. A response is stored if it is whole, has status 200, and has ended by
// itself: it has no error, is not refused, and is not cut at a token limit.
type Cache struct {
	// TTL is how long a response is served. Default: 5m. Refused: less than 1s, more than 168h.
	TTL string
	// Scope is consumer, group or all. It selects whose requests are served a response. Requests
	// without a consumer, or with group without a group, are neither stored nor served.
	// Default: consumer. Refused: other values.
	Scope string
	// MaxBytes is the maximum size in bytes of a response that is stored.
	// Default: 1048576. Refused: less than 1, more than 67108864.
	MaxBytes any
	// MaxEntries is the maximum number of responses. In memory, all together have at most 64 KiB for
	// each of them, or MaxBytes if that is more, and those that were served least recently make room. In
	// Redis, each has one of MaxEntries places, by its key, and makes room for a later one there.
	// Default: 1000. Refused: less than 1, more than 100000.
	MaxEntries any
	// Store is memory or redis. It selects where responses are stored: in the memory of this Traefik, or
	// in Config.Redis.
	// Default: memory. Refused: other values, and redis without Config.Redis.
	Store string
	// Routes are the kinds of endpoints whose responses are stored: completions, embeddings, responses,
	// messages, generateContent.
	// Default: all of these. Refused: other values.
	Routes []string
	// Vary are names of request headers in addition to those that choose a response in the protocols,
	// or carry credentials: requests whose values differ do not share responses.
	// Default: none. Refused: invalid header names, and headers reserved for HTTP.
	Vary []string
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// Telemetry configures what an instance records of its calls, and where the records go.
type Telemetry struct {
	// Provider is the value of gen_ai.provider.name, such as mistral_ai, azure.ai.openai or
	// gcp.gemini. Fallbacks keep their own.
	// Default: that of Config.Provider, else openai. Refused: more than 128 bytes, control
	// characters, and invalid UTF-8.
	Provider string
	// Labels maps names of additional attributes of metrics, spans and log lines to their values:
	// fixed text, or references to the request as in Model. A request that lacks the value gets no
	// label. A value of more than 128 bytes, with control characters or with invalid UTF-8 becomes
	// _OTHER.
	// Default: none. Refused: names that are invalid, the same in Prometheus, or reserved for the
	// GenAI conventions or Prometheus, and with Consumers consumer and group, which are set then;
	// fixed text that would become _OTHER; invalid references, and those to headers and query
	// parameters that carry credentials.
	Labels map[string]string
	// MaxSeries is the maximum number of attribute combinations in this Traefik, all middlewares
	// together. In any further combination, models and labels become _OTHER, and the loss is
	// counted.
	// Default: 2000. Refused: less than 1, more than 100000.
	MaxSeries any
	// Semconv is legacy, v0.1 or both. It selects the names of OpenTelemetry's GenAI conventions:
	// those before their version 0.1.0, those of that version, or both for metrics, where spans and
	// log lines have those before. With v0.1, the parts of every usage count in metrics; else those
	// of calls whose parts a span, a line or a cost needs.
	// Default: both, or v0.1 if OTEL_SEMCONV_STABILITY_OPT_IN in Traefik's environment contains
	// gen_ai_latest_experimental. Refused: other values.
	Semconv string
	// Log is stdout or stderr of Traefik, which gets one line of JSON for each call.
	// Default: none. Refused: other values.
	Log string
	// OTLP configures the export of metrics and spans.
	OTLP OTLP
	// Traces configures which calls become spans, and their content.
	Traces Traces
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// OTLP configures the export to an OpenTelemetry Collector that accepts OTLP over HTTP as JSON. All
// middlewares with equal settings share one connection, one queue, and one export of the metrics of
// this Traefik.
//
// Settings that are not configured are read from the standard variables of Traefik's environment;
// variables for one signal take precedence over those for all signals. They are
// OTEL_EXPORTER_OTLP_COMPRESSION and _TIMEOUT, OTEL_METRIC_EXPORT_INTERVAL, OTEL_SERVICE_NAME (by
// default traefik) and OTEL_RESOURCE_ATTRIBUTES. Without Endpoint they are also
// OTEL_EXPORTER_OTLP_ENDPOINT, _HEADERS and _PROTOCOL, OTEL_METRICS_EXPORTER, OTEL_TRACES_EXPORTER
// and OTEL_SDK_DISABLED. A variable with an invalid value is logged and ignored.
type OTLP struct {
	// Endpoint is the base URL of the collector, such as http://collector:4318; /v1/metrics and
	// /v1/traces are appended to it.
	// Default: that of the environment; without one nothing is sent. Refused: other schemes than
	// http and https, and a URL with credentials, a query or a fragment.
	Endpoint string
	// Headers maps names of headers of every export to their values, which may be references as in
	// Config.Token.
	// Default: none; if the endpoint is that of the environment, the environment's. Refused: empty
	// values, invalid or duplicate header names, and headers reserved for HTTP.
	Headers map[string]string
	// Interval is the time between two exports of metrics. Spans are sent after at most 5s, or
	// after Interval if that is shorter.
	// Default: 30s. Refused: less than 1s, more than 1h.
	Interval string
	// Timeout is the timeout of one export. Default: 10s. Refused: less than 10ms, more than 1m.
	Timeout string
	// Compression is gzip or none. Default: gzip. Refused: other values.
	Compression string
	// Metrics enables the export of metrics.
	// Default: true; if the endpoint is that of the environment, what OTEL_METRICS_EXPORTER
	// selects.
	Metrics any
	// Traces enables the export of spans.
	// Default: true; if the endpoint is that of the environment, what OTEL_TRACES_EXPORTER selects.
	Traces any
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// Traces configures which calls become spans, and their content.
type Traces struct {
	// SampleRatio is the fraction of the calls without a traceparent header that become spans. A
	// call with the header becomes a span if its sampled flag is set.
	// Default: 1. Refused: less than 0, more than 1.
	SampleRatio any
	// CaptureContent adds prompts and responses, which are personal data, to the spans.
	// Default: false.
	CaptureContent any
	// ContentMaxBytes is the maximum size in bytes of the prompt, and of the response, in a span.
	// Default: 4096. Refused: less than 1, more than 1048576.
	ContentMaxBytes any
	// Unknown collects the keys that match no other field. Refused: any.
	Unknown map[string]any `mapstructure:",remain"`
}

// CreateConfig returns the default configuration. Fields of type any stay nil: into one that holds
// a value, Traefik would decode only values of the same type.
func CreateConfig() *Config {
	return &Config{
		ModelHeader: defaultModelHeader,
		Mode:        modeEnforce,
	}
}

// Defaults of Config.
const (
	defaultModelHeader         = "X-Ai-Model"
	defaultMaxRequestBodyBytes = 10 << 20
)
