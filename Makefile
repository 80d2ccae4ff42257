# Everything that a person or a machine does with this repository. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash -euo pipefail
.DELETE_ON_ERROR:

# What may be given on the command line.
ARGS     ?=
PKG      ?= ./...
RUN      ?= .
FUZZTIME ?= 10s
BENCH    ?= .
SECONDS  ?= 60
SEED     ?= 0

BIN := $(CURDIR)/.bin
# The race detector needs a C compiler; without one the tests run without it, and say so.
RACE := $(shell command -v $${CC:-cc} >/dev/null 2>&1 && echo -race)
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BUILD := CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

# How PostgreSQL, which some tests start for themselves, is installed where it is not there.
POSTGRES := { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y --no-install-recommends postgresql; } >/dev/null 2>&1

.PHONY: help
help: ## list what can be made
	@echo 'make TARGET'
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build ./switchyard, static and stripped
	$(BUILD) -o switchyard ./cmd/app

# One package at a time: some bring the whole machine to its limits, and beside them others would wait in vain.
.PHONY: test
test: ## run all tests with the race detector (PKG=./git/... RUN=TestMerge narrow it)
	@[ -n '$(RACE)' ] || echo 'make test: no C compiler found, so the race detector is off' >&2
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1 || $(POSTGRES) || \
		echo 'make test: no PostgreSQL 15 was found or could be installed, so its tests are skipped' >&2
	PATH="$$(go run ./terraform/terraformtest/fetch $(BIN)):$$PATH" go test $(RACE) -p 1 -timeout 40m -run '$(RUN)' $(PKG)

.PHONY: torture
torture: ## kill real servers while everything fails, on SQLite and on PostgreSQL (SECONDS=60 each, SEED=7 repeats the choices)
	PATH="$$(go run ./terraform/terraformtest/fetch $(BIN)):$$PATH" go test -count=1 -v -timeout $$(( 2 * $(SECONDS) + 2400 ))s \
		-run TestNothingIsLost ./server/torture -args -seconds $(SECONDS) -seed $(SEED)

.PHONY: lint
lint: $(BIN)/golangci-lint $(BIN)/actionlint ## hold the code to .golangci.yml, and workflows to actionlint
	$(BIN)/golangci-lint config verify
	$(BIN)/golangci-lint run
	$(BIN)/actionlint -version >/dev/null
	files=$$(find .github/workflows workflows-templates -name '*.yml' 2>/dev/null || true); [ -z "$$files" ] || $(BIN)/actionlint $$files

.PHONY: format
format: $(BIN)/golangci-lint ## format the code
	$(BIN)/golangci-lint fmt

.PHONY: demo
demo: ## play the main job on this machine, in half a minute (ARGS=--keep leaves it running, with its page)
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; go build -o "$$dir/switchyard" ./cmd/app; "$$dir/switchyard" sandbox $(ARGS)

.PHONY: bench
bench: ## print the numbers: calls, processes, times, load, memory and size (BENCH=Plan narrows it)
	SWITCHYARD_TEST_PROVIDERS="$$(runner/testdata/providers.sh $(BIN)/providers)" \
		go test -run '^$$' -bench '$(BENCH)' -benchtime 3x -timeout 60m $(PKG) | grep -v -e '^ok .*no test' -e 'no test files'
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; $(BUILD) -o "$$dir/switchyard" ./cmd/app; \
		printf 'binary, stripped: %d bytes\n' "$$(wc -c < "$$dir/switchyard")"

.PHONY: fuzz
fuzz: ## fuzz each edge that strangers reach, one after another (FUZZTIME=1m each)
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sort | while IFS=: read -r file func; do \
		echo "$$(dirname "$$file") $${func#func }"; \
		go test -run '^$$' -fuzz "^$${func#func }\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" || exit 1; \
	done

.PHONY: generate
generate: ## write anew what is made from the code: references, schema, examples in the documentation
	go generate ./...
	go test ./settings -run TestReference -update
	go test ./cmd/app -update

.PHONY: clean
clean: ## remove what make made
	rm -rf $(BIN) switchyard

# The tools are pinned by modules of their own, so that they do not choose our libraries' versions.
$(BIN)/golangci-lint: tools/golangci-lint/go.mod
	cd tools/golangci-lint && GOBIN=$(BIN) go install tool
	@touch $@

$(BIN)/actionlint: tools/actionlint/go.mod
	cd tools/actionlint && GOBIN=$(BIN) go install tool
	@touch $@
