# `make audit` and `make test` are each enough as a first command on a machine that has
# Python 3.11 or newer and make: the environment is made inside the checkout.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKDIR ?= runs/quickstart

.PHONY: audit test test-slow check docs clean
audit: $(VENV)/installed
	$(BIN)/python launch.py audit --config=configs/quickstart.py --workdir=$(WORKDIR)

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal --slow

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyrefly check

docs: $(VENV)/installed-dev
	$(BIN)/python docs/reference.py
	$(BIN)/python docs/pitfalls.py

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "score_mia needs Python 3.11 or newer; try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/installed: $(VENV)/python setup.py constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/python setup.py constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) build dist *.egg-info
