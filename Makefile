# make run       a gateway in QEMU, its serial console on this terminal; BOARD=qemu-armv7, …; RUNTIME=crun
# make image     the image of a board, in .build/image/BOARD: BOARD=orangepi-pc, … (docs/boards.md)
# make run-host  the sample pods on this machine, shown until Ctrl-C
# make test      everything: format, lints, licences, unit, simulation and integration tests, the ARM builds' tests, gateways in QEMU
# make cross     static binaries for aarch64 and armv7 in .build/bin; make size says what is in them
# make test-vm   gateways of both architectures booted in QEMU, alone
# make test-cross  the unit tests for both, under qemu-user
# make bench     memory, idleness, restarts and imports, each beside a peer in the same run; IDLE_SECONDS=600
.PHONY: run run-host image vm-images test test-vm test-cross cross size bench build images lint clean

BUILD := .build
# Static, as on a gateway: nothing is linked when a helper starts.
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
BIN := target/$(HOST)/release/gatepost
IDLE_SECONDS ?= 600

BOARD ?= qemu-aarch64
RUNTIME ?= runc

run: image
	@rootfs/run.sh $(BOARD)

image: setup-image
	@RUNTIME=$(RUNTIME) rootfs/image.sh $(BOARD)

# What the tests boot; images of one architecture share packages, so they are built one after the other.
VM_BOARDS := qemu-aarch64 qemu-armv7
REAL_BOARDS := raspberrypi orangepi-pc
vm-images: setup-image
	cross/build.sh
	@images=; for board in $(VM_BOARDS); do \
		{ rootfs/image.sh $$board && tests/vm/agent.sh $$board && \
			if [ $$board = qemu-aarch64 ]; then RUNTIME=crun OUT=$(CURDIR)/$(BUILD)/image/$$board-crun rootfs/image.sh $$board; fi; \
		} & images="$$images $$!"; \
	done; for image in $$images; do wait $$image || failed=1; done; [ -z "$$failed" ]
	@for board in $(REAL_BOARDS); do rootfs/image.sh $$board || exit 1; done

run-host: build images
	@tests/samples/run.sh $(BIN)

# The ARM binaries and images are built beside everything else; tests run when that is done, since some count wake-ups.
test: setup-test setup-image setup-cross
	@mkdir -p $(BUILD); $(MAKE) --no-print-directory vm-images > $(BUILD)/vm-images.log 2>&1 & vm=$$!; \
	$(MAKE) --no-print-directory images lint && cargo test --locked --workspace --all-features --no-run; built=$$?; \
	wait $$vm || { cat $(BUILD)/vm-images.log; exit 1; }; exit $$built
	cargo test --locked --workspace --all-features --no-fail-fast

# Gateways in QEMU, as many at a time as there are cores; most of the minutes are for the first build of the images.
test-vm: setup-test vm-images
	cargo test --locked --all-features --no-fail-fast --test image --test vm

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
	FETCH=$(BIN)-fetch benches/pull.sh
	GATEPOST=$(BIN) benches/probes.sh
	GATEPOST=$(BIN) benches/idle.sh $(IDLE_SECONDS)

lint:
	shellcheck -x benches/*.sh cross/*.sh tests/setup.sh tests/samples/*.sh tests/vm/*.sh rootfs/*.sh .ci/run
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
	cargo deny --offline --log-level error check bans licenses sources

build: setup
	RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static" cargo build --locked --release --target $(HOST) --package gatepost
	RUSTFLAGS="-C target-feature=+crt-static -C relocation-model=static" cargo build --locked --release --target $(HOST) --package gatepost-fetch

images: setup
	@tests/samples/images.sh $(BUILD)/images

.PHONY: setup setup-test setup-image setup-cross
setup:
	@tests/setup.sh
setup-test:
	@tests/setup.sh test
setup-image:
	@tests/setup.sh image
setup-cross:
	@tests/setup.sh cross

clean:
	rm -rf $(BUILD) target
