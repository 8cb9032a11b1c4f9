PYTHON ?= python3
BIN := .venv/bin
DEMO := examples/dusk.png
PROMPT := a red striped quadruped

.PHONY: demo eval test check build

demo: .venv/installed
	mkdir -p out
	$(BIN)/slip segment $(DEMO) "$(PROMPT)" --preset tiny --overlay -o out --overwrite
	@echo "Look at out/dusk.overlay.png"

eval: .venv/installed
	mkdir -p out
	$(BIN)/slip eval critters -o out/eval-critters
	@echo "Look at out/eval-critters/report.html"

test: .venv/installed-for-tests
	$(BIN)/python -m pytest

check: .venv/installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

build: .venv/installed-for-tests
	$(BIN)/python -m build

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -e .
	touch $@

.venv/installed-for-tests: .venv/installed
	$(BIN)/python -m pip install --quiet -e ".[test]"
	touch $@
