# Every command a contributor needs; `make help` lists them, CONTRIBUTING.md explains them.
# `make test` is all that CI runs (.ci/run calls it), step by step, and it stops at the first step that fails.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# The steps share one target directory and two cores: one after the other, whatever -j says.
.NOTPARALLEL:

export EVENKEEL_CACHE ?= $(HOME)/.cache/evenkeel
# CI clones anew each time: the target directory is kept outside the clone, so that a second run is quick.
ifeq ($(CI),true)
export CARGO_TARGET_DIR ?= $(EVENKEEL_CACHE)/target
export CARGO_INCREMENTAL ?= 0
LOCKED := --locked
endif
export CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TERM_COLOR ?= auto
# cargo-deny lives in the cache (deploy/ci/install puts it there).
export PATH := $(EVENKEEL_CACHE)/tools/bin:$(PATH)
# Where the steps of one run note their seconds, for the table at the end.
export EVENKEEL_STEPS := $(CARGO_TARGET_DIR)/steps.txt

STEP := @deploy/ci/step
# Naming a test makes cargo resolve features as the tests do, so that this builds no dependency again.
BINARIES = $(STEP) binaries cargo build $(LOCKED) --workspace --bins --test tidy
# Histories per `make sim`, and the seed of the first: the clock, so that every run tries new ones. A failure
# prints its seed; `make sim SEEDS=1 FIRST_SEED=…` plays it again.
SEEDS ?= 300
FIRST_SEED ?= $(shell date +%s)
LONG_SEEDS ?= 20000
# What `make bench` measures; all but core and flush start a Kafka of their own.
BENCHES ?= core coalescer

##@ Use

.PHONY: demo
demo: ## The whole pipeline in one process with a simulated fleet (ARGS="--for 30s")
	cargo run $(LOCKED) --release -p evenkeel --no-default-features -- demo $(ARGS)

.PHONY: bench
bench: ## Measure this machine: core and coalescer (BENCHES="core flush coalescer memory recovery" for all, 20 minutes)
	cargo build $(LOCKED) --release -p evenkeel -p evenkeel-live --bins
	@for bench in $(filter core flush,$(BENCHES)); do $(CARGO_TARGET_DIR)/release/evenkeel bench $$bench $(ARGS); done
	@for bench in $(filter-out core flush,$(BENCHES)); do \
		$(CARGO_TARGET_DIR)/release/evenkeel-parts kafka -- sh -c \
		'exec "$$0" bench "$$@" --brokers "$$EVENKEEL_KAFKA"' \
		$(CARGO_TARGET_DIR)/release/evenkeel $$bench $(ARGS); done

.PHONY: bench-spool
bench-spool: ## Measure the spool beside stream-download, tempfile and Python (some minutes; builds the contenders)
	cargo build $(LOCKED) --release -p evenkeel --bins
	$(CARGO_TARGET_DIR)/release/evenkeel bench spool --contenders "$$(tests/peers/spool/build.sh)" --python python3 $(ARGS)

.PHONY: bench-recordings
bench-recordings: ## Measure live traffic beside the ingest of a recording (two minutes, over a real Kafka)
	cargo build $(LOCKED) --release -p evenkeel -p evenkeel-live --bins
	$(CARGO_TARGET_DIR)/release/evenkeel-parts kafka -- sh -c \
		'exec "$$0" bench recordings --brokers "$$EVENKEEL_KAFKA" $(ARGS)' $(CARGO_TARGET_DIR)/release/evenkeel

.PHONY: bench-score
bench-score: ## Measure scoring beside pandas with scikit-learn and onnxruntime (some minutes; makes a Python for them)
	cargo build $(LOCKED) --release -p evenkeel --bins
	$(CARGO_TARGET_DIR)/release/evenkeel bench score --python "$$(tests/peers/score/build.sh)" $(ARGS)

.PHONY: bench-gateway
bench-gateway: ## Measure the gateway beside nats-server (some minutes; builds the peer, needs Go)
	cargo build $(LOCKED) --release -p evenkeel --bins
	$(CARGO_TARGET_DIR)/release/evenkeel bench gateway --nats "$$(tests/peers/nats/build.sh)" $(ARGS)

##@ Check

STEPS := fmt-check tidy deny clippy unit sim sabotage live chart client dashboard-check

.PHONY: test
test: begin install $(STEPS) ## Everything CI runs: all the steps below, in this order
	@deploy/ci/step --table

