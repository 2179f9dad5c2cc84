# make install | run | test | verify | bench | screenshots | docs | sbom | lock
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
OTHER := .venv-healthchain
LOCKS := requirements.lock requirements-dev.lock requirements-spark.lock

.PHONY: install install-dev install-spark run lock test check verify bench bench-healthchain screenshots system-packages docs sbom

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	touch $@

# Spark is large (about 450 MB): only where its tests and benchmarks run.
$(VENV)/.installed-spark: requirements-spark.lock $(VENV)/.installed-dev
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-spark.lock
	touch $@

install: $(VENV)/.installed
install-spark: $(VENV)/.installed-spark
install-dev: $(VENV)/.installed-dev

# What Debian and Ubuntu call the browser, the database and the proxy that tests use. CI runs it; on your own
# machine, tests that need one of these say so and are skipped without it.
system-packages:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		for p in chromium postgresql nginx-light; do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
		[ -z "$$missing" ] || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; }; \
	fi

test: install-dev check
	$(BIN)/pytest -n 2 --dist loadgroup -q -m "not verify"

check: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/cds-service policy lint cards
	$(BIN)/cds-service policy test cards

# What is too long for `make test`: kills, large fuzzes, mutation, soak, a million orders. Results go to benchmarks/.
verify: install-dev install-spark
	$(BIN)/pytest -q -m verify
	$(BIN)/python benchmarks/crd_mutations.py
	$(BIN)/python benchmarks/mutation.py --jobs 2
	$(BIN)/python benchmarks/soak.py
	$(BIN)/python benchmarks/replay.py

# What the service is compared with has pins of its own, hence an environment of its own; the benchmark says so and
# goes on without it where it cannot be installed.
$(OTHER)/.installed: benchmarks/healthchain.lock
	rm -rf $(OTHER)
	$(PYTHON) -m venv $(OTHER)
	$(OTHER)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

bench-healthchain: $(OTHER)/.installed

bench: install-dev
	@$(MAKE) --no-print-directory bench-healthchain || rm -rf $(OTHER)
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/journey.py

screenshots: install-dev
	$(BIN)/python benchmarks/screenshots.py

# Pages that are made from the code; tests hold them in step.
docs: install-dev
	$(BIN)/cds-service policy schema
	$(BIN)/python tests/spec/spec_render.py
	$(BIN)/python tests/crd/make_docs.py
	$(BIN)/python tests/docs/readme_answer.py

# The software bill of materials of what is installed to run the service (needs the package index once).
sbom: install-dev
	$(BIN)/uv tool run --from cyclonedx-bom==7.5.0 cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --of JSON -o sbom.cdx.json

run: install
	$(BIN)/cds-service serve --demo --port $(PORT)

# Lock files are universal (Python 3.11 and later) and name no index.
lock: install-dev
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --quiet \
		--group build --output-file requirements.lock pyproject.toml
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --quiet \
		--group dev --extra postgresql --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --quiet \
		--extra spark --constraint requirements.lock --output-file requirements-spark.lock pyproject.toml
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
		--output-file benchmarks/healthchain.lock benchmarks/healthchain.in
