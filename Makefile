# Each target needs only python3 and make, and creates its own environment.
PYTHON ?= python3
EXPERIMENT ?= shear_layers
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test pytest soak reliability check bench clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

demo: $(VENV)/laptop  ## simulate, validate, train and evaluate; print the path of the report
	$(BIN)/python -m pipeline.chain experiment=$(EXPERIMENT)

test: $(VENV)/dev  ## run all checks and tests, in about 20 minutes on 2 cores
	$(MAKE) --jobs=2 check pytest

pytest: $(VENV)/dev  ## run all tests
	$(BIN)/python -m pytest --numprocesses=3

soak: $(VENV)/dev  ## run an hour of random input and randomly killed processes; print what was tried and lost
	$(BIN)/python -m pytest -m soak -rP

reliability: $(VENV)/dev  ## run the tests of faults, and write their table into docs/reliability.md
	$(BIN)/python -m pytest -m 'fault and not soak' -o junit_family=xunit1 --junitxml=.pytest_cache/faults.xml
	$(BIN)/python -m tests.reliability_table .pytest_cache/faults.xml

check: $(VENV)/dev  ## check formatting, lint rules, types and imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/bench  ## run the benchmarks against other codes and write docs/performance.md
	$(BIN)/python -m benchmarks

clean:  ## remove the environment and the caches; keep all runs
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(VENV)/laptop $(VENV)/dev $(VENV)/bench: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

$(VENV)/laptop: EXTRAS := laptop
$(VENV)/dev: EXTRAS := laptop,dev
$(VENV)/bench: EXTRAS := laptop,bench
