# Every task of a person or of CI. `make help` lists them.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

HOST := $(shell rustc -vV | sed -n 's/^host: //p')
DATA ?= data/demo

.PHONY: help setup engine images build warden demo quick test contract attack bench check deb package-test sqlx sqlx-check chaos load soak gate fuzz clean

help: ## What there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what is missing (Debian and Ubuntu packages), saying what
	@scripts/setup

engine: setup ## Start a Docker engine if none answers
	@scripts/engine

images: engine ## Build the images of all templates, without a registry too
	@images/build

warden: ## Build PID 1 of the cells, static, and put it beside the binaries
	@RUSTFLAGS='-C target-feature=+crt-static' CARGO_PROFILE_RELEASE_STRIP=true \
		cargo build --quiet --locked --release --package warden --target $(HOST)
	@for profile in release debug; do \
		install -D target/$(HOST)/release/warden target/$$profile/assize-warden; \
	done

build: warden ## Build the binaries
	@cargo build --locked --release

demo: images build ## Evaluate every sample of every template for real (KEEP=1 leaves it serving)
	@ASSIZE_MAX_STAGE_TIMEOUT_S=15 target/release/assize demo --up --data $(DATA) $(if $(KEEP),--keep)

quick: ## The tests that need neither an engine nor a database: within a minute of a warm build
	@scripts/quick

test: images warden ## All tests, on real Postgres, Redis and Docker
	@scripts/test

contract: ## Generated requests against a live API, each answer checked (EXAMPLES=50, SEED)
	@scripts/setup --contract
	@scripts/schemathesis

attack: images warden ## Try every hostile case on this host (ONLY=pattern); exit code 1 if one escapes
	@cargo build --locked --bin assize
	@target/debug/assize doctor --attack $(if $(ONLY),--only '$(ONLY)')

bench: images build ## The figures, side by side with the raw engine, also in target/bench/summary.json
	@cargo bench --locked --bench figures

chaos: images warden ## Break a whole installation under load, FAULTS times (100), as SEED says (drawn)
	@scripts/setup --chaos
	@cargo build --locked --package assize --package soak
	@FAULTS=$(FAULTS) SEED=$(SEED) KINDS=$(KINDS) target/debug/soak chaos

load: images build ## Waves of 20, 40, 60, 100 in flight (WAVES, WAVE_S=900, RAMP_S=180, ARRIVALS, SEED)
	@cargo build --locked --release --package soak
	@WAVES=$(WAVES) WAVE_S=$(WAVE_S) RAMP_S=$(RAMP_S) ARRIVALS=$(ARRIVALS) SEED=$(SEED) target/release/soak load

soak: images build ## 100 in flight for HOURS (24; fractions are allowed), with faults in the second quarter
	@cargo build --locked --release --package soak
	@HOURS=$(HOURS) IN_FLIGHT=$(IN_FLIGHT) RAMP_S=$(RAMP_S) FAULT_EVERY_S=$(FAULT_EVERY_S) SEED=$(SEED) target/release/soak hold

gate: ## Check the five conditions for production with the data of RESULT (the newest soak), and sign the outcome
	@cargo build --quiet --locked --release --package soak
	@RESULT=$(RESULT) KEY=$(KEY) target/release/soak gate

fuzz: ## Fuzz what reads bytes from outside: TARGET (all, in turn), SECONDS of each (60)
	@scripts/fuzz $(or $(TARGET),all) $(or $(SECONDS),60)

check: ## Format, lints, licences, queries, documentation
	@scripts/check

deb: build ## Make the Debian packages from the binaries, in target/deb
	@scripts/deb

package-test: build ## Install, upgrade, roll back, remove and purge the packages in a Debian root (as root)
	@packaging/test

sqlx: ## Renew crates/store/.sqlx from the queries and a real database
	@scripts/sqlx

clean: ## Remove what was built
	@cargo clean
