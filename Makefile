# `make help` lists what there is.

SHELL   := /bin/bash
GO      ?= go
BUILD   := build
VERSION ?=
# A release names its version and no path of the machine that built it.
RELEASE := $(if $(VERSION),-trimpath -ldflags '-X ringside/appliance/cli.tag=$(VERSION)')

# Packages in which goroutines meet; they are tested with the race detector. Handlers of
# the API share nothing but what these packages guard.
RACE := ./flow ./dataplane/pcapin ./dataplane/ring ./dataplane/xdp ./writer/... ./appliance/auth \
	./appliance/daemon ./appliance/e2e ./appliance/metrics ./appliance/tui
# Long tests there that have one goroutine, or ask what others ask too.
RACESKIP := AllocatesNothing|TestKeptRoom|TestStreamsTable|TestSeries|TestSearchFindsAll|TestView|TestRoundTrip|TestInsertReplaces|TestMigrate|TestRecoverCut|TestCheckAndRepair|TestEqualTimes|TestQuickIsGeneral|TestSame(RTP|Traffic|Ports)|TestNotesRefused|TestPacketsWithoutSound|TestTop|TestSampled|TestRollupsOfEarlierCalls|TestSpoolCalls|TestSpoolEncap|TestTLSCalls|TestFilter|TestOverview

# How long each fuzz target runs, and how often each benchmark.
FUZZTIME   ?= 5m
BENCHCOUNT ?= 1

.DEFAULT_GOAL := help

##@ Use

.PHONY: demo
demo: build ## generate calls, read them, show them
	@.ci/demo $(BUILD)

.PHONY: build
build: ## build ringside and ringbench into build/
	@mkdir -p $(BUILD)
	$(GO) build $(RELEASE) -o $(BUILD)/ ./appliance/cmd/ringside ./bench/cmd/ringbench

.PHONY: deb
deb: ## build/ringside_VERSION_{amd64,arm64}.deb
	GO=$(GO) appliance/packaging/deb.sh $(BUILD) "$(VERSION)" amd64 arm64

##@ Check

.PHONY: test
test: deps vet lint build ## everything that must hold before a change goes in
	@.ci/soaked $(BUILD) $(MAKE) --no-print-directory unit test-race

.PHONY: deps
deps: # packages of the system that the tests need
	@.ci/deps

.PHONY: vet
vet:
	$(GO) vet ./...

.PHONY: lint
lint: ## staticcheck, gofmt, the rules of the house (house_test.go), generated files
	$(GO) tool staticcheck ./...
	$(GO) test -count=1 .
	@.ci/generated $(BUILD)
	@.ci/generated-ui $(BUILD)

.PHONY: unit
unit: ## unit and end-to-end tests, without the race detector
	@.ci/gotest $(BUILD) ./...

.PHONY: test-race
test-race: ## the concurrent packages under the race detector
	@.ci/gotest $(BUILD) -race -short -skip '$(RACESKIP)' $(RACE)

.PHONY: test-full
test-full: ## all cases of the end-to-end tests, of which "make test" takes a sample
	$(GO) test -timeout 3h ./appliance/e2e -full

.PHONY: fuzz
fuzz: ## every fuzz target, FUZZTIME each (5m)
	@set -euo pipefail; \
	grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sort | while IFS=: read -r file func; do \
		target="$${func#func }"; echo "== $$(dirname $$file) $$target, $(FUZZTIME)"; \
		$(GO) test "$$(dirname $$file)" -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) </dev/null; \
	done

# So that all scenarios are reached within 15 minutes; other programs and closer searches
# take longer.
BENCHFLAGS ?= --peers tcpdump --tries 2 --exact 1.2 --budget 12m

.PHONY: bench
bench: build ## the suite of benchmarks: a report in build/bench/, and what has become slower; as root (BENCHFLAGS=--quick: 3 minutes)
	$(BUILD)/ringbench suite --ringside $(BUILD)/ringside -o $(BUILD)/bench $(BENCHFLAGS)
	$(BUILD)/ringbench guard

.PHONY: bench-go
bench-go: ## every Go benchmark, BENCHCOUNT times (1)
	$(GO) test -run '^$$' -bench . -benchmem -count $(BENCHCOUNT) ./...

# How long make soak takes; hours say more.
SOAKTIME ?= 10m

.PHONY: soak
soak: build ## ringside at a constant load for SOAKTIME (10m), and whether it grows; as root
	$(BUILD)/ringbench soak --for $(SOAKTIME) --ringside $(BUILD)/ringside

##@ Other

.PHONY: generate
generate: ## compile the programs of the kernel (bpf/), with the clang of bpf/clang.txt, and bundle the web UI
	cd bpf && $(GO) generate ./...
	FIX=1 .ci/generated-ui $(BUILD)

.PHONY: clean
clean: ## remove what was built
	rm -rf $(BUILD)

.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
