# The two commands of this project: `make demo` and `make test`.

CARGO ?= cargo
VENV  := .venv
ARGS  ?=

# With cargo-nextest the tests share the cores better; without it the same tests run.
ifneq ($(shell $(CARGO) nextest --version 2>/dev/null),)
RUN_TESTS = $(CARGO) nextest run --workspace --locked --no-fail-fast
else
RUN_TESTS = $(CARGO) test --workspace --locked --no-fail-fast --lib --bins --tests
endif

# Where the tests leave what they issued, for the judge.
ISSUED := $(shell realpath --canonicalize-missing "$(or $(CARGO_TARGET_DIR),target)/issued-certificates")

# Stdout belongs to the demo.
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help demo test

help: ## Show this text
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## Watch certificates rotate under load; ARGS='--duration 20s --json'
	@$(CARGO) build --locked --workspace --bins >&2
	@$(CARGO) run --locked --quiet --package countersign-tests --bin countersign-demo -- $(ARGS)

test: $(VENV)/.installed ## Run every test, after installing what the tests need
	$(CARGO) build --locked --workspace --bins
	rm -rf "$(ISSUED)"
	COUNTERSIGN_ISSUED="$(ISSUED)" $(RUN_TESTS)
	$(CARGO) test --workspace --locked --doc
	$(VENV)/bin/python tests/judge.py "$(ISSUED)"

$(VENV)/.installed: tests/requirements.txt tests/setup.sh
	@tests/setup.sh $(VENV)
