# demo: a demonstration · test: all tests · bench: performance figures · truth: real servers · versions: other releases of Debian
# fuzz: hostile input · deps: packages for all of these · peers: third-party programs that must be built · aarch64: the other architecture
# kill: kills at random moments · miri: unsafe code without foreign calls · build-deps: packages for a build · deb, rpm: packages
# package-test: tests of the packages on a clean root

CARGO ?= cargo

.PHONY: all book demo test peers bench truth versions kill miri deps build-deps package-deps deb rpm package-test fuzz lint aarch64

all: build-deps
	$(CARGO) build --release

## A healthy check and one with a fault, with a lab on loopback.
demo: build-deps
	$(CARGO) build --profile demo --quiet
	target/demo/nssight lab run
	-target/demo/nssight lab run --fault client-other-ca

## The tests, with real peers: NSS's own tools, python3-nss and OpenSSL. Many tests wait, so two run on each CPU.
test: deps peers
	RUST_TEST_THREADS=$$((2 * $$(nproc))) $(CARGO) test --workspace --quiet --no-fail-fast $$(scripts/deps left-out)

## The real programs of Siguldry, built once.
peers: deps
	@scripts/siguldry

## The documents as a book in target/book.
book:
	mdbook build

## Packages in target/package. With PROFILE=dev they contain the program that the tests have built.
deb rpm: package-deps
	@scripts/package $@

## PACKAGES=deb only tests the .deb.
PACKAGES ?= deb rpm
package-test: package-deps
	@scripts/package-test $(PACKAGES)

## Real servers with real faults, and nssight's verdict on each; writes docs/truth.md. Takes several minutes.
truth: deps
	$(CARGO) build --release --quiet
	$(CARGO) run --release --quiet --package nssight-truth -- target/release/nssight --write docs/truth.md

## The package on Debian's releases, each with its own NSS, which also reads the databases of every other version; writes docs/versions.md.
## Needs root, and takes about half an hour the first time.
versions: deps package-deps
	@PROFILE=dev scripts/package deb
	scripts/versions

## Whole-process figures compared with tstclnt and python-nss, as ratios of the same run.
bench: deps
	$(CARGO) build --release --quiet
	$(CARGO) run --release --quiet --package nssight-bench

## Ten minutes per target, twenty for the two database formats; FUZZ_SECONDS and FUZZ_DB_SECONDS set other times. Needs a
## nightly toolchain and cargo-fuzz.
FUZZ_SECONDS ?= 600
FUZZ_TARGETS ?= archive chunk config header log password reply ring targets wire
FUZZ_DB_SECONDS ?= 1200
FUZZ_DB_TARGETS ?= sql dbm
fuzz: deps
	scripts/fuzz-corpus
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/corpus/$$target; \
		$(CARGO) +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- -max_total_time=$(FUZZ_SECONDS) -timeout=5 -rss_limit_mb=512 || exit 1; \
	done
	@for target in $(FUZZ_DB_TARGETS); do \
		ASAN_OPTIONS=quarantine_size_mb=16 $(CARGO) +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- -max_total_time=$(FUZZ_DB_SECONDS) -max_len=262144 -timeout=1 -rss_limit_mb=512 \
			-malloc_limit_mb=64 || exit 1; \
	done

## Code without foreign calls, under Miri: the ring that the traced program shares with nssight, and the parsers of Sigul's protocol.
## Needs a nightly toolchain with Miri.
miri:
	MIRIFLAGS=-Zmiri-disable-isolation $(CARGO) +nightly miri test --package nssight-tracer --lib ring
	MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=3 $(CARGO) +nightly miri test --package nssight-sigul --test chunk --test header

## Kills parent and worker at this many random moments; the normal tests use 40.
KILLS ?= 300
kill: deps
	NSSIGHT_KILLS=$(KILLS) $(CARGO) test --quiet --test killed -- --nocapture

## Cross-check for the other architecture, on Debian. Nothing runs: the code is checked, and the tracer's library is linked for it.
AARCH64 := aarch64-unknown-linux-gnu
aarch64:
	@scripts/deps cross
	@test -d "$$(rustc --print target-libdir --target $(AARCH64))" || rustup target add $(AARCH64)
	@CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
		CFLAGS_aarch64_unknown_linux_gnu="-idirafter /usr/include/$$(cc -print-multiarch)" PKG_CONFIG_ALLOW_CROSS=1 \
		$(CARGO) check --workspace --quiet --target $(AARCH64)

lint:
	@scripts/deps lint
	$(CARGO) fmt --all --check
	# cargo fmt does not see files that a build script includes.
	rustfmt --edition 2024 --check profiles/*/*.rs reports/src/formats/*.rs peers/sigul-v1-client/src/*.rs
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	$(CARGO) clippy --package nssight-tracer --features preload --lib --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet
	@scripts/deny

deps:
	@scripts/deps

build-deps:
	@scripts/deps build

package-deps:
	@scripts/deps package
