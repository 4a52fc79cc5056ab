# Forwards to cargo and to scripts/; `make help` lists the targets.

CPUS ?= 4
MACHINE ?= q35
COUNT ?= 200
PART ?= object
SECONDS ?= 1200

ELFIN := target/release/elfin
IMAGE := target/numpy.img
TARGET := x86_64-unknown-linux-gnu

# Where scripts/setup puts cargo if it has to install it.
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

.PHONY: build setup run test check fmt bench check-bench fuzz conformance stress soak clean help

build: setup ## build target/release/elfin, with the kernel inside (the default)
	cargo build --release -p elfin

setup: ## install the Debian packages and the Rust toolchain that are missing
	@scripts/setup

run: build $(IMAGE) ## boot Debian's python3 and numpy; CPUS=4 MACHINE=q35 (or microvm)
	$(ELFIN) run --cpus $(CPUS) --machine $(MACHINE) --image $(IMAGE) -- /usr/bin/python3 -c "$$(cat scripts/multiply.py)"

$(IMAGE): | build
	$(ELFIN) build -o $@ --deb python3,python3-numpy,libopenblas0-pthread

test: build ## run all tests, go on after a failure, and list what has failed
	@scripts/test

check: setup ## formatting, lints, structure
	cargo fmt --all --check
	scripts/structure
	cargo clippy --release --all-targets -- -D warnings
	cargo clippy --release -p abi -p machine -p linux -p kernel --target $(TARGET) --target-dir target/kernel -- -D warnings
	cargo clippy --release -p loader-hosted --target $(TARGET) --target-dir target/hosted -- -D warnings

fmt: ## format the sources
	cargo fmt --all

bench: build $(IMAGE) ## compare with ld.so, a Linux guest and the bare program: instructions and time
	@scripts/setup qemu-user wrk redis-tools
	cargo build --release -p loader-hosted --target $(TARGET) --target-dir target/hosted
	python3 bench/instructions.py $(ELFIN) $(IMAGE)
	python3 bench/growth.py $(ELFIN)
	python3 bench/growth_loading.py target/hosted/$(TARGET)/release/elfin-hosted
	python3 bench/memory.py $(ELFIN) $(IMAGE)
	python3 bench/loading.py $(IMAGE) target/hosted/$(TARGET)/release/elfin-hosted
	python3 bench/wall.py $(ELFIN) $(IMAGE) target/hosted/$(TARGET)/release/elfin-hosted
	python3 bench/latency.py $(ELFIN)
	python3 bench/servers.py $(ELFIN)
	python3 bench/files.py $(ELFIN)

check-bench: build $(IMAGE) ## fail if something takes over 3 % more instructions than bench/counts.json says
	python3 bench/instructions.py $(ELFIN) $(IMAGE) --check

fuzz: ## fuzz a part of the loader for a while: PART=object SECONDS=1200 (needs cargo-fuzz)
	nice cargo fuzz run -s none --fuzz-dir loader/fuzz --features libfuzzer --target-dir target/fuzz $(PART) -- \
		-max_len=240 -timeout=10 -max_total_time=$(SECONDS)

conformance: build ## programs of other projects on Linux and in the guest; takes an hour: SUITES='glibc gcc'
	@scripts/setup gawk bison bzip2 dpkg-dev xz-utils
	conformance/run --elfin $(ELFIN) $(SUITES)

stress: build $(IMAGE) ## boot the numpy program COUNT=200 times on 4 vCPUs
	scripts/stress $(ELFIN) $(IMAGE) $(COUNT)

soak: build ## run what chance has a part in for long, on 1, 2, 4 and 8 vCPUs
	SOAK=1 nice cargo test --release -p userspace-tests --test guest -- --test-threads=1

clean: ## remove everything that was built (downloads stay in ~/.cache/elfin)
	rm -rf target

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.* ## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16
