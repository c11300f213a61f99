# Each target makes .venv and installs what is missing; the second time that takes no time.
# Another Python for a new .venv: make test PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
# One more than two cores have to do: tests wait for browsers, processes and disks.
BESIDE := -n 3 --dist loadfile --no-loadscope-reorder
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e

.DELETE_ON_ERROR:
.PHONY: demo test test-slow notebooks check format

demo: .venv/.demo
	$(BIN)/python -m demo

test: .venv/.dev
	$(BIN)/python -m pytest $(BESIDE)

test-slow: .venv/.dev
	$(BIN)/python -m pytest -m slow --timeout 3600 $(BESIDE)

# Runs every notebook and keeps what it printed: the committed outputs are made this way.
notebooks: .venv/.dev
	$(BIN)/python -m pytest --nbmake --overwrite --nbmake-timeout 3600 --timeout 0 notebooks
	$(BIN)/jupyter nbconvert --log-level ERROR --inplace --ClearMetadataPreprocessor.enabled=True --ClearMetadataPreprocessor.clear_notebook_metadata=False notebooks/*.ipynb # hours of the clock

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) ".[demo,offline]"
	touch $@

# `dev` contains the other extras, so the demo needs no installation of its own after it.
.venv/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) ".[dev]"
	touch .venv/.demo $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit(f"Python {sys.version.split()[0]} found, 3.11 or newer needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
