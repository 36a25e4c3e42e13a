# The commands of this project, `make demo` and `make test` first; how it is installed is in deploy/install.mk.

CARGO ?= cargo
VENV   := .venv
ARGS   ?=

TARGET := $(shell realpath --canonicalize-missing "$(or $(CARGO_TARGET_DIR),target)")

# Stdout belongs to the demo.
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help demo test simulate mutants reference

help: ## Show this text
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## Watch certificates rotate under load; ARGS='--duration 20s --json'
	@echo "building: the first time it takes some minutes" >&2
	@$(CARGO) build --locked --workspace --bins >&2
	@"$(TARGET)/debug/countersign-demo" --report "$(TARGET)/demo.html" $(ARGS)

test: $(VENV)/.installed ## Run every test, after installing what the tests need
	@CARGO="$(CARGO)" tests/run.sh "$(TARGET)" "$(VENV)/bin/python"

simulate: ## Run both daemons on a machine that a seed owns; SEED=n or SEEDS=n
	@$(CARGO) test --locked --quiet --package countersign-simulation --test simulation -- \
		$(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),20) --from $(or $(FROM),1))

mutants: ## Plant mistakes in a copy of the sources; each has to be found under some seed
	@$(CARGO) test --locked --quiet --package countersign-simulation --test simulation -- --mutants

reference: ## Write docs/reference again from the code
	COUNTERSIGN_BLESS=1 $(CARGO) test --locked --quiet --package countersign-control-plane --package countersign-sidecar \
		--package countersign-tests --lib reference::

$(VENV)/.installed: tests/requirements.txt tests/setup.sh tests/upgrade/RELEASED tests/upgrade/fetch.sh
	@CARGO="$(CARGO)" tests/setup.sh $(VENV)

include deploy/install.mk
