package chatcompletion

// Config is the configuration of one middleware. Traefik matches keys without regard to case. Fields of type any take
// a boolean or a number, and also a string that holds one: Traefik's file provider and container labels turn every
// scalar into a string. Sizes are in bytes.
type Config struct {
	// Token is the provider's key: a literal, urn:env:NAME for an environment variable of Traefik, urn:file:/path for a
	// file, or urn:k8s:secret:name:key or urn:k8s:secret:namespace/name:key for a key in a Secret of Kubernetes, which
	// Secrets tells where to find. Traefik's Kubernetes CRD provider replaces the form without a namespace by itself, and
	// fails at the other. Default: none, the client's own credentials pass; with Provider or AuthHeader, its key is moved to the
	// header that the provider reads. Refused: other references, and control characters.
	Token string
	// Secrets is where keys are looked up that Token or OTLP.Headers refer to with urn:k8s:secret: or urn:file:, and how
	// often.
	Secrets Secrets
	// Model is the model that is enforced, or the default where clients may choose their own. It may refer to the request
	// with $(uri_captures.name), $(headers.name) and $(query_params.name), as in Kong's ai-proxy; a request that lacks the
	// value is answered 400. Default: none. Refused: more than 256 bytes, control characters, and a model that
	// AllowedModels does not match.
	Model string
	// ModelPattern is a regular expression on the escaped path of the request, whose named groups are the uri_captures
	// of Model, Path and Telemetry.Labels. Kong's spelling, ~/(?<model>[^#?/]+)/chat/completions$, is accepted. Default: none.
	ModelPattern string
	// AllowModelOverride tells whether a client's own model is used (true) or replaced by Model (false). Default: true
	// if Model is empty, else false, as in Traefik Hub. Refused: false without a Model.
	AllowModelOverride any
	// Params are the parameters that are applied to every request to an endpoint that has them.
	Params Params
	// AllowParamsOverride tells whether Params only fill in what a client left out (true), or replace what it sent
	// (false). Default: false, as in Traefik Hub.
	AllowParamsOverride any
	// Limits are ceilings: a client's value above is lowered.
	Limits Limits
	// DropParams are the names of parameters that are removed, such as temperature for a model that refuses it. Default:
	// none. Refused: model, messages, input and stream, and what Params or Limits set.
	DropParams []string
	// AllowedModels are patterns of the models that may be used, * standing for any text, compared after ModelAliases.
	// Default: all models.
	AllowedModels []string
	// ModelAliases maps names of models as clients know them to those of the provider. Default: none. Refused: an alias of
	// an alias.
	ModelAliases map[string]string
	// ModelHeader is the header of the request that carries the final model to later routers and to the provider. A
	// client's own is always removed. Default: X-Ai-Model. Refused: names that HTTP or this middleware needs otherwise.
	ModelHeader string
	// Routes maps the ends of paths, such as /v1/models, to what the endpoint is: completions, embeddings or responses
	// (governed), models (a GET is answered with the models that may be used), passthrough (handed on as it is, with Token and
	// Path), "passthrough: governed" (the same, with the model in the body governed), or deny (403). The longest match counts, on
	// the boundaries of segments and without regard to case; * is the rest. Default: everything is completions, and so is what
	// no key matches. Refused: other kinds, models at *, and keys that mean the same paths.
	Routes map[string]string
	// Provider is the name of the provider, which decides on the paths that it is asked for, AuthHeader, the name of the token
	// limit, whether it is asked for the usage of streams, Telemetry.Provider, and whether values that OpenAI does not know are
	// refused. The reference lists the names. Default: none, which is OpenAI at the client's paths; with Host at those below
	// /v1. Refused: other names.
	Provider string
	// Path is the path that the provider is asked for, at every endpoint and instead of Provider's; the query stays. It may
	// refer to the request as Model does. Default: the client's. Refused: what begins with no slash; spaces, controls, ?, # and %.
	Path string
	// Host is the provider's host: requests are forwarded there by the middleware itself, and the router's service is never
	// called. Default: none, the router's service is the provider. Refused: what is no name and no address of a host.
	Host string
	// Port is the provider's port. Default: that of Provider, else 443 with TLS and 80 without. Refused: less than 1, more than
	// 65535, and a port without Host.
	Port any
	// TLS is how the connection to Host is secured. Refused: without Host.
	TLS TLS
	// Timeouts bound the wait for Host. A stream may then last as long as it does. Refused: without Host.
	Timeouts Timeouts
	// Fallbacks are providers that are tried in their order where Host, or the one before, cannot be reached, takes too long,
	// or answers 429 or 5xx; never once a byte of an answer has reached the client. Default: none. Refused: without Host.
	Fallbacks []Fallback
	// AuthHeader is the header of the request to the provider that carries Token.
	AuthHeader AuthHeader
	// MaxRequestBodySize is the largest body that is accepted, in bytes, compressed and decompressed. Default: 10485760
	// (10 MiB). Refused: less than 1.
	MaxRequestBodySize any
	// MaxResponseBytes is the largest body of a governed answer, in bytes as the client gets them. An answer that announces more
	// is 502 instead; another one breaks off where it has more. Default: none. Refused: less than 1, more than 2147483647.
	MaxResponseBytes any
	// MaxStreamDuration is how long a governed event stream may last, from its header on; then it breaks off. It is written as
	// Go writes it: 30m. Default: none, as long as both sides want. Refused: less than 1s, more than 24h.
	MaxStreamDuration string
	// Mode is enforce, or report: no request is refused for its content, no body is changed, and X-Ai-Policy says what
	// would have been. Where and with which key the provider is asked is the same in both. Default: enforce.
	Mode string
	// StreamUsage is auto: every stream of chat completions is asked for its usage, if Provider takes that, and the event with
	// it is kept from clients that did not ask; or never: what a client asks for stays as it is, and streams whose usage it did
	// not want are metered without tokens. Default: auto.
	StreamUsage string
	// Telemetry is what is made known about the calls.
	Telemetry Telemetry
	// Expose makes this middleware an endpoint that answers by itself: prometheus publishes the metrics of all
	// chat-completion middlewares of this Traefik. Default: none. Refused: other values, and all keys beside it but
	// Telemetry.
	Expose string
	// Unknown receives the keys that are none of the above; New refuses them.
	Unknown map[string]any `mapstructure:",remain"`
}

