# What a developer does here. Everything builds what it needs; README says what a machine must have.

GO ?= go
GOLANGCI_LINT ?= $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: help run test lint e2e bench fuzz

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

run: ## Traefik, a demo provider and the plugin; UPSTREAM=http://localhost:11434 for another provider
	@cd e2e && exec $(GO) run ./cmd/run

test: ## all tests that need no Traefik, offline
	$(GO) vet ./...
	$(GO) test -race ./...

lint: ## gofmt and golangci-lint in every module
	@test -z "$$(gofmt -l $$(git ls-files '*.go' ':!vendor'))" || { gofmt -l $$(git ls-files '*.go' ':!vendor'); exit 1; }
	$(GOLANGCI_LINT) run ./...
	cd e2e && $(GO) vet ./... && $(GOLANGCI_LINT) run ./...

e2e: ## the same cases and real clients against a real Traefik
	cd e2e && $(GO) test ./...

bench: ## cost of a request beside the same route without the plugin
	@cd e2e && exec $(GO) run ./cmd/bench

FUZZTIME ?= 30s

fuzz: ## every fuzz test for FUZZTIME
	@for test in $$($(GO) test -list '^Fuzz' . | grep ^Fuzz); do $(GO) test -run '^$$' -fuzz "^$$test\$$" -fuzztime $(FUZZTIME) . || exit 1; done
