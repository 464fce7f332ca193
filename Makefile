# Development tasks. Each target builds what it needs; CONTRIBUTING.md lists the requirements.

GO ?= go
GOLANGCI_LINT ?= $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK ?= $(GO) run golang.org/x/vuln/cmd/govulncheck@v1.7.0

.PHONY: help run screenshots traefik schema page test lint vendored vulnerabilities e2e e2e-kubernetes e2e-traefik37 bench soak fuzz

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

# Builds e2e/cmd/NAME as .bin/NAME. Not "go run", which neither forwards signals nor waits for the program.
command = test -x .bin/$(1) || echo "building e2e/cmd/$(1); half a minute with an empty build cache"; cd e2e && $(GO) build -o ../.bin/$(1) ./cmd/$(1)

run: ## run Traefik with the plugin and a demo provider; DEMO=1 makes traffic of three teams; UPSTREAM=http://localhost:11434 selects another provider
	@$(call command,run) && exec ../.bin/run

screenshots: ## make the pictures of the dashboard in docs, from Traefik with a quarter of an hour of traffic, in Chromium
	@$(call command,screenshots) && exec ../.bin/screenshots

# The version of Traefik is that of e2e/go.mod. TRAEFIK_VERSION=3.7.12 selects another one, for every target that runs Traefik.
traefik: ## build Traefik with the plugin compiled in, as .bin/traefik
	@$(call command,build) && exec ../.bin/build traefik

schema: ## write the JSON Schema of the configuration, docs/chat-completion.schema.json
	@$(call command,schema) && exec ../.bin/schema

page: ## write the page of the dashboard, sink_dashboard_page.go, from the folder dashboard
	@$(call command,page) && exec ../.bin/page

# The race detector needs a C compiler.
RACE := $(shell command -v "$$($(GO) env CC)" >/dev/null && echo -race)

test: ## run all tests that need neither Traefik nor a network
	$(GO) vet ./...
	@test -n "$(RACE)" || echo "No C compiler: running the tests without the race detector."
	$(GO) test $(RACE) -timeout 20m ./...

lint: ## run gofmt, go vet and golangci-lint in every module
	@test -z "$$(gofmt -l $$(git ls-files '*.go' ':!vendor'))" || { gofmt -l $$(git ls-files '*.go' ':!vendor'); exit 1; }
	$(GO) vet -tags redis ./... && $(GOLANGCI_LINT) run --build-tags redis ./...
	cd e2e && $(GO) vet -tags kubernetes,traefik37 ./... && $(GOLANGCI_LINT) run --build-tags kubernetes,traefik37 ./...
	cd e2e/openai && $(GO) vet ./... && $(GOLANGCI_LINT) run ./...
	cd e2e/clients && $(GO) vet ./... && $(GOLANGCI_LINT) run ./...
	cd e2e/collector && $(GO) vet ./... && $(GOLANGCI_LINT) run ./...

# go.sum holds the hashes of downloaded modules, and the checksum database verifies them.
vendored: ## check that vendor/ matches go.mod and go.sum byte for byte, and that they require nothing superfluous
	$(GO) mod tidy -diff
	$(GO) mod verify
	@fresh=$$(mktemp -d) && trap 'rm -r "$$fresh"' EXIT && $(GO) mod vendor -o "$$fresh/vendor" && diff -r "$$fresh/vendor" vendor

# Not in the nested modules, which are tests and tools: their findings in Traefik say nothing about the Traefik in production.
vulnerabilities: ## run govulncheck on the plugin and its tests; an unreachable database is reported, not an error
	@report=$$($(GOVULNCHECK) -test ./... 2>&1); status=$$?; echo "$$report"; case "$$report" in \
	*'govulncheck: fetching vulnerabilities'*) echo 'NOT CHECKED for vulnerabilities: cannot read the database.' ;; \
	*) exit $$status ;; esac

# -count=1: the test cache does not track the plugin, which is in another module.
e2e: ## run the same cases, real clients and real backends against a real Traefik; GATEWAY=compiled runs one with the plugin compiled in
	@$(call command,build) && ../.bin/build e2e
	@$(call command,test) && ../.bin/test -p 1 -count=1 -timeout 30m ./...

e2e-kubernetes: ## test the Kubernetes example and Secrets with a real API server; the first run builds one, which takes long
	@$(call command,build) && ../.bin/build kubernetes
	cd e2e && $(GO) test -tags kubernetes -count=1 -v -run '^TestKubernetes' .

e2e-traefik37: export TRAEFIK_VERSION ?= 3.7.12
e2e-traefik37: ## replay the cases and try the recipes in Traefik 3.7, with the plugin interpreted and compiled in
	@$(call command,build) && ../.bin/build e2e
	cd e2e && $(GO) test -tags traefik37 -count=1 -v -run '^(TestCasesWithTraefik|TestCasesWithCompiledTraefik|TestRecipe)' .
	cd e2e && GATEWAY=compiled $(GO) test -tags traefik37 -count=1 -v -run '^TestRecipe' .

bench: ## measure the cost of a request against the same route without the plugin; BENCH='-write -peers' updates the documentation
	@$(call command,bench) && exec ../.bin/bench $(BENCH)

soak: ## check ten minutes of traffic and reloads, and conversations without reloads, for leaks and miscounted calls; SOAK=-write updates the documentation
	@$(call command,soak) && exec ../.bin/soak $(SOAK)

FUZZTIME ?= 30s

fuzz: ## run every fuzz test for FUZZTIME
	@tests=$$($(GO) test -list '^Fuzz' . | grep ^Fuzz) && all=$$(echo "$$tests" | wc -l) && number=0 && for test in $$tests; do \
	number=$$((number+1)) && echo "$$test: fuzz test $$number of $$all, about $$((all-number+1)) times $(FUZZTIME) left" && \
	$(GO) test -run '^$$' -fuzz "^$$test\$$" -fuzztime $(FUZZTIME) . || exit 1; done