// Params are values of parameters; one that is not configured is left to the client. Values must be within the
// published schema, for example temperature from 0 to 2. MaxTokens and MaxCompletionTokens are one parameter with two
// spellings, of which one may be configured; it governs both. Config.Provider may know one spelling only, and the Responses
// API calls it max_output_tokens: then that is what is sent.
type Params struct {
	// Temperature is sent as temperature: a number from 0 to 2.
	Temperature any
	// TopP is sent as top_p: a number from 0 to 1.
	TopP any
	// MaxTokens is sent as max_tokens: a whole number of tokens, at least 1.
	MaxTokens any
	// MaxCompletionTokens is sent as max_completion_tokens: a whole number of tokens, at least 1.
	MaxCompletionTokens any
	// FrequencyPenalty is sent as frequency_penalty: a number from -2 to 2.
	FrequencyPenalty any
	// PresencePenalty is sent as presence_penalty: a number from -2 to 2.
	PresencePenalty any
	// Extra holds any other parameter by its name in the request, such as seed or reasoning_effort. A string that is
	// JSON of the type that the schema wants, or any JSON but a string for names unknown to it, is sent as that JSON.
	// Refused: model, messages, input, stream, and the names that have a key of their own.
	Extra map[string]any
	// Unknown receives the keys that are none of the above; New refuses them.
	Unknown map[string]any `mapstructure:",remain"`
}

// TLS is how a connection to a provider is secured.
type TLS struct {
	// Enabled tells whether TLS is spoken. Default: true, but false for the providers that run on one's own machines: ollama,
	// vllm and llamacpp.
	Enabled any
	// ServerName is the name that the provider's certificate has to be for, and that is asked for by SNI. Default: Host.
	ServerName string
	// CAFile is the absolute path of a file with the certificates, in PEM, that the provider is verified by. It is read when a
	// configuration is loaded. Default: those of the system. Refused: a relative path, and a file without certificates.
	CAFile string
	// InsecureSkipVerify takes any certificate: whoever is on the way reads the key. Default: false.
	InsecureSkipVerify any
	// Unknown receives the keys that are none of the above; New refuses them.
	Unknown map[string]any `mapstructure:",remain"`
}

// Timeouts bound the wait for a provider. They are written as Go writes them: 30s, 10m.
type Timeouts struct {
	// Connect is for the connection, and once more for its TLS handshake. Default: 10s. Refused: less than 1ms, more than 10m.
	Connect string
	// FirstByte is for a provider from being chosen until the first byte of its answer: that of the header; with Fallbacks, but
	// for the last of them, that of the body. Default: 10m, as long as OpenAI's SDKs wait. Refused: less than 1ms, more than 1h.
	FirstByte string
	// Unknown receives the keys that are none of the above; New refuses them.
	Unknown map[string]any `mapstructure:",remain"`
}

