# `make check` is what a change must pass; `make` alone says what else there is.
PYTHON ?= python

.PHONY: help check format format-check lint types layering test test-v3 golden bench fuzz fuzz-programs fuzz-views fuzz-traces foreign stress
.PHONY: docs clean

help:
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

check: format-check lint types layering test ## everything below that must pass

format: ## rewrite the sources in the house format
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix --select I .

format-check: ## fail where `make format` would change something
	$(PYTHON) -m ruff format --check .

lint: ## ruff's rules
	$(PYTHON) -m ruff check .

types: ## mypy, strict
	$(PYTHON) -m mypy

layering: ## imports point downward only
	lint-imports --no-logo

test: ## tests and doctests (the four checks above run once, not again inside pytest)
	$(PYTHON) -m pytest -m "not house"

test-v3: ## the suite, compiled for a CPU without AVX-512
	TENSORJIT_TARGET=x86-64-v3 $(PYTHON) -m pytest -m "not house"

golden: ## rewrite the golden files; read the diff before you commit it
	$(PYTHON) -m pytest -m "not house" --update-golden

bench: ## every benchmark, losses first
	$(PYTHON) -m bench

fuzz: ## the hypothesis tests, many more examples
	HYPOTHESIS_PROFILE=fuzz $(PYTHON) -m pytest -m "not house" -k "hypothesis or fuzz"

fuzz-programs: ## COUNT random programs whose variables change their types, from number FIRST on
	TENSORJIT_PROGRAMS=$(or $(COUNT),3000) TENSORJIT_PROGRAMS_FIRST=$(or $(FIRST),16) $(PYTHON) -m pytest tests/system/test_control_fuzz.py

fuzz-views: ## COUNT random programs over views of one buffer, 80 calls each, from number FIRST on
	$(PYTHON) -X faulthandler -m tests.system.fuzz_views --programs $(or $(COUNT),1500) --calls 80 --first $(or $(FIRST),100)

fuzz-traces: ## COUNT random programs with Python around their operations, traced, from number FIRST on
	TENSORJIT_TRACES=$(or $(COUNT),2000) TENSORJIT_TRACES_FIRST=$(or $(FIRST),12) $(PYTHON) -m pytest tests/system/test_trace_fuzz.py

foreign: ## NumPy's and numba's own tests, every call compared (hours; tests/foreign/README.md)
	nice $(PYTHON) -m tests.foreign.run

stress: ## threads that call, compile, evict and clear, for a minute
	$(PYTHON) -W ignore tests/system/thread_stress.py 60

docs: ## the documentation site, into site/
	$(PYTHON) -m mkdocs build --strict

clean: ## remove what building and testing left behind
	rm -rf build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage*