.PHONY: test-long
test-long: install ## More of the same: 20000 histories, 16 times the cases per property
	$(BINARIES)
	$(STEP) sim-long $(CARGO_TARGET_DIR)/debug/evenkeel-sim --seeds $(LONG_SEEDS) --first-seed $(FIRST_SEED)
	@targets=$$(deploy/ci/targets unit); \
		deploy/ci/step properties-long env PROPTEST_CASES=4096 cargo test $(LOCKED) --workspace $$targets
	@deploy/ci/step --table

.PHONY: begin
begin:
	@deploy/ci/step --begin

.PHONY: install
install: ## Install what the steps need and this machine lacks (system libraries, cargo-deny, server jars)
	$(STEP) install deploy/ci/install

.PHONY: fmt-check
fmt-check: ## Formatting
	$(STEP) fmt-check cargo fmt --all --check

.PHONY: tidy
tidy: ## Invariants of the repository: edges between crates, file sizes, rule ids, links
	$(STEP) tidy cargo test $(LOCKED) --workspace --test tidy

.PHONY: deny
deny: ## Licences, sources and banned dependencies
	$(STEP) deny cargo deny --offline --all-features --locked check bans licenses sources

.PHONY: clippy
clippy: ## Lints; a warning fails
	$(STEP) clippy cargo clippy $(LOCKED) --workspace --all-targets -- -D warnings
	$(STEP) clippy-features cargo clippy $(LOCKED) --workspace --all-targets --all-features -- -D warnings
	$(STEP) clippy-demo cargo clippy $(LOCKED) -p evenkeel --no-default-features -- -D warnings

.PHONY: unit
unit: ## Unit and integration tests of every crate (all but tests/live), examples in comments
	@targets=$$(deploy/ci/targets unit); deploy/ci/step unit cargo test $(LOCKED) --workspace $$targets
	$(STEP) examples cargo test $(LOCKED) --workspace --doc

.PHONY: sim
sim: ## 300 fresh histories over the simulated log (SEEDS=, FIRST_SEED=)
	$(BINARIES)
	$(STEP) sim $(CARGO_TARGET_DIR)/debug/evenkeel-sim --seeds $(SEEDS) --first-seed $(FIRST_SEED)

.PHONY: sabotage
sabotage: ## Broken rules planted in the real drivers: the simulator must catch each
	@targets=$$(deploy/ci/targets sabotage); \
		deploy/ci/step sabotage cargo test $(LOCKED) --workspace --features evenkeel-sim/sabotage $$targets

.PHONY: live
live: ## The real binary over a real Kafka and a real Cassandra
	$(BINARIES)
	@targets=$$(deploy/ci/targets live); \
		deploy/ci/step live env EVENKEEL_BIN=$(CARGO_TARGET_DIR)/debug/evenkeel \
		cargo test $(LOCKED) --workspace $$targets

.PHONY: live-long
live-long: ## Faults one by one, and the simulator's scenarios over real parts (8 minutes; not part of `make test`)
	$(BINARIES)
	@targets=$$(deploy/ci/targets live-long); \
		deploy/ci/step live-long env EVENKEEL_BIN=$(CARGO_TARGET_DIR)/debug/evenkeel \
		cargo test $(LOCKED) --workspace $$targets

.PHONY: conformance
conformance: ## HTTP as its OpenAPI says it, asked by schemathesis (Python; not part of `make test`; ARGS=)
	$(BINARIES)
	$(STEP) conformance tests/conformance/http.sh $(CARGO_TARGET_DIR)/debug/evenkeel -n 300 $(ARGS)

# The chart's checks, with the tools that deploy/ci/install-chart puts into the cache.
CHART_PYTHON = $(EVENKEEL_CACHE)/chart-python/bin/python

.PHONY: chart
chart: ## The Helm chart: lint, golden renders, schemas, alerts tried by promtool (needs Go and Python)
	$(STEP) install-chart deploy/ci/install-chart
	$(STEP) chart $(CHART_PYTHON) -m pytest --quiet -p no:cacheprovider tests/chart

.PHONY: chart-cluster
chart-cluster: ## The chart against a real API server: dry run, install, upgrade, rollback (ten minutes the first time)
	$(STEP) install-chart deploy/ci/install-chart --cluster
	$(STEP) chart-cluster $(CHART_PYTHON) tests/chart/cluster/run.py