// Fallback is a provider that is tried after others. Its keys mean what those of the same names in Config do; the rest of
// the configuration is the same for all providers.
type Fallback struct {
	// Provider is as Config.Provider.
	Provider string
	// Host is as Config.Host. Default: that of Provider. Refused: none at all.
	Host string
	// Port is as Config.Port.
	Port any
	// TLS is as Config.TLS.
	TLS TLS
	// Path is as Config.Path. Default: that of Provider.
	Path string
	// Model is enforced there, whatever the client asks for, but in report mode. Default: that of the first provider.
	Model string
	// Token is the provider's key, as Config.Token. Default: none is sent; a client's own is only for the first provider.
	Token string
	// AuthHeader is as Config.AuthHeader.
	AuthHeader AuthHeader
	// Unknown receives the keys that are none of the above; New refuses them.
	Unknown map[string]any `mapstructure:",remain"`
}

// Limits are ceilings for the parameters of the same names. A request without a token limit gets the ceiling as its
// limit; for the other parameters, a request without a value stays without.
type Limits struct {
	// Temperature is the highest temperature: a number from 0 to 2.
	Temperature any
	// TopP is the highest top_p: a number from 0 to 1.
	TopP any
	// MaxTokens is the highest token limit, sent as max_tokens where the client set none. At least 1.
	MaxTokens any
	// MaxCompletionTokens is the highest token limit, sent as max_completion_tokens where the client set none. At least 1.
	MaxCompletionTokens any
	// FrequencyPenalty is the highest frequency_penalty: a number from -2 to 2.
	FrequencyPenalty any
	// PresencePenalty is the highest presence_penalty: a number from -2 to 2.
	PresencePenalty any
	// N is the highest number of choices: a whole number from 1 to 128.
	N any
	// Unknown receives the keys that are none of the above; New refuses them.
	Unknown map[string]any `mapstructure:",remain"`
}

// Secrets tells where keys in Secrets of Kubernetes are found, and how long a key counts. Without Dir and Endpoint, the API
// server of the cluster that Traefik runs in is asked, as the environment variables KUBERNETES_SERVICE_HOST and _PORT say;
// outside of a cluster, references to Kubernetes are refused then.
//
// Keys are looked up in the background, once for all middlewares with the same reference and the same Secrets. A source that
// fails is asked again after 1s, 2s, 4s, 8s, and then every 10s, or every Refresh if that is shorter. Durations are written
// as Go writes them: 30s, 1m.
type Secrets struct {
	// Dir is the absolute path of a directory that Secrets are mounted in: Dir/name/key, and Dir/namespace/name/key for
	// references with a namespace. Default: none. Refused: a relative path, and the keys about the API beside it.
	Dir string
	// Endpoint is the URL of an API server that is asked instead of the cluster's own, such as https://10.0.0.1:6443.
	// Default: none. Refused: what is no URL with http or https and a host; a user, a query or a fragment; http to another
	// host than this one.
	Endpoint string
	// TokenFile is the absolute path of a file with the token for the API server, which is read for every look-up. Default:
	// that of Traefik's service account; with Endpoint none, as kubectl proxy wants it. Refused: a relative path.
	TokenFile string
	// CAFile is the absolute path of a file with the certificates, in PEM, that the API server is verified by. It is read for
	// every look-up. Default: that of Traefik's service account; with Endpoint those of the system. Refused: a relative
	// path.
	CAFile string
	// Namespace is that of references without one. Default: that of Traefik's service account; with Endpoint there is none.
	Namespace string
	// Refresh is the time between two look-ups of a key, and at most half of MaxStale. After an answer with status 401 to it,
	// it is looked up at once, but not within 5s of the look-up before. Default: 1m. Refused: less than 1s, more than 1h.
	Refresh string
	// MaxStale is for how long after the last successful look-up a key is used while look-ups fail, whatever the reason.
	// Default: 1h. Refused: less than 1s, more than 8760h.
	MaxStale string
	// Unknown receives the keys that are none of the above; New refuses them.
	Unknown map[string]any `mapstructure:",remain"`
}

// AuthHeader names the header that carries the provider's key.
type AuthHeader struct {
	// Name is the name of the header. Default: Authorization, or what Config.Provider wants.
	Name string
	// Prefix stands before the key. A word gets a space behind it. Default: "Bearer " for Authorization, else nothing.
	Prefix *string
	// Unknown receives the keys that are none of the above; New refuses them.
	Unknown map[string]any `mapstructure:",remain"`
}

