package main

import (
	"fmt"

	"github.com/modelroute/chatcompletion/e2e/local"
	"github.com/modelroute/chatcompletion/e2e/traffic"
)

// Keys of the two consumers in examples/local, which has their SHA-256.
const (
	blueKey = "sk-demo-blue-0f5a7c1e9b3d"
	redKey  = "sk-demo-red-4c8e2a6d1b7f"
)

// Where the log of the demo provider is.
const (
	providerLog   = "in this terminal, one block per request (your own provider keeps its own log)"
	noProviderLog = "none, because of DEMO=1"
)

// welcome returns the instructions: requests to try, and where to look.
func welcome(example *local.Example, withTraffic bool) string {
	teams, log := "DEMO=1 make run makes the traffic of three teams, for the dashboard to show.", providerLog
	if withTraffic {
		teams, log = fmt.Sprintf("Three teams make about %d calls per second: shop, support and research.", trafficRate), noProviderLog
	}
	return fmt.Sprintf(`
Chat Completion for Traefik: %[1]s forwards to %[2]s

Dashboard: %[1]s%[10]s
%[6]s

No model, and a client key that never reaches the provider:
  curl %[1]s/v1/chat/completions -H 'Content-Type: application/json' -H 'Authorization: Bearer my-own-key' \
    -d '{"messages": [{"role": "user", "content": "Hello!"}]}'

A model that is not allowed:
  curl %[1]s/choice/v1/chat/completions -H 'Content-Type: application/json' \
    -d '{"model": "o4-mini", "messages": [{"role": "user", "content": "Hello!"}]}'

Streaming:
  curl -N %[1]s/v1/chat/completions -H 'Content-Type: application/json' \
    -d '{"stream": true, "messages": [{"role": "user", "content": "Tell me a story about a gateway."}]}'

Two teams with a key each, and three requests per minute for each of them. The fourth one gets status 429; the other
team's key, %[4]s, goes on:
  for i in 1 2 3 4; do curl -i %[1]s/teams/v1/chat/completions -H 'Content-Type: application/json' \
    -H 'Authorization: Bearer %[5]s' -d '{"messages": [{"role": "user", "content": "Hello!"}]}'; done

The team research, one of three with keys, prices, quotas and budgets:
  curl %[1]s%[7]s/v1/chat/completions -H 'Content-Type: application/json' -H 'Authorization: Bearer %[8]s' \
    -d '{"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello!"}]}'

The team support, whose card numbers are masked. The cache responds to the second request, which has X-Ai-Cache: hit:
  for i in 1 2; do curl -i %[1]s%[7]s/v1/messages -H 'Content-Type: application/json' -H 'X-Api-Key: %[11]s' \
    -H 'Anthropic-Version: 2023-06-01' -d '{"model": "claude-haiku-5-5", "max_tokens": 100,
    "messages": [{"role": "user", "content": "Is 4111 1111 1111 1111 my card?"}]}'; done

OpenAI's other endpoints, and the protocols of Anthropic and Gemini. The key is in the header of the protocol, and is
replaced there:
  curl %[1]s/v1/responses -H 'Content-Type: application/json' -H 'Authorization: Bearer my-own-key' \
    -d '{"model": "gpt-4o-mini", "input": "Hello!"}'
  curl %[1]s/v1/embeddings -H 'Content-Type: application/json' -H 'Authorization: Bearer my-own-key' \
    -d '{"model": "text-embedding-3-small", "input": "Hello!"}'
  curl %[1]s/v1/messages -H 'Content-Type: application/json' -H 'X-Api-Key: my-own-key' -H 'Anthropic-Version: 2023-06-01' \
    -d '{"model": "claude-sonnet-5-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello!"}]}'
  curl %[1]s/v1beta/models/gemini-2.5-flash:generateContent -H 'Content-Type: application/json' -H 'X-Goog-Api-Key: my-own-key' \
    -d '{"contents": [{"parts": [{"text": "Hello!"}]}]}'
  head -c 32000 /dev/zero | curl %[1]s/v1/audio/transcriptions -H 'Authorization: Bearer my-own-key' \
    -F model=whisper-1 -F 'file=@-;filename=silence.wav'

Coding agents, for which the demo provider only repeats the prompt; docs/recipes.md shows Codex and the Gemini CLI, too:
  ANTHROPIC_BASE_URL=%[1]s ANTHROPIC_AUTH_TOKEN=my-own-key ANTHROPIC_MODEL=claude-sonnet-5-5 claude -p 'Hello!'

An invalid body:
  curl %[1]s/v1/chat/completions -H 'Content-Type: application/json' -d '{"messages": [}'

The metrics of these requests, in Prometheus format:
  curl %[1]s/metrics

Configuration: examples/local/dynamic.yml (Traefik reloads it when it changes)
Log of Traefik: %[3]s
Log of the demo provider: %[9]s
Ctrl-C stops everything.

`, example.URL, example.Upstream, example.LogPath, redKey, blueKey, teams, local.CompanyPath, traffic.Research.Key, log, local.DashboardPath,
		traffic.Support.Key)
}
