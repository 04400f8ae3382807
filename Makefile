# Run, test and check the gate. Every target first installs what is missing.
# One profile directory for all of them: RocksDB compiles once
# (docs/decisions/0005-rocksdb-build.md).

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run demo test lint alerts tools

# Where cargo puts its output; follows CARGO_TARGET_DIR when that is set.
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Extra words for cargo; the checks pass --locked.
CARGO_FLAGS ?=
BUILD := --release --workspace $(CARGO_FLAGS)
STAGE := scripts/stage

# While RocksDB is not built yet, the first cargo command is a long one: say so.
define first_build_note
	@compgen -G '$(TARGET)/release/build/librocksdb-sys-*/out/librocksdb.a' >/dev/null \
		|| echo 'first build compiles RocksDB: about 12 minutes on two cores'
endef

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

run: tools ## start a gate on this machine with the example policies; DEV='--secret …' adds to it
	$(first_build_note)
	@$(STAGE) build cargo build $(BUILD)
	$(TARGET)/release/qgate dev --policies examples/policies --data .qgate/dev $(DEV)

demo: tools ## tell three incidents on a real gate with real targets, and check each number
	$(first_build_note)
	@$(STAGE) build cargo build $(BUILD)
	$(TARGET)/release/qgate demo

test: lint alerts ## check the form, then run every test
	@$(STAGE) tests cargo test $(BUILD)
	@$(STAGE) crash-tests cargo test $(BUILD) --features store/failpoints --test crash

alerts: tools ## check alert rules, their tests and the dashboard with promtool
	@$(STAGE) alerts scripts/check-alerts

lint: tools ## check formatting and clippy
	@$(STAGE) format cargo fmt --all --check
	$(first_build_note)
	@$(STAGE) clippy cargo clippy $(BUILD) --all-targets -- -D warnings

.PHONY: dist bench bench-cluster bench-growth bench-failover fuzz
dist: tools ## build the binary that is shipped: slower to build, a tenth faster to run
	$(first_build_note)
	@$(STAGE) build cargo build $(BUILD)
	@$(STAGE) dist scripts/build-dist $(CARGO_FLAGS)
	@echo 'built $(TARGET)/dist/qgate'

bench: dist ## the shipped gate beside its disk and PostgreSQL; BENCH='--seconds 5' changes a run
	@$(STAGE) judgement cargo bench --workspace $(CARGO_FLAGS) --bench judgement
	@$(STAGE) apply cargo bench --workspace $(CARGO_FLAGS) --bench apply
	@$(STAGE) bench cargo bench --workspace $(CARGO_FLAGS) --bench one_node -- \
		--gate $(abspath $(TARGET))/dist/qgate $(BENCH)

bench-cluster: dist ## three shipped gates beside three members of etcd; BENCH='--rounds 1' changes a run
	@$(STAGE) fetch-etcd scripts/fetch-etcd $(TARGET)/etcd
	@$(STAGE) bench-cluster cargo bench --workspace $(CARGO_FLAGS) --bench three_nodes -- \
		--gate $(abspath $(TARGET))/dist/qgate --etcd $(abspath $(TARGET))/etcd/etcd $(BENCH)

bench-growth: dist ## what 1,000,000 stored intents cost beside 10,000; BENCH='--intents …' changes a run
	@$(STAGE) bench-growth cargo bench --workspace $(CARGO_FLAGS) --bench growth -- \
		--gate $(abspath $(TARGET))/dist/qgate $(BENCH)

bench-failover: dist ## kill the leader of three 200 times under load; BENCH='--kills 20' changes a run
	@$(STAGE) bench-failover cargo bench --workspace $(CARGO_FLAGS) --bench failover -- \
		--gate $(abspath $(TARGET))/dist/qgate $(BENCH)

.PHONY: simulate
SIM := -p sim -p store --features sim/simulated
SECONDS_OF_SEEDS ?= 180
simulate: tools ## see each planted bug in simulated clusters, and run these for three minutes, from new seeds that are printed; SECONDS_OF_SEEDS=3600 FIRST_SEED=1 changes a run
	$(first_build_note)
	@$(STAGE) clippy-simulator cargo clippy --release $(SIM) $(CARGO_FLAGS) --all-targets -- -D warnings
	@$(STAGE) test-simulator cargo test --release $(SIM) $(CARGO_FLAGS) --lib --bins
	@$(STAGE) build-simulator cargo build --release $(SIM) $(CARGO_FLAGS)
	@$(STAGE) planted-bugs scripts/planted-bugs $(TARGET)/release/qgate-sim
	@$(STAGE) simulate scripts/simulate $(TARGET)/release/qgate-sim $(SECONDS_OF_SEEDS) $(FIRST_SEED)

.PHONY: faults planted-faults
RUNS ?= 1
faults: tools ## do to real nodes what may befall them (as root, with FUSE), and add the counts to tests/cluster/campaign; RUNS=10 changes it
	$(first_build_note)
	@$(STAGE) build cargo test $(BUILD) --test faults --no-run
	@$(STAGE) faults scripts/campaign-cluster $(RUNS) cargo test $(BUILD) --test faults --

planted-faults: tools ## give real nodes each planted bug, and do every fault to them until it is seen: some 40 minutes
	$(first_build_note)
	@$(STAGE) build-bugs cargo build $(BUILD) --features bugs/by-environment --bin qgate
	@cp $(TARGET)/release/qgate $(TARGET)/qgate-bugs
	@$(STAGE) build cargo test $(BUILD) --test faults --no-run
	@$(STAGE) planted-faults scripts/planted-bugs-cluster $(abspath $(TARGET))/qgate-bugs \
		cargo test $(BUILD) --test faults --

fuzz: export FUZZ_SEED ?= $(shell date +%s)
fuzz: export FUZZ_ITERATIONS ?= 1000000
fuzz: tools ## mutate inputs for some minutes, from a new seed that is printed
	@$(STAGE) fuzz cargo test $(BUILD) --test fuzz --no-fail-fast -- --nocapture

tools:
	@$(STAGE) install-tools scripts/install-tools
