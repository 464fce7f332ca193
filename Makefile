# What a developer does here. Everything builds what it needs; README says what a machine must have.

GO ?= go
GOLANGCI_LINT ?= $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK ?= $(GO) run golang.org/x/vuln/cmd/govulncheck@v1.7.0

.PHONY: help run test lint vendored vulnerabilities e2e e2e-kubernetes bench soak fuzz

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

# Not "go run", which neither hands signals on nor waits.
run: ## Traefik, a demo provider and the plugin; UPSTREAM=http://localhost:11434 for another provider
	@cd e2e && $(GO) build -o ../.bin/run ./cmd/run && exec ../.bin/run

# The race detector needs a C compiler.
RACE := $(shell command -v "$$($(GO) env CC)" >/dev/null && echo -race)

test: ## all tests that need no Traefik, offline
	$(GO) vet ./...
	@test -n "$(RACE)" || echo "No C compiler: the tests run without the race detector."
	$(GO) test $(RACE) ./...

lint: ## gofmt and golangci-lint in every module
	@test -z "$$(gofmt -l $$(git ls-files '*.go' ':!vendor'))" || { gofmt -l $$(git ls-files '*.go' ':!vendor'); exit 1; }
	$(GOLANGCI_LINT) run ./...
	cd e2e && $(GO) vet -tags kubernetes ./... && $(GOLANGCI_LINT) run --build-tags kubernetes ./...
	cd e2e/openai && $(GO) vet ./... && $(GOLANGCI_LINT) run ./...
	cd e2e/collector && $(GO) vet ./... && $(GOLANGCI_LINT) run ./...

# go.sum has the hashes of what is downloaded, and the checksum database vouches for them.
vendored: ## vendor/ is byte for byte what go.mod and go.sum name, and they name no more than is needed
	$(GO) mod tidy -diff
	$(GO) mod verify
	@fresh=$$(mktemp -d) && trap 'rm -r "$$fresh"' EXIT && $(GO) mod vendor -o "$$fresh/vendor" && diff -r "$$fresh/vendor" vendor

# The nested modules are tests and tools: what is found in Traefik there is in the Traefik that serves, or is not.
vulnerabilities: ## govulncheck of the plugin and its tests; where its database cannot be read, it says so and goes on
	@report=$$($(GOVULNCHECK) -test ./... 2>&1); status=$$?; echo "$$report"; case "$$report" in \
	*'govulncheck: fetching vulnerabilities'*) echo 'NOT CHECKED for vulnerabilities: the database cannot be read from here.' ;; \
	*) exit $$status ;; esac

# -count=1: the cache of results does not see the plugin, which lies in another module.
e2e: ## the same cases, real clients and real backends against a real Traefik
	cd e2e && $(GO) test -p 1 -count=1 ./...

e2e-kubernetes: ## the Kubernetes example and Secrets with a real API server; its first run builds one, which takes long
	cd e2e && $(GO) test -tags kubernetes -count=1 -v -run '^TestKubernetes' .

bench: ## cost of a request beside the same route without the plugin; BENCH='-write -peers' for the documentation
	@cd e2e && $(GO) build -o ../.bin/bench ./cmd/bench && exec ../.bin/bench $(BENCH)

soak: ## ten minutes of traffic and reloads: nothing leaks, every call is counted; SOAK=-write for the documentation
	@cd e2e && $(GO) build -o ../.bin/soak ./cmd/soak && exec ../.bin/soak $(SOAK)

FUZZTIME ?= 30s

fuzz: ## every fuzz test for FUZZTIME
	@for test in $$($(GO) test -list '^Fuzz' . | grep ^Fuzz); do $(GO) test -run '^$$' -fuzz "^$$test\$$" -fuzztime $(FUZZTIME) . || exit 1; done
