// Package chatcompletion is a Traefik middleware that turns a route into a governed AI endpoint.
//
// It validates requests of OpenAI's API, enforces or defaults the model and the parameters by rewriting the body, replaces
// the client's credentials by the provider's key, and hands the answer on as it comes, streams included.
//
// Traefik interprets the package with Yaegi. Compiled code of the standard library touches the bytes, interpreted code
// makes the decisions; some lines look odd for Yaegi's sake and say so.
package chatcompletion

import (
	"context"
	"net/http"
	"time"
)

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

// CreateConfig returns the configuration that holds where nothing is configured. Fields of type any stay nil: Traefik
// would decode only values of their type into them.
func CreateConfig() *Config {
	return &Config{
		ModelHeader: defaultModelHeader,
		Mode:        modeEnforce,
	}
}

// New returns the middleware in front of next. An error names every problem of the configuration with its key.
func New(ctx context.Context, next http.Handler, config *Config, name string) (http.Handler, error) {
	p, err := newPolicy(config, name)
	if err != nil {
		return nil, err
	}
	startTelemetry(ctx, p.telemetry)
	if p.exposes {
		return &exposition{registry: p.telemetry.registry, name: name}, nil
	}
	m := newMiddleware(ctx, next, p)
	if p.upstream != nil {
		m.providers = []*middleware{m}
		for _, fallback := range p.fallbacks {
			m.providers = append(m.providers, newMiddleware(ctx, next, fallback))
		}
	}
	return m, nil
}

type middleware struct {
	next      http.Handler // which reaches the provider
	policy    *policy
	providers []*middleware // that are forwarded to, tried in their order, the first one being this; nil: next is the service's
}

func newMiddleware(ctx context.Context, next http.Handler, p *policy) *middleware {
	startCredential(ctx, p.credential)
	if p.upstream != nil {
		next = newProxy(p.upstream)
	}
	if p.maxResponseBytes > 0 || p.maxStreamDuration > 0 {
		next = limitResponses(p, next)
	}
	return &middleware{next: next, policy: p}
}

// ServeHTTP governs one request, hands on its answer, and records the call.
func (m *middleware) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	p := m.policy
	if x, handed := req.Context().Value(exchangeKey).(*exchange); handed { // as exchangeOf, whose call would cost every request
		serveChained(m, x, rw, req)
		return
	}
	start := time.Now()
	delete(req.Header, p.modelHeader)
	k := completions
	if p.routes != nil {
		k = kindOf(p.routes, req.URL.Path)
	}
	ep := p.endpoints[k]
	if !ep.postOnly || req.Method != http.MethodPost {
		if serveUngoverned(m, k, start, rw, req) {
			return
		}
	}
	t := p.telemetry
	call := &Call{Start: start, Target: ep.target, Response: Response{kind: k, wantsDetails: t.wantsDetails}}
	w := &responseWriter{ResponseWriter: rw, client: rw, policy: p, credential: p.credential, call: call, start: start}
	defer recoverExchange(w, req)
	if t.labels != nil {
		call.Labels = labelsOf(t.labels, req)
	}
	pl, apiErr := planRequest(p, ep, req)
	if p.reportOnly {
		pl = reportOnly(p, pl, apiErr)
		apiErr = nil // not in one assignment with j: Yaegi drops a nil there
	}
	if apiErr == nil && m.providers == nil {
		apiErr = addressProvider(p, ep, pl, req)
	}
	if t.spans {
		startSpan(t, req.Header, pl, call)
	}
	if apiErr != nil {
		rejectExchange(w, apiErr)
		return
	}
	serveExchange(m, w, req, pl)
}
