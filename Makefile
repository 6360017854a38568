# Everything a developer does here. `make help` lists it. Needs make and Python 3.11 or newer, nothing else.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help install demo test check format bench crash fuzz clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## make .venv with flowctl and what its development needs
	@echo "flowctl is installed: $(BIN)/flowctl --help"

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("flowctl needs Python 3.11 or newer; say which: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "installing flowctl into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(STAMP) ## the whole story in under a minute: files, mails, reasons
	@$(BIN)/python demo

test: $(STAMP) ## all tests
	@$(BIN)/python -m pytest -n 2 -q

check: $(STAMP) ## format, lint, types, import contracts, docs in step
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python docs/generate.py --check

format: $(STAMP) ## format, mend what can be mended, write the generated docs
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python docs/generate.py

bench: $(STAMP) ## measure against the raw limits: NAME RATIO GOAL; exit 1 where one falls short
	@$(BIN)/python -m bench

crash: $(STAMP) ## the crash tests at length: kill -9 at named and at random points
	@FLOWCTL_CRASH_ROUNDS=200 $(BIN)/python -m pytest -q tests/crash

fuzz: $(STAMP) ## lint against 100,000 mutated files; FILES=2000 SEED=7 for others
	@$(BIN)/python tests/lint/fuzzing.py --files $(or $(FILES),100000) --seed $(or $(SEED),1)

clean: ## take away what the targets above made, the demo too; stores of yours stay
	rm -rf .demo .venv-ci .mypy_cache .ruff_cache .hypothesis bench/.data
