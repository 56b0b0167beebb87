# Everything runs in .venv, made on first use from requirements.lock; nothing else is assumed but Python >= 3.11.
PYTHON ?= $(shell command -v python3.11 || echo python3)
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help run test lint bench docs golden lock clean

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=...") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q phase19 # also where PYTHONDONTWRITEBYTECODE is set: a run starts 0.1 s sooner
	@touch $@

run: $(READY) ## Optimise the committed sample and say where the results are
	$(BIN)/python -m phase19 --input outputs/phase18

test: $(READY) ## All tests, with coverage
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term $(ARGS)

lint: $(READY) ## Style, types and SQL
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/sqlfluff lint --processes 2 sql

bench: $(READY) ## The benchmarks, with the numbers they are held to
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(READY) ## Run every example in the docs, and rewrite what they copy from the program
	$(BIN)/python -m pytest --quiet --update-golden tests/test_docs.py

golden: $(READY) ## Accept changed goldens; read the diff
	$(BIN)/python -m pytest --quiet --update-golden
	git diff --stat -- tests/golden

lock: ## Lock the newest versions that pyproject.toml allows, with their hashes
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet --disable-pip-version-check uv
	.venv-lock/bin/uv --no-config pip compile pyproject.toml --group dev --universal --python-version 3.11 \
		--fork-strategy fewest --generate-hashes --no-header --no-emit-index-url --upgrade --quiet -o requirements.lock
	rm -r .venv-lock

clean: ## Remove what the targets made
	rm -rf .venv .venv-lock dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
