# Doorbuster. Every target says what it does after "##"; "make" alone lists them.

.DEFAULT_GOAL := help
servers := go run ./app/dbtest/testservers --
PACKAGES ?= ./...

# The race detector takes a C compiler with its C library. Where there is none, make test says so and goes on without it;
# "make test RACE=-race" insists.
RACE ?= $(or $(shell go build -race runtime/cgo 2>/dev/null && echo -race),$(info \
    No C compiler works here (apt-get install gcc libc6-dev), so the tests run without the race detector.))

.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: build ## Open a shop: PostgreSQL, Redis, a catalogue and a sale; ARGS="--data DIR" and other flags
	@exec bin/doorbuster dev $(ARGS)

.PHONY: build
build: ## Build bin/doorbuster
	@go build -o bin/doorbuster ./cmd/doorbuster

.PHONY: test
test: ## Run all tests on a real PostgreSQL and Redis: the ones that are named, containers, or private ones
	$(servers) go test $(RACE) -shuffle=on $(PACKAGES)

.PHONY: test-containers
test-containers: bin/k6 ## Run all tests on PostgreSQL and Redis in containers, and the compose demo, and insist on them
	TEST_SERVERS=containers $(servers) go test $(RACE) -shuffle=on ./...
	docker compose build
	K6='$(CURDIR)/bin/k6' TEST_COMPOSE=true go test -count=1 -v -timeout 15m ./deploy

.PHONY: sale
sale: build bin/k6 ## Send a crowd at midnight to the shop of "make run" or of compose, and audit its books; BUYERS=3000 and others
	@go run ./loadtest/sale

bin/k6: .ci/k6.mod .ci/k6.sum
	go build -modfile=.ci/k6.mod -o $@ go.k6.io/k6

.PHONY: bench
bench: ## Run the benchmarks: allocations and time per operation
	$(servers) go test -run '^$$' -bench . -benchmem ./...

.PHONY: bench-reads
bench-reads: build ## Compare a product read with nginx and a bare net/http handler (takes wrk and nginx)
	.ci/bench-reads $(ARGS)

.PHONY: bench-cluster
bench-cluster: ## Compare one process with a cluster: throughput, memory, reloads, evenness (takes wrk and ten minutes)
	.ci/bench-cluster $(ARGS)

.PHONY: bench-checkout
bench-checkout: ## Measure orders per second, and thirty thousand buyers at midnight, with an audit (takes eight minutes)
	.ci/bench-checkout $(ARGS)

.PHONY: bench-hostile
bench-hostile: ## Attack the shop in eleven ways, alone and two at a time, and see what customers keep (takes half an hour; BEFORE=COMMIT compares)
	BEFORE='$(BEFORE)' .ci/bench-hostile $(ARGS)

.PHONY: soak-faults
soak-faults: ## Kill, stop, starve, scale and reload the shop at random, under strict clients; the bounds must hold (ten minutes)
	.ci/soak-faults $(ARGS)

.PHONY: openapi
openapi: ## Write app/openapi.json anew, after a change of the API
	$(servers) go test ./app -count=1 -run '^TestOpenAPIFile$$' -update

.PHONY: release-openapi
release-openapi: ## Make app/openapi.json that of the last release, which the next one may not break
	cp app/openapi.json .ci/contract/released.json

.PHONY: contract
contract: ## Put the OpenAPI document to other people's tools: linters, what breaks clients, a generated client that buys (takes node)
	.ci/contract/check

.PHONY: lint
lint: ## Run the linters, in the versions of .ci/tools.mod
	go tool -modfile=.ci/tools.mod golangci-lint run -c .ci/golangci.yml

.PHONY: fmt
fmt: ## Format the code
	go tool -modfile=.ci/tools.mod golangci-lint fmt -c .ci/golangci.yml
