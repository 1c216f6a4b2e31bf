# What a user runs: `make demo` and `make test`. Both install what they need into .venv, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Twice the cores: half of the tests wait, for a broker or for a clock.
JOBS ?= $(shell echo $$((2 * $$(nproc 2>/dev/null || echo 2))))
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: setup demo test lint types unit wheel faults bench clean

## A complete development environment in .venv
setup: $(VENV)/.development

$(VENV)/.python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "leveler needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade "pip>=25.1"  # the first that reads dependency groups
	touch $@

$(VENV)/.product: $(VENV)/.python pyproject.toml
	$(PIP) install --editable .
	touch $@

$(VENV)/.development: $(VENV)/.product pyproject.toml
	$(PIP) install --group dev
	touch $@

## Watch a burst being levelled
demo: $(VENV)/.product
	$(BIN)/leveler demo

## Everything that must pass: lint, types, tests, the wheel
test: lint types unit wheel

lint: $(VENV)/.development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.development
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

unit: $(VENV)/.development
	$(BIN)/pytest -n $(JOBS) --dist worksteal $(if $(CI),--every-adapter)

## The same core tests against the built wheel, as users get it
wheel: $(VENV)/.development
	$(BIN)/tox run --quiet -e wheel

## Real processes under real faults, on every broker or ONLY=redis; the better part of an hour
FAULTS_sqlite := --messages 100000 --faults 100 --killers 10 --seed 1 --seed 2 --seed 3
FAULTS_rabbitmq := --messages 50000 --faults 72 --killers 4 --seed 1
FAULTS_redis := --messages 50000 --faults 72 --killers 4 --seed 1
FAULTS_sqs := --messages 20000 --faults 40 --killers 2 --seed 1
FAULTS_cloudtasks := --messages 5000 --faults 50 --killers 2 --seed 1
FAULTS_servicebus := --messages 10000 --faults 40 --killers 2 --seed 1
FAULTS_storagequeue := --messages 10000 --faults 40 --killers 2 --seed 1
# ... and workers that have one rate together, which the broker keeps
FAULTS_sqlite-fleet := --messages 20000 --faults 40 --seed 1 --fleet-rate 400
FAULTS_redis-fleet := --messages 20000 --faults 40 --seed 1 --fleet-rate 400
faults: $(VENV)/.development
	@$(foreach broker,$(or $(ONLY),sqlite sqlite-fleet rabbitmq redis redis-fleet sqs cloudtasks servicebus storagequeue), \
		$(BIN)/python -m tests.faults $(broker:-fleet=) $(FAULTS_$(broker)) --json build/faults-$(broker).json || failed=1;) \
		exit $${failed:-0}

## How near to the raw limits, all suites or ONLY=sqlite; minutes, and on a quiet machine
bench: $(VENV)/.development
	$(BIN)/python -m tests.benchmarks $(ONLY)

clean:
	rm -rf $(VENV) .tox build dist .mypy_cache .ruff_cache .pytest_cache
