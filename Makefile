# Each target sets itself up from nothing but python3 and make.
PYTHON ?= python3
EXPERIMENT ?= heat_fno
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test check bench clean

help:  ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

demo: $(VENV)/laptop  ## simulate, validate, train, judge; ends with a report
	$(BIN)/python -m pipeline.chain experiment=$(EXPERIMENT)

test: check  ## all checks and tests
	$(BIN)/python -m pytest --numprocesses=2

check: $(VENV)/dev  ## format, lint, types, imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/bench  ## the measured claims, beside their peers
	$(BIN)/python -m benchmarks

clean:  ## remove the environment and caches, never a run
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(VENV)/laptop $(VENV)/dev $(VENV)/bench: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

$(VENV)/laptop: EXTRAS := laptop
$(VENV)/dev: EXTRAS := laptop,dev
$(VENV)/bench: EXTRAS := laptop,bench
