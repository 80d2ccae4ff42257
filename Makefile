# Everything that a person or a machine does with this repository. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash -euo pipefail
.DELETE_ON_ERROR:

# What may be given on the command line.
ARGS     ?=
PKG      ?= ./...
RUN      ?= .
IMAGE    ?=
FUZZTIME ?= 10s
BENCH    ?= .
EXECUTOR ?= local
SECONDS  ?= 60
SEED     ?= 0

BIN := $(CURDIR)/.bin
# The race detector needs a C compiler; without one the tests run without it, and say so.
RACE := $(shell command -v $${CC:-cc} >/dev/null 2>&1 && echo -race)
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BUILD := CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

# How PostgreSQL, which some tests start for themselves, is installed where it is not there.
POSTGRES := { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y --no-install-recommends postgresql; } >/dev/null 2>&1

# Where `make image` may install what it needs.
IMAGE_TOOLS := { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y --no-install-recommends buildah busybox-static tini; } >/dev/null 2>&1

.PHONY: help
help: ## list what can be made
	@echo 'make TARGET'
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build ./switchyard, static and stripped
	$(BUILD) -o switchyard ./cmd/app

# One package at a time: some bring the whole machine to its limits, and beside them others would wait in vain.
# Where `tofu` is on PATH, what matters is tested with OpenTofu too. SWITCHYARD_TEST_PROVIDER_MIRROR, a directory that
# `terraform providers mirror` made, adds what is tested with azurerm (PKG=./runner RUN=Azure).
.PHONY: test
test: $(BIN)/act azurite ## run all tests with the race detector (PKG=./git/... RUN=TestMerge narrow it)
	@[ -n '$(RACE)' ] || echo 'make test: no C compiler found, so the race detector is off' >&2
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1 || $(POSTGRES) || \
		echo 'make test: no PostgreSQL 15 was found or could be installed, so its tests are skipped' >&2
	PATH="$$(go run ./terraform/terraformtest/fetch $(BIN)):$$PATH" go test $(RACE) -p 1 -timeout 40m -run '$(RUN)' $(PKG)

.PHONY: torture
torture: ## kill real servers while everything fails, on SQLite and on PostgreSQL (SECONDS=60 each, SEED=7 repeats the choices)
	PATH="$$(go run ./terraform/terraformtest/fetch $(BIN)):$$PATH" go test -count=1 -v -timeout $$(( 2 * $(SECONDS) + 2400 ))s \
		-run TestNothingIsLost ./server/torture -args -seconds $(SECONDS) -seed $(SEED)

# actionlint 1.7.12 does not know `concurrency.queue` yet: https://docs.github.com/en/actions/how-tos/write-workflows/choose-when-workflows-run/control-workflow-concurrency
NEWER_THAN_ACTIONLINT := unexpected key "queue" for "concurrency" section
SHELLCHECK := { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y --no-install-recommends shellcheck; } >/dev/null 2>&1

.PHONY: lint
lint: $(BIN)/golangci-lint lint-actions ## hold the code to .golangci.yml, workflows to actionlint, scripts to shellcheck, actions to their schema
	$(BIN)/golangci-lint config verify
	$(BIN)/golangci-lint run

