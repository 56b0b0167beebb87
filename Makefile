# Every target first makes .venv; nothing is needed but Python >= 3.11 and make. Python's own pip installs a pinned uv,
# and uv the locked packages. Packages are not resolved again, so a release made after the lock cannot break the set-up.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14; do \
	$$p --version >/dev/null 2>&1 && echo $$p && exit; done; echo python3)
BIN := .venv/bin
RUN := .venv/.run
DEV := .venv/.dev
SITE := .venv/.docs
LOCKED := --quiet --no-deps --require-hashes --only-binary :all:
COMPILE := $(BIN)/uv --no-config pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-header --no-emit-index-url

# Python then keeps its compiled files: without them a run takes more than twice as long.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help run test lint bench docs examples screenshots golden lock clean

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

$(RUN): requirements-installer.lock requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=...") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install $(LOCKED) --disable-pip-version-check --requirement requirements-installer.lock
	$(call install,requirements.lock)
	@touch $@

$(DEV): $(RUN) requirements-dev.lock pyproject.toml
	$(call install,requirements-dev.lock)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@$(BIN)/uv pip check --quiet --python $(BIN)/python
	@touch $@

$(SITE): $(DEV) requirements-docs.lock
	$(call install,requirements-docs.lock)
	@touch $@

# If uv fails, for example because only pip is configured for a mirror, pip installs the same lock more slowly.
define install
@echo "Installing $(1) into .venv"
@$(BIN)/uv pip install --python $(BIN)/python --system-certs $(LOCKED) --requirement $(1) || \
	$(BIN)/python -m pip install $(LOCKED) --disable-pip-version-check --requirement $(1)
endef

run: $(RUN) ## Plan and execute the committed sample; say where the results are
	$(BIN)/python -m phase19 --input outputs/phase18

test: $(DEV) ## All tests, with coverage
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term $(ARGS)

lint: $(DEV) ## Style, types, layers and SQL
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/sqlfluff lint --processes 2 sql

bench: $(DEV) ## All benchmarks, with their aims
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(SITE) ## Build the documentation site in site/, and check its links
	$(BIN)/python docs/build_site.py

examples: $(DEV) ## Run every example in the docs and update the output they show
	$(BIN)/python -m pytest --quiet --update-golden tests/test_docs.py tests/test_reference.py

screenshots: $(DEV) ## Take the screenshots of the report in docs/images; needs Chromium
	CI=true $(BIN)/python -m pytest --quiet tests/browser/screenshots.py

golden: $(DEV) ## Update the expected outputs in tests/golden; read the diff
	$(BIN)/python -m pytest --quiet --update-golden
	git diff --stat -- tests/golden

lock: $(RUN) ## Lock the newest versions that pyproject.toml allows, with their hashes
	$(COMPILE) --upgrade --group installer --output-file requirements-installer.lock
	$(COMPILE) --upgrade pyproject.toml --group dev --output-file requirements-dev.lock
	$(COMPILE) --upgrade --group docs --constraint requirements-dev.lock --output-file requirements-docs.lock
	$(COMPILE) pyproject.toml --constraint requirements-dev.lock --output-file requirements.lock

clean: ## Remove everything that the targets made
	rm -rf .venv dist site htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
