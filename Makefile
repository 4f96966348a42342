# Every habit has a target; `make` alone lists them. Works with GNU make and the make 3.81 of macOS;
# recipes are POSIX sh. Nothing here is needed to run Lakegate: `cargo run --bin lakegate -- demo` is enough.

CACHE := $(shell printf %s "$${XDG_CACHE_HOME:-$$HOME/.cache}/lakegate")
CHECKOUT := $(shell printf %s "$(CURDIR)" | cksum | cut -d' ' -f1)
PEERS := $(shell cksum < bench/requirements.txt | cut -d' ' -f1)
REQUIREMENTS := $(shell cksum < tests/requirements.txt | cut -d' ' -f1)
OLDER := $(shell cksum < tests/clients/requirements-sqlalchemy.txt | cut -d' ' -f1)

# Outside the checkout, so that a fresh clone or a clean tree does not take the built dependencies with
# it; one per checkout, so that two branches do not rebuild each other's.
ifeq ($(origin CARGO_TARGET_DIR),undefined)
CARGO_TARGET_DIR := $(CACHE)/target-$(CHECKOUT)
endif
export CARGO_TARGET_DIR

PYTHON ?= python3
VENV := $(CACHE)/venv-$(REQUIREMENTS)
# The DB-API for SQLAlchemy 1.4 cannot be installed beside the others.
OLDER_VENV := $(CACHE)/venv-$(OLDER)
AZURITE := $(CACHE)/azurite-3.37.0
LAKEGATE_BIN ?= $(CARGO_TARGET_DIR)/debug/lakegate
LAKEGATE_PYTHON ?= $(VENV)/bin/python
LAKEGATE_PYTHON_SQLALCHEMY ?= $(OLDER_VENV)/bin/python
LAKEGATE_AZURITE ?= $(AZURITE)/node_modules/.bin/azurite-blob
export LAKEGATE_BIN LAKEGATE_PYTHON LAKEGATE_PYTHON_SQLALCHEMY LAKEGATE_AZURITE

# One cargo at a time: builds share a lock and memory.
.NOTPARALLEL:
.PHONY: help build demo run test unit setup lint docs doctor soak bench clean

help: ## List the targets
	@sed -n 's/^\([a-z][a-z]*\):.*## /\1	/p' Makefile | while IFS='	' read -r name text; do printf '  make %-8s %s\n' "$$name" "$$text"; done

build: ## Build the binary (the demo and test profile)
	cargo build --bin lakegate
	@echo "built $(LAKEGATE_BIN)"

demo: ## Start a gateway with the demo data on port 7780
	cargo run --bin lakegate -- demo

run: ## Start a gateway on your own data folder
	cargo run --bin lakegate -- serve

test: setup build unit docs ## Everything that must hold: unit, service and end-to-end tests, then the README

unit:
	@if cargo nextest --version >/dev/null 2>&1; then \
	  sh scripts/with-postgres.sh cargo nextest run --workspace; \
	else \
	  sh scripts/with-postgres.sh cargo test --workspace; \
	fi

setup: ## Make ready what the tests need (DEBIAN=1 also installs packages)
	@CI="$(CI)" DEBIAN="$(DEBIAN)" sh scripts/setup.sh "$(PYTHON)" "$(VENV)" "$(OLDER_VENV)" "$(AZURITE)"

lint: ## Formatting, clippy without warnings, scripts that parse
	cargo fmt --all --check
	cargo fmt --manifest-path tests/fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	@for script in scripts/*.sh .ci/run; do sh -n "$$script" || exit 1; done
	@$(PYTHON) -c 'import ast, sys; [ast.parse(open(f, encoding="utf-8").read(), f) for f in sys.argv[1:]]' scripts/*.py testdata/*.py tests/e2e/schemathesis/*.py tests/clients/python/*.py 
	@if command -v shellcheck >/dev/null 2>&1; then shellcheck -s sh scripts/*.sh; fi

docs: build ## Run every console block of the README, docs/jobs.md and docs/events.md against a fresh demo and compare
	$(PYTHON) scripts/docs.py README.md
	$(PYTHON) scripts/docs.py docs/jobs.md
	$(PYTHON) scripts/docs.py docs/events.md

doctor: ## Say which tools are here, and how to install the missing ones
	@sh scripts/doctor.sh

soak: setup build ## The long proofs, two hours; PARTS="kills fuzz" for some, "kills=5" for fewer; writes docs/soak/
	sh scripts/soak.sh $(PARTS)

bench: ## Measure with optimisation, beside the peers; SUITES="tpch scan" for some; writes bench/runs/
	sh scripts/bench.sh "$(PYTHON)" "$(CACHE)/venv-bench-$(PEERS)" $(SUITES)

clean: ## Remove what was built
	cargo clean
	rm -rf "$(VENV)" "$(OLDER_VENV)" "$(AZURITE)"