// Telemetry is what is made known about the calls of a middleware. Durations are written as Go writes them: 30s, 1m.
type Telemetry struct {
	// Provider is the value of gen_ai.provider.name, such as mistral_ai, azure.ai.openai or gcp.gemini, but for Fallbacks.
	// Default: that of Config.Provider, else openai, the API that is spoken.
	Provider string
	// Labels are attributes of metrics, spans and log lines by their names: fixed text, or with references to the request
	// as in Model. A request that lacks the value has no such label. Default: none. Refused: names that are none, names
	// that the GenAI conventions use, and references to headers that carry credentials.
	Labels map[string]string
	// MaxSeries is how many combinations of attributes are kept in this Traefik, of all middlewares together. Models and
	// labels of any further combination become _OTHER, which is counted. Default: 2000. Refused: less than 1, more than
	// 100000.
	MaxSeries any
	// Log is stdout or stderr of Traefik, for a line of JSON for each call. Default: none.
	Log string
	// OTLP is where metrics and spans are sent.
	OTLP OTLP
	// Traces is which calls become spans, and what is in them.
	Traces Traces
	// Unknown receives the keys that are none of the above; New refuses them.
	Unknown map[string]any `mapstructure:",remain"`
}

// OTLP is an OpenTelemetry collector that takes OTLP over HTTP, as JSON. All middlewares with the same settings share one
// connection, one queue, and one export of the metrics of this Traefik.
//
// What is not configured is taken from the standard variables of Traefik's environment, those for one signal before those
// for all: OTEL_EXPORTER_OTLP_COMPRESSION and _TIMEOUT, OTEL_METRIC_EXPORT_INTERVAL, OTEL_SERVICE_NAME (by default traefik)
// and OTEL_RESOURCE_ATTRIBUTES; and without Endpoint also OTEL_EXPORTER_OTLP_ENDPOINT, _HEADERS and _PROTOCOL,
// OTEL_METRICS_EXPORTER, OTEL_TRACES_EXPORTER and OTEL_SDK_DISABLED. A value that cannot be used is told to the operator, and
// ignored.
type OTLP struct {
	// Endpoint is the base URL of the collector, such as http://collector:4318; /v1/metrics and /v1/traces are added to
	// its path. Default: that of the environment, and without one nothing is sent. Refused: what is no URL with http or
	// https and a host, and a URL with a user, a query or a fragment.
	Endpoint string
	// Headers are sent with every export. A value may be a reference as in Config.Token. Default: none; to the endpoint of
	// the environment, those of the environment. Refused: values that are empty, and headers that HTTP needs otherwise.
	Headers map[string]string
	// Interval is the time between two exports of metrics. Spans are sent after 5s at the latest, or after Interval if that is
	// shorter. Default: 30s. Refused: less than 1s, more than 1h.
	Interval string
	// Timeout ends an export that takes longer. Default: 10s. Refused: less than 10ms, more than 1m.
	Timeout string
	// Compression is gzip or none. Default: gzip.
	Compression string
	// Metrics tells whether metrics are sent. Default: true, and with the endpoint of the environment what
	// OTEL_METRICS_EXPORTER says.
	Metrics any
	// Traces tells whether spans are sent. Default: true, and with the endpoint of the environment what OTEL_TRACES_EXPORTER
	// says.
	Traces any
	// Unknown receives the keys that are none of the above; New refuses them.
	Unknown map[string]any `mapstructure:",remain"`
}

// Traces tells which calls become spans, and what is in them.
type Traces struct {
	// SampleRatio is the part of the calls without a traceparent that become spans: a number from 0 to 1. A call with one is
	// recorded if its sampled flag is set. Default: 1.
	SampleRatio any
	// CaptureContent puts prompts and answers into the spans. They are personal data. Default: false.
	CaptureContent any
	// ContentMaxBytes is how much of the prompt and how much of the answer a span holds, in bytes. Default: 4096. Refused:
	// less than 1, more than 1048576.
	ContentMaxBytes any
	// Unknown receives the keys that are none of the above; New refuses them.
	Unknown map[string]any `mapstructure:",remain"`
}

// CreateConfig returns the configuration that holds where nothing is configured. Fields of type any stay nil: Traefik
// would decode only values of their type into them.
func CreateConfig() *Config {
	return &Config{
		ModelHeader: defaultModelHeader,
		Mode:        modeEnforce,
	}
}

// Defaults of the configuration.
const (
	defaultModelHeader         = "X-Ai-Model"
	defaultMaxRequestBodyBytes = 10 << 20
)
