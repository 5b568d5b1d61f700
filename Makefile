# make run    the sample pods on this machine, shown until Ctrl-C
# make test   everything: format, lints, licences, unit, simulation and integration tests
# make cross  static binaries for aarch64 and armv7 in .build/bin; make size says what is in them
# make test-cross  the unit tests for both, under qemu-user
# make bench  memory, idleness, restarts and imports, each beside a peer in the same run; IDLE_SECONDS=600
.PHONY: run test test-cross cross size bench build images lint clean

BUILD := .build
BIN := target/release/gatepost
IDLE_SECONDS ?= 600

run: build images
	@tests/samples/run.sh $(BIN)

test: setup-test images lint
	cargo test --locked --no-fail-fast

test-cross: setup-cross
	cross/test.sh

cross: setup-cross
	cross/build.sh

size: setup-cross
	cross/size.sh

bench: setup-test build images
	GATEPOST=$(BIN) benches/memory.sh
	GATEPOST=$(BIN) benches/restart.sh
	GATEPOST=$(BIN) benches/import.sh
	GATEPOST=$(BIN) benches/idle.sh $(IDLE_SECONDS)

lint:
	shellcheck -x benches/*.sh cross/*.sh tests/setup.sh tests/samples/*.sh .ci/run
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo deny --offline --log-level error check bans licenses sources

build: setup
	cargo build --locked --release

images: setup
	@tests/samples/images.sh $(BUILD)/images

.PHONY: setup setup-test setup-cross
setup:
	@tests/setup.sh
setup-test:
	@tests/setup.sh test
setup-cross:
	@tests/setup.sh cross

clean:
	rm -rf $(BUILD) target
