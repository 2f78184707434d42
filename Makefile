# make demo   sets up .venv and runs the main job on rendered scenes (5 minutes on 2 cores after set-up)
# make test   sets up .venv and runs linters and tests
# Needs Python 3.11+, make and g++; everything else is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
KERNELS := CMakeLists.txt kernels/CMakeLists.txt $(wildcard kernels/*.* kernels/core/*.* kernels/core/*/*.* kernels/isa/*.*)

.PHONY: demo demo-quick test lint docs clean

demo: $(VENV)/.train
	$(BIN)/wutdet demo
	@echo "wutdet is $(BIN)/wutdet; '. $(BIN)/activate' puts it on the PATH"

demo-quick: $(VENV)/.train
	$(BIN)/wutdet demo --quick

test: $(VENV)/.dev lint
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "wutdet needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Editable, so that a change in wutdet/ needs no new install; a change in kernels/ or pyproject.toml does.
$(VENV)/.train: $(VENV)/bin/python pyproject.toml $(KERNELS)
	$(BIN)/python -m pip install --quiet -e '.[train]'
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml $(KERNELS)
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@touch $@ $(VENV)/.train

clean:
	rm -rf $(VENV) build runs .pytest_cache .ruff_cache

docs: $(VENV)/.dev
	$(BIN)/python docs/generate_cli_reference.py
