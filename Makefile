# Two commands matter: `make demo` and `make test`. `make help` lists the rest.
#
# One cargo profile (--release) for everything, and one target directory for every clone on the machine: the
# dependencies (about 400 crates, RocksDB and librdkafka among them) are built once.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
export CARGO_TARGET_DIR ?= $(HOME)/.cache/tidewater/target
CARGO ?= cargo
# The package alone without optimisation, over the same optimised dependencies: unit tests compile three times as fast and run half as slow again.
QUICK := --config 'profile.release.package.tidewater.opt-level=0'

.PHONY: help demo test test-clients quick build check tidy fuzz soak bench bench-flink format install install-test compose-check clean-demo

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: install build ## build, start a server, run sql/fraud.sql, show the flagged cards live
	@scripts/demo.sh

test: install-test ## format, clippy with warnings denied, every test, the quick clients
	$(CARGO) fmt --check
	scripts/check_compose.sh
	$(CARGO) clippy --release --locked --all-targets -- -D warnings
	TIDEWATER_ORACLE_SECONDS=$${TIDEWATER_ORACLE_SECONDS:-5} $(CARGO) test --release --locked --lib $(QUICK)
	$(CARGO) test --release --locked --test tidy --test it -- --test-threads 2
	CLIENTS=--quick scripts/test_clients.sh

quick: ## unit tests and the oracle only, compiled without optimisation: the inner loop
	TIDEWATER_ORACLE_SECONDS=$${TIDEWATER_ORACLE_SECONDS:-5} $(CARGO) test --release --locked --lib $(QUICK)

build: ## the release binary
	$(CARGO) build --release --locked --bin tidewater

check: ## type-check everything, fast
	$(CARGO) check --release --all-targets

tidy: ## only the text checks over the tree: they need nothing of the package, so they compile alone, in seconds
	@mkdir -p $(CARGO_TARGET_DIR) && CARGO_MANIFEST_DIR=$(CURDIR) rustc --edition 2024 --test tests/tidy.rs -o $(CARGO_TARGET_DIR)/tidy-text
	@$(CARGO_TARGET_DIR)/tidy-text

fuzz: install-test ## the oracle on random plans and input, until stopped (TIDEWATER_ORACLE_SECONDS bounds it, TIDEWATER_SEED repeats)
	TIDEWATER_ORACLE_SECONDS=$${TIDEWATER_ORACLE_SECONDS:-86400} $(CARGO) test --release --locked --lib --test it -- --nocapture random_

soak: install-test build ## hours: a million reads under fire, a million messages, a hundred kills, a hundred injected faults, 20 million keys in 512 MiB, slow readers, a hot key, a day of windows
	WIRE_MESSAGES=$${WIRE_MESSAGES:-1000000} HAMMER_READS=$${HAMMER_READS:-1000000} KILLS=$${KILLS:-100} FAULTS=$${FAULTS:-100} LIVE_KEYS=$${LIVE_KEYS:-20000000} MEMORY=$${MEMORY:-512MiB} \
	  SLOW_READER_ROWS=$${SLOW_READER_ROWS:-10000000} HOT_KEY_EVENTS=$${HOT_KEY_EVENTS:-20000000} DEAR_SECONDS=$${DEAR_SECONDS:-120} EVENT_SECONDS=$${EVENT_SECONDS:-86400} \
	  ISOLATED_BATCHES=$${ISOLATED_BATCHES:-300} \
	  $(CARGO) test --release --locked --test it -- --nocapture --test-threads 1 hammer:: crash:: faults:: memory:: backpressure:: isolated:: watermark_state:: wire::

test-clients: install-test build ## every client of tests/clients against a fresh server: drivers, dbt, pandas, DuckDB (installs them once)
	@scripts/install.sh clients
	@scripts/test_clients.sh

bench: install-test build ## Nexmark and latency through the shipped binary: tables, every result verified
	BENCH_EVENTS=$${BENCH_EVENTS:-2000000} $(CARGO) test --release --locked --test it -- --nocapture --test-threads 1 bench

bench-flink: install-test build ## Flink beside Tidewater on the same topics, ratios per query (installs Flink once; BENCH_QUERIES, BENCH_EVENTS, BENCH_BACKENDS choose)
	BENCH_FLINK=1 BENCH_EVENTS=$${BENCH_EVENTS:-2000000} $(CARGO) test --release --locked --test it -- --nocapture --test-threads 1 nexmark_beside_flink

format: ## format the code
	$(CARGO) fmt

install: ## what the build and the demo need, if it is missing
	@scripts/install.sh build psql

install-test: ## what the tests need besides, if it is missing
	@scripts/install.sh build psql kafka postgres

compose-check: ## validate docker/compose.yaml
	@scripts/check_compose.sh

clean-demo: ## throw away the demo's data directory
	rm -rf tidewater-data
