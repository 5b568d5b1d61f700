# make run    the sample pods on this machine, shown until Ctrl-C
# make test   everything: format, lints, licences, unit, simulation and integration tests
# make bench  memory, idleness, restarts and imports, each beside a peer in the same run; IDLE_SECONDS=600
.PHONY: run test bench build images lint clean

BUILD := .build
BIN := target/release/gatepost
IDLE_SECONDS ?= 600

run: build images
	@tests/samples/run.sh $(BIN)

test: setup-test images lint
	cargo test --locked --no-fail-fast

bench: setup-test build images
	GATEPOST=$(BIN) benches/memory.sh
	GATEPOST=$(BIN) benches/restart.sh
	GATEPOST=$(BIN) benches/import.sh
	GATEPOST=$(BIN) benches/idle.sh $(IDLE_SECONDS)

lint:
	shellcheck -x benches/*.sh tests/setup.sh tests/samples/*.sh .ci/run
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo deny --offline --log-level error check bans licenses sources

build: setup
	cargo build --locked --release

images: setup
	@tests/samples/images.sh $(BUILD)/images

.PHONY: setup setup-test
setup:
	@tests/setup.sh
setup-test:
	@tests/setup.sh test

clean:
	rm -rf $(BUILD) target