.PHONY: image
image: ## The container image from this machine's build, looked at (Docker is started if none answers; not part of `make test`)
	cargo build $(LOCKED) --release -p evenkeel
	$(STEP) image deploy/ci/with-docker deploy/images/check $(CARGO_TARGET_DIR)/release/evenkeel

.PHONY: image-compiled
image-compiled: ## The container image by its Dockerfile, every stage in a container; what cannot be run here is said (not part of `make test`)
	cargo build $(LOCKED) --release -p evenkeel
	$(STEP) image-compiled deploy/images/stages $(CARGO_TARGET_DIR)/release/evenkeel

.PHONY: compose
compose: ## deploy/compose up, an event through all of it, down; what cannot be run here is said (not part of `make test`)
	cargo build $(LOCKED) --release -p evenkeel
	$(STEP) compose deploy/ci/compose $(CARGO_TARGET_DIR)/release/evenkeel

# Which live tests `make live-docker` runs.
DOCKER_TESTS ?= --test kafka_log --test cql_store --test cluster --test played

.PHONY: live-docker
live-docker: ## The same over servers in containers; not part of `make test` (DOCKER_TESTS=)
	$(BINARIES)
	$(STEP) live-docker deploy/ci/live-docker env EVENKEEL_BIN=$(CARGO_TARGET_DIR)/debug/evenkeel \
		cargo test $(LOCKED) --workspace $(DOCKER_TESTS)

.PHONY: client
client: ## The TypeScript client: install, topics up to date, types, tests, size (needs Node 20 and npm)
	$(STEP) client sh -c \
		'cd libs/client-ts && npm ci && npm run topics -- --check && npm run check && npm test && npm run size'

.PHONY: dashboard-check
dashboard-check: ## The dashboard: install, types, unit tests, committed files equal a fresh build (needs Node 20 and npm)
	$(STEP) dashboard-check sh -c 'cd services/dashboard && npm ci && npm run check && npm test && npm run compare'

.PHONY: dashboard-test
dashboard-test: ## The dashboard in a headless Chromium (4 minutes; needs npm and Chromium; EVENKEEL_GATEWAY_URL= for a real gateway)
	cd services/dashboard && npm ci && npm run test:browser

.PHONY: player-test
player-test: ## Recordings in the players of a headless Chromium (a minute; needs npm and Chromium; not part of `make test`)
	$(BINARIES)
	cd services/dashboard && npm ci
	$(STEP) player-test env EVENKEEL_BIN=$(CARGO_TARGET_DIR)/debug/evenkeel node --test tests/conformance/player.mjs

##@ Change

.PHONY: dashboard
dashboard: ## Build the dashboard's files anew, to be committed (needs npm)
	cd services/dashboard && npm ci && npm run build

.PHONY: fmt
fmt: ## Format everything
	cargo fmt --all

.PHONY: docs
docs: ## Write the generated tables of docs/ anew (keys of configuration, exit codes, metrics)
	EVENKEEL_REGENERATE=1 cargo test $(LOCKED) --quiet -p evenkeel-tidy --test tidy the_table

.PHONY: chart-generate
chart-generate: ## Write what is made for the chart anew: schema, table of values, topics, rules, dashboards
	deploy/ci/install-chart
	$(CHART_PYTHON) tests/chart/generate.py

.PHONY: chart-golden
chart-golden: ## Take the chart's renders as they are now for the golden ones
	deploy/ci/install-chart
	CHART_GOLDEN=write $(CHART_PYTHON) -m pytest --quiet -p no:cacheprovider tests/chart -k golden

# Python packages of the scripts of tests/models, outside the clone.
MODELS_PYTHON := $(EVENKEEL_CACHE)/models-python

.PHONY: models
models: ## Train, export and score the golden models anew with onnxruntime, then compare (needs Python 3.11)
	[ -x $(MODELS_PYTHON)/bin/python ] || python3 -m venv $(MODELS_PYTHON)
	$(MODELS_PYTHON)/bin/pip install --quiet --requirement tests/models/requirements.txt
	$(MODELS_PYTHON)/bin/python tests/models/make.py
	$(MODELS_PYTHON)/bin/python tests/models/compare.py
	$(MODELS_PYTHON)/bin/python tests/models/train_sample.py
	cargo test $(LOCKED) -p evenkeel-onnx

.PHONY: help
help: ## This list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
