# make run    the sample pods on this machine, shown until Ctrl-C
# make test   everything: format, lints, licences, unit, simulation and integration tests
.PHONY: run test build images lint clean

BUILD := .build
BIN := target/release/gatepost

run: build images
	@tests/samples/run.sh $(BIN)

test: setup-test images lint
	cargo test --locked --no-fail-fast

lint:
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
