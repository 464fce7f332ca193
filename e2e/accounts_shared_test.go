package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// accountedCalls is the number of calls, by accountedClients clients at a time, with the same number
// of each kind.
const accountedCalls, accountedClients = 20_000, 64

// turnsOfConsumer is how often a consumer makes one call of each kind before the next consumer does,
// so that many of its calls are in flight.
const turnsOfConsumer = 32

// accountedConsumers make the calls.
var accountedConsumers = []string{"amber", "blue", "coral", "denim", "ebony", "fawn", "green", "hazel"}

// Endings of the responses of accountedProvider, beside those of the counting provider.
const (
	endingNever  = "never"  // there is no response: the provider waits until the client disconnects
	endingSilent = "silent" // the response has no usage
	endingNarrow = "narrow" // the provider counts those in flight
)

// Bounds that the calls of some kinds reach.
const (
	smallLimit    = 5000 // tokens of each consumer
	narrowLimit   = 2    // requests at a time
	mostTokens    = 106 + 31
	callMaxTokens = 40 // of all calls
)

// whatCounts is what of a call counts.
type whatCounts int

const (
	countsUsage    whatCounts = iota // what the provider has reported
	countsEstimate                   // an estimate, since the provider has not
	countsNothing
)

// accountedKind is a kind of call with what counts of it.
type accountedKind struct {
	callKind
	model   string
	counts  whatCounts
	events  int64  // of the stream, if they are what counts
	limited bool   // it has 429 if a quota has nothing left
	key     string // instead of the consumer's
}

var accountedKinds = []accountedKind{
	{callKind: callKind{name: "JSON answer", status: 200}},
	{callKind: callKind{name: "stream", status: 200, stream: true}},
	{callKind: callKind{name: "stream whose usage the client asks for", status: 200, stream: true, asks: true}},
	{callKind: callKind{name: "stream that is cut", ending: endingCut, status: 200, errorType: "cut", stream: true}, counts: countsEstimate, events: contentEvents},
	{callKind: callKind{name: "stream that is cut after its usage", ending: endingCutUsage, status: 200, errorType: "cut", stream: true}},
	{callKind: callKind{name: "client leaves a stream", ending: endingLeave, status: 200, stream: true}, counts: countsEstimate, events: 1},
	{callKind: callKind{name: "client leaves before the response", ending: endingNever}, counts: countsEstimate},
	{callKind: callKind{name: "provider's error", ending: "500", status: 500}, counts: countsNothing},
	{callKind: callKind{name: "fallback", path: "/fallback", status: 200}},
	{callKind: callKind{name: "fallback with a stream", path: "/fallback", status: 200, stream: true}},
	{callKind: callKind{name: "refused model", status: 404}, model: "o9", counts: countsNothing},
	{callKind: callKind{name: "unknown key", status: 401}, counts: countsNothing, key: "sk-consumer-nobody"},
	{callKind: callKind{name: "answer without usage", ending: endingSilent, status: 200}, counts: countsEstimate},
	{callKind: callKind{name: "stream without usage", ending: endingSilent, status: 200, stream: true}, counts: countsEstimate, events: contentEvents + 1},
	{callKind: callKind{name: "beyond a quota of tokens", status: 200}, model: "gpt-4.1", limited: true},
	{callKind: callKind{name: "beyond a quota of concurrent requests", ending: endingNarrow, status: 200}, model: "o4-mini", limited: true},
}

// accountedPrices are the prices by model.
var accountedPrices = map[string]modelPrices{
	"gpt-4o":  {"2.50", "1.25", "10.00", "10.00"},
	"gpt-4.1": {"2", "0.50", "8", "8.125"},
	"o4-mini": {"1.10", "0.275", "4.40", "3.3"},
}

// inFlight counts requests.
type inFlight struct {
	mutex     sync.Mutex
	now, most int
}

func (f *inFlight) add(n int) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.now += n
	f.most = max(f.most, f.now)
}

// accountedProvider is the counting provider with further endings. arrived has a channel for each call
// that gets no response, which is closed when the call arrives.
func accountedProvider(arrived *sync.Map, narrow *inFlight) http.Handler {
	answers := counting(0)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		number, _ := strconv.Atoi(r.Header.Get(numberHeader))
		ending := r.Header.Get(endingHeader)
		if ending == endingNarrow {
			narrow.add(1)
			defer narrow.add(-1)
		}
		if ending != endingNever && ending != endingSilent {
			answers.ServeHTTP(rw, r)
			return
		}
		var request struct {
			Model  string
			Stream bool
		}
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			http.Error(rw, err.Error(), http.StatusTeapot)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		switch {
		case ending == endingNever:
			signal, _ := arrived.Load(number)
			close(signal.(chan struct{}))
			<-r.Context().Done()
		case request.Stream:
			countedResponse{number: number, model: datedModel(request.Model)}.stream(rw, r)
		default:
			rw.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(rw, silentAnswer(number, request.Model))
		}
	})
}

