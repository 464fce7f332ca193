package main

import "fmt"

// welcome shows what to try, and where to look.
func welcome(base, upstream, log string) string {
	return fmt.Sprintf(`
Chat Completion for Traefik: %[1]s governs %[2]s

Without a model, and with a key of your own that goes no further:
  curl %[1]s/v1/chat/completions -H 'Content-Type: application/json' -H 'Authorization: Bearer my-own-key' \
    -d '{"messages": [{"role": "user", "content": "Hello!"}]}'

With a model that is not allowed:
  curl %[1]s/choice/v1/chat/completions -H 'Content-Type: application/json' \
    -d '{"model": "o4-mini", "messages": [{"role": "user", "content": "Hello!"}]}'

Streaming:
  curl -N %[1]s/v1/chat/completions -H 'Content-Type: application/json' \
    -d '{"stream": true, "messages": [{"role": "user", "content": "Tell me a story about a gateway."}]}'

A broken body:
  curl %[1]s/v1/chat/completions -H 'Content-Type: application/json' -d '{"messages": [}'

What all of these used, as Prometheus would read it:
  curl %[1]s/metrics

Configuration: examples/local/dynamic.yml, watched while Traefik runs
Traefik's log: %[3]s
The demo provider's log: this terminal shows what reaches it; a provider of your own has its own
Ctrl-C ends everything.

`, base, upstream, log)
}
