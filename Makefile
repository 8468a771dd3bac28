.DEFAULT_GOAL := help
VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
RUN = PYTHONPATH=src $(BIN)/

.PHONY: help
help: ## Show the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: requirements/dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	touch $@

.PHONY: format
format: $(VENV)/.ready ## Format and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: check
check: $(VENV)/.ready ## Format, lint, types, import contracts, architecture tests (fast)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(RUN)mypy
	$(RUN)lint-imports
	$(RUN)pytest -q tests/architecture