// silentAnswer returns a response without usage: some are shorter than the token limit, others are
// longer.
func silentAnswer(number int, model string) string {
	return fmt.Sprintf(`{"id":"%d","object":"chat.completion","model":%q,"choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}]}`,
		number, datedModel(model), strings.Repeat("y", number%90))
}

// body returns the request of a call. Its length depends on the number. Those that a quota of tokens
// bounds are long enough to reserve all that they use.
func (k accountedKind) body(number int) string {
	body := map[string]any{
		"model": k.modelName(), "stream": k.stream, "max_tokens": callMaxTokens,
		"messages": []any{map[string]string{"role": "user", "content": strings.Repeat("x", 450+number%300)}},
	}
	if k.asks {
		body["stream_options"] = map[string]bool{"include_usage": true}
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func (k accountedKind) modelName() string {
	if k.model != "" {
		return k.model
	}
	return "gpt-4o"
}

// used returns what a call has used by what the reference says.
func (k accountedKind) used(number int) tokenCounts {
	if k.counts == countsUsage {
		used := tokenCounts{int64(inputTokens(number)), int64(cachedTokens(number)), int64(outputTokens(number)), int64(reasoningTokens(number))}
		if k.ending == endingCutUsage {
			used.output = max(used.output, contentEvents+2) // those of the finish reason and of the usage
		}
		return used
	}
	output := k.events
	if k.ending == endingSilent && !k.stream {
		output = min(int64(len(silentAnswer(number, k.modelName()))/4), callMaxTokens)
	}
	return tokenCounts{input: int64(len(k.body(number)) / 4), output: output}
}

// amounts returns what a call counts, for each quota.
func (k accountedKind) amounts(number, consumer int) map[string]int64 {
	if k.counts == countsNothing {
		return nil
	}
	name, used := accountedConsumers[consumer], k.used(number)
	amounts := map[string]int64{
		"everyone/all":               1,
		"tokens/" + name:             used.input + used.output,
		"input/" + groupOf(consumer): used.input,
		"output/all":                 used.output,
		"cost/" + name:               accountedPrices[k.modelName()].cost(used),
	}
	if k.model == "gpt-4.1" {
		amounts["small/"+name] = used.input + used.output
	}
	return amounts
}

// keyHeaders are the headers in which SDKs send their keys, in turns.
func keyHeader(number int, key string) (name, value string) {
	name = []string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key"}[number%4]
	if name == "Authorization" {
		key = "Bearer " + key
	}
	return name, key
}

// call makes a call, and returns the status.
func (k accountedKind) call(ctx context.Context, client *http.Client, base string, number, consumer int, arrived *sync.Map) (int, error) {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	key := k.key
	if key == "" {
		key = consumerKey(accountedConsumers[consumer])
	}
	header := map[string]string{numberHeader: strconv.Itoa(number), endingHeader: k.ending}
	name, value := keyHeader(number, key)
	header[name] = value
	if k.ending == endingNever {
		signal := make(chan struct{})
		arrived.Store(number, signal)
		go func() {
			<-signal
			leave()
		}()
	}
	response, err := do(ctx, client, base+k.path+chatPath, k.body(number), header)
	if k.ending == endingNever && errors.Is(err, context.Canceled) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	refused := k.limited && response.StatusCode == http.StatusTooManyRequests
	switch {
	case response.StatusCode != k.status && !refused:
		text, _ := io.ReadAll(response.Body)
		return response.StatusCode, fmt.Errorf("status %d, want %d: %s", response.StatusCode, k.status, text)
	case refused || !k.stream || k.ending == endingSilent:
		_, err := io.Copy(io.Discard, response.Body)
		return response.StatusCode, err
	case k.ending == endingLeave:
		_, err := readEvent(bufio.NewReader(response.Body))
		return response.StatusCode, err
	}
	return response.StatusCode, k.readStream(bufio.NewReader(response.Body), number)
}

// accountedRoutes returns a configuration with quotas of every unit in Redis.
func accountedRoutes(t *testing.T, redis *backends.Redis, provider, failing string) gateway.Dynamic {
	t.Helper()
	prices := map[string]any{}
	for model, price := range accountedPrices {
		prices[model+"*"] = price.configuration()
	}
	quotas := []any{
		map[string]any{"name": "everyone", "unit": "requests", "per": "all", "limit": 1_000_000},
		map[string]any{"name": "tokens", "unit": "tokens", "per": "$(consumer.name)", "limit": 1_000_000_000, "reserve": "full"},
		map[string]any{"name": "input", "unit": "inputTokens", "per": "$(consumer.group)", "limit": 1_000_000_000},
		map[string]any{"name": "output", "unit": "outputTokens", "per": "all", "limit": 1_000_000_000, "reserve": "none", "mode": "report"},
		map[string]any{"name": "cost", "unit": "cost", "per": "$(consumer.name)", "limit": "10000.00"},
		map[string]any{"name": "small", "unit": "tokens", "per": "$(consumer.name)", "limit": smallLimit, "reserve": "full", "models": []string{"gpt-4.1"}},
		map[string]any{"name": "narrow", "unit": "concurrent", "per": "all", "limit": narrowLimit, "models": []string{"o4-mini"}},
	}
	for _, q := range quotas {
		keys := q.(map[string]any)
		keys["shared"] = true
		if keys["unit"] != "concurrent" {
			keys["window"] = accountWindow
		}
	}
	keys := map[string]any{
		"token": "sk-provider", "model": "gpt-4o", "allowModelOverride": true, "allowedModels": []string{"gpt-4o", "gpt-4.1", "o4-mini"},
		"consumers": consumersOf(accountedConsumers...),
		"quotas":    quotas,
		"prices":    map[string]any{"models": prices},
		"redis":     map[string]any{"endpoints": []string{redis.Address}},
	}
	dynamic := metered(keys, provider)
	fallback := at(t, failing, maps.Clone(keys))
	fallback["path"] = chatPath
	fallback["fallbacks"] = []any{at(t, provider, map[string]any{"token": "sk-other", "provider": "openai-compatible", "path": chatPath})}
	dynamic.Middlewares["falling-back"] = gateway.Plugin(fallback)
	dynamic.Routers["fallback"] = gateway.Router{Rule: "PathPrefix(`/fallback/`)", Middlewares: []string{"falling-back"}, Service: "noop@internal"}
	return dynamic
}

// TestSharedCountersEqualTheBookkeepingOfTheClients has three Traefiks, two that interpret the plugin
// and one that has it compiled in, share the counters in one Redis. It compares them with what the
// provider has reported, or what the reference says that is estimated.
func TestSharedCountersEqualTheBookkeepingOfTheClients(t *testing.T) {
	redis := startRedis(t)
	var arrived sync.Map
	var narrow inFlight
	provider := upstream(t, accountedProvider(&arrived, &narrow))
	failing := upstream(t, responding(http.StatusServiceUnavailable, "{}"))
	var bases []string
	var gateways []*gateway.Gateway
	for _, find := range []backends.Binary{gateway.Interpreted, gateway.Interpreted, gateway.Compiled} {
		g := start(t, gateway.Options{Binary: found(t, find)})
		configure(t, g, accountedRoutes(t, redis, provider.URL, failing.URL))
		bases = append(bases, g.URL)
		gateways = append(gateways, g)
	}

	known, refused := newBookkeeping(), newBookkeeping()
	watched, stop := context.WithCancel(t.Context())
	most := make(chan accounts)
	go func() { most <- highest(watched, t, redis) }()
	began := time.Now()
	inParallel(t, accountedCalls, accountedClients, func(client *http.Client, number int) error {
		k, turn := accountedKinds[number%len(accountedKinds)], number/len(accountedKinds)
		consumer, base := turn/turnsOfConsumer%len(accountedConsumers), bases[turn%len(bases)]
		status, err := k.call(t.Context(), client, base, number, consumer, &arrived)
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		if status == http.StatusTooManyRequests {
			refused.enter(map[string]int64{k.name: 1})
			return nil
		}
		known.enter(k.amounts(number, consumer))
		return nil
	})
	took := time.Since(began)
	checkAccounts(t, redis, known.read())
	stop()
	t.Logf("%d calls in %v, refused %v", accountedCalls, took, refused.read())

	for name, a := range receive(t, "the highest counters", most) {
		quota, _, _ := strings.Cut(name, "/")
		switch bound := int64(smallLimit + accountedClients*mostTokens); {
		case quota == "small" && a.used > bound:
			t.Errorf("%s: %d used, want at most %d", name, a.used, bound)
		case quota == "narrow" && a.used+a.reserved > narrowLimit:
			t.Errorf("%s: %d requests at a time, want at most %d", name, a.used+a.reserved, narrowLimit)
		case quota == "small":
			t.Logf("%s: %d tokens of %d", name, a.used, smallLimit)
		}
	}
	if narrow.most < 1 || narrow.most > narrowLimit {
		t.Errorf("the provider had up to %d requests at a time, want 1 to %d", narrow.most, narrowLimit)
	}
	for _, k := range accountedKinds {
		if k.limited && refused.read()[k.name].used == 0 {
			t.Errorf("no call was refused: %s", k.name)
		}
	}
	for _, g := range gateways {
		checkNoErrors(t, g)
	}
}

// highest returns the highest values of the counters until ctx is done.
func highest(ctx context.Context, t *testing.T, redis *backends.Redis) accounts {
	most := accounts{}
	ticks := time.NewTicker(50 * time.Millisecond)
	defer ticks.Stop()
	for ctx.Err() == nil {
		for name, a := range accountsIn(t, redis) {
			most[name] = account{max(most[name].used, a.used), max(most[name].reserved, a.reserved)}
		}
		<-ticks.C
	}
	return most
}

// eventually reports whether the condition holds within conditionTimeout.
func eventually(holds func() bool) bool {
	for deadline := time.Now().Add(conditionTimeout); ; time.Sleep(20 * time.Millisecond) {
		if holds() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

// sortedUnion returns the names in any of the accounts, in order.
func sortedUnion(all ...accounts) []string {
	names := map[string]bool{}
	for _, some := range all {
		for name := range some {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