.PHONY: lint-actions
lint-actions: $(BIN)/actionlint ## the part of lint that is about workflows, actions and their scripts
	@command -v shellcheck >/dev/null || $(SHELLCHECK) || echo 'make lint: no shellcheck was found or could be installed, so scripts are not checked' >&2
	$(BIN)/actionlint -ignore '$(NEWER_THAN_ACTIONLINT)' .github/workflows/*.yml workflows-templates/*.yml
	! command -v shellcheck >/dev/null || shellcheck container/*.sh container/terraform container/packages .ci/run
	@if command -v npm >/dev/null; then \
		$(MAKE) --no-print-directory $(BIN)/action-validator/done; \
		for file in action.yml container/action.yml; do node $(BIN)/action-validator/node_modules/.bin/action-validator $$file || exit 1; done; \
	elif [ -n "$${CI:-}" ]; then echo 'make lint: node is needed to check the action files' >&2; exit 1; \
	else echo 'make lint: no node was found, so the action files are not checked' >&2; fi

.PHONY: tools
tools: $(BIN)/golangci-lint $(BIN)/actionlint $(BIN)/act ## build the tools that linting and testing need, into .bin

.PHONY: format
format: $(BIN)/golangci-lint ## format the code
	$(BIN)/golangci-lint fmt

.PHONY: demo
demo: $(if $(filter actions,$(EXECUTOR)),$(BIN)/act) ## play the main job on this machine, in less than a minute (EXECUTOR=actions: in workflows; ARGS=--keep leaves it running, with its page)
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; go build -o "$$dir/switchyard" ./cmd/app; TMPDIR="$$dir" "$$dir/switchyard" sandbox --executor $(EXECUTOR) $(ARGS)

.PHONY: bench
bench: ## print the numbers: calls, processes, times, load, memory and size (BENCH=Plan narrows it)
	SWITCHYARD_TEST_PROVIDERS="$$(runner/testdata/providers.sh $(BIN)/providers)" \
		go test -run '^$$' -bench '$(BENCH)' -benchtime 3x -timeout 60m $(PKG) | grep -v -e '^ok .*no test' -e 'no test files'
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; $(BUILD) -o "$$dir/switchyard" ./cmd/app; \
		printf 'binary, stripped: %d bytes\n' "$$(wc -c < "$$dir/switchyard")"

.PHONY: fuzz
fuzz: ## fuzz each edge that strangers reach, one after another (FUZZTIME=1m each)
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sort | while IFS=: read -r file func; do \
		echo "$$(dirname "$$file") $${func#func }"; \
		go test -run '^$$' -fuzz "^$${func#func }\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" 2>&1 | tee "$$log" || { \
			grep -q '^    context deadline exceeded' "$$log" && ! grep -q 'Failing input' "$$log" || exit 1; \
			echo 'The time was up while an input was tried, which Go takes for a failure: no input failed.'; }; \
	done

.PHONY: release
release: ## build the files of a release into ./dist (VERSION=v1.2.3; IMAGE=sha256:… also pins them in the action's files)
	@[[ '$(VERSION)' =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$$ ]] || { echo 'make release: give a version: make release VERSION=v1.2.3' >&2; exit 1; }
	go run ./tools/release build --version '$(VERSION)' --time "$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)}"
	[ -z '$(IMAGE)' ] || go run ./tools/release stamp --version '$(VERSION)' --image '$(IMAGE)'

# Some packages have tests of what is Linux's own (processes, /proc, tmpfs). They are compiled with the program, and vetted on Linux.
ELSEWHERE := deploy|executor/local|plan|runner|sandbox/act|server|server/torture|store|terraform

.PHONY: platforms
platforms: ## compile the program for macOS and Windows, and vet it there
	for system in darwin windows; do \
		export GOOS=$$system CGO_ENABLED=0; \
		go build -o /dev/null ./cmd/app; \
		go vet $$(go list ./... | grep -vE '/switchyard/($(ELSEWHERE))$$'); \
	done

# Docker builds the images from the Dockerfile as it is; this needs neither Docker nor a registry, only Debian and root.
.PHONY: image
image: ## build the images with buildah on a base of this machine's own packages, try them, and print their sizes
	@for need in buildah busybox tini; do command -v $$need >/dev/null || $(IMAGE_TOOLS) || \
		{ echo "make image: no $$need was found or could be installed, so no image is built" >&2; exit 0; }; done; \
	dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; $(BUILD) -o "$$dir/switchyard" ./cmd/app; \
	PATH="$$(go run ./terraform/terraformtest/fetch $(BIN)):$$PATH"; container/image.sh "$$dir/switchyard" "$$(command -v terraform)"

.PHONY: generate
generate: ## write anew what is made from the code: references, schema, examples in the documentation
	go generate ./...
	go test ./settings -run TestReference -update
	go test ./cmd/app -update

.PHONY: clean
clean: ## remove what make made
	rm -rf $(BIN) dist switchyard

# The tools are pinned by modules of their own, so that they do not choose our libraries' versions.
$(BIN)/golangci-lint: tools/golangci-lint/go.mod
	cd tools/golangci-lint && GOBIN=$(BIN) go install tool
	@touch $@

$(BIN)/actionlint: tools/actionlint/go.mod
	cd tools/actionlint && GOBIN=$(BIN) go install tool
	@touch $@

# It runs the workflows of tests; they fail without it where CI is set, and are skipped elsewhere.
$(BIN)/act: tools/act/go.mod
	cd tools/act && CGO_ENABLED=0 GOBIN=$(BIN) go install -trimpath -ldflags '-s -w' tool
	@touch $@

# Tests of the azurerm backend start it; they fail without it where CI is set, and are skipped elsewhere.
.PHONY: azurite
azurite:
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory $(BIN)/azurite/done; fi

$(BIN)/azurite/done: tools/azurite/package.json tools/azurite/package-lock.json
	@mkdir -p $(@D)
	cp $^ $(@D)
	npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(BIN)/action-validator/done: tools/action-validator/package.json tools/action-validator/package-lock.json
	@mkdir -p $(@D)
	cp $^ $(@D)
	npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
