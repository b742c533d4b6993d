# Needs make and Python 3.11 or later; everything else is installed into .venv.
# Select an interpreter with `make PYTHON=python3.13 …`, the number of test processes with `make JOBS=4 …`.

VENV = .venv
BIN = $(VENV)/bin
JOBS ?= auto
SIZE ?= 100k
DB ?= postgres
FUZZ_SECONDS ?= 300
SCHEMA_SECONDS ?=

# Each stamp is updated when pyproject.toml changes.
BASE = $(VENV)/.ready-base
DEV = $(VENV)/.ready-dev
SERVICES = $(VENV)/.ready-services
BENCH = $(VENV)/.ready-bench
E2E = $(VENV)/.ready-e2e
DOCS = $(VENV)/.ready-docs
DIST = $(VENV)/.ready-dist
SCHEMA = $(VENV)/.ready-schema
TOX = $(VENV)/.ready-tox

PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help demo serve test test-all coverage e2e screenshots lint fuzz services-test chaos bench-search bench-ingest bench-tagging bench-backfill bench-admin bench-jobs dist-test docs messages openapi openapi-check schemathesis clients vendor tox clean

help:
	@echo "make demo           upload, tag and search real photos; stops automatically"
	@echo "make serve          the same project, kept running, with URLs and a login"
	@echo "make test           the test suite on SQLite; needs no services"
	@echo "make test-all       the same with the slow tests: memory, deadlines, servers, hosts"
	@echo "make coverage       all tests with branch coverage; takes twice as long"
	@echo "make e2e            the admin in a browser, with a real server, worker and Filestack emulator"
	@echo "make screenshots    the same, and update the pictures of the manual"
	@echo "make services-test  the database tests on PostgreSQL and MariaDB, workers on Redis and RabbitMQ"
	@echo "make chaos          kill workers, servers, brokers and databases, then count the rows"
	@echo "make bench-search   measure searches: SIZE=100k|1m, DB=postgres|sqlite|mariadb"
	@echo "make fuzz           the suite's property tests with new input: FUZZ_SECONDS=300"
	@echo "make bench-ingest   measure webhooks stored and applied a second; needs PostgreSQL and Redis"
	@echo "make bench-tagging  measure files tagged a second by a worker, and their cost; needs both"
	@echo "make messages       extract the texts of the interface, and compile the translations"
	@echo "make vendor         download filestack-js from npm and compare it; VERSION=4.3.9 installs another"
	@echo "make bench-backfill  measure the memory of a backfill of a million assets; needs PostgreSQL"
	@echo "make bench-admin    measure the admin's pages with 100,000 assets; needs PostgreSQL"
	@echo "make bench-jobs     measure assets changed a second by bulk jobs and merges; needs PostgreSQL"
	@echo "make lint           style, types, import contracts, migrations, spelling"
	@echo "make dist-test      the contents of the wheel, and a part of the suite and the tutorial with it"
	@echo "make docs           the manual as HTML; warnings are errors"
	@echo "make openapi        generate docs/openapi.yaml, the schema of the REST API"
	@echo "make openapi-check  compare it with the views"
	@echo "make schemathesis   the API against that schema, as three users; SCHEMA_SECONDS=600 runs longer"
	@echo "make clients        generate clients from the schema, and call the API with them; needs npm and node"
	@echo "make tox            the quick tests on every installed Python and Django, and the linters"
	@echo "make clean          remove .venv and all generated files"

demo: $(BASE)
	@$(BIN)/python example_project/manage.py demo

serve: $(BASE)
	@$(BIN)/python example_project/manage.py demo --serve

test: $(DEV)
	$(BIN)/python -m pytest -n $(JOBS) -m "not services and not slow"
	$(BIN)/python -m pytest tests/example --ds example_project.settings

test-all: $(DEV)
	$(BIN)/python -m pytest -n $(JOBS) -m "not services"
	$(BIN)/python -m pytest tests/example --ds example_project.settings

coverage: $(DEV)
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -n $(JOBS) -m "not services"
	$(BIN)/python -m coverage run -m pytest tests/example --ds example_project.settings
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --fail-under=95

# TESTS="-k login" runs a part; SCREENSHOTS=folder stores screenshots of all pages.
e2e: $(E2E)
	SCREENSHOTS=$(SCREENSHOTS) $(BIN)/python -m pytest tests/e2e --ds tests.e2e.settings -n $(JOBS) $(TESTS)
	$(if $(TESTS),,SCREENSHOTS=$(SCREENSHOTS) $(BIN)/python -m pytest tests/e2e/test_unfold.py --ds tests.e2e.unfold_settings)

screenshots:
	@$(MAKE) e2e SCREENSHOTS=docs/images

services-test: $(SERVICES)
	$(BIN)/python -m tests.services -n $(JOBS)

fuzz: $(DEV)
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

# Needs Linux, PostgreSQL's server programs, redis-server and rabbitmqctl; takes ten minutes. CHAOS=--help lists the options.
chaos: $(SERVICES)
	$(BIN)/python -m tests.chaos $(CHAOS)

docs: $(DOCS)
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --builder html docs build/docs
	@echo "The manual is in build/docs/index.html."

SPECTACULAR = $(BIN)/python -m django spectacular --settings tests.schema.settings --pythonpath . \
	  --validate --fail-on-warn

openapi: $(DEV)
	$(SPECTACULAR) --file docs/openapi.yaml

openapi-check: $(DEV)
	@mkdir -p build
	$(SPECTACULAR) --file build/openapi.yaml
	diff -u docs/openapi.yaml build/openapi.yaml

schemathesis: $(SCHEMA)
	$(BIN)/python -m tests.schema $(if $(SCHEMA_SECONDS),--seconds $(SCHEMA_SECONDS)) -- $(SCHEMATHESIS)

clients: $(SCHEMA)
	$(BIN)/python -m tests.schema.clients

dist-test: $(DIST)
	$(BIN)/python -m pytest tests/dist

lint: $(DEV)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m django makemigrations --check --dry-run --settings tests.settings --pythonpath .
	$(BIN)/codespell

# MariaDB's driver is compiled, so it is installed only for DB=mariadb.
bench-search: $(BENCH) $(if $(filter mariadb,$(DB)),$(SERVICES))
	$(BIN)/python -m benchmarks.search --size $(SIZE) --db $(DB)

bench-ingest: $(BENCH)
	$(BIN)/python -m benchmarks.ingest

bench-tagging: $(BENCH)
	$(BIN)/python -m benchmarks.tagging

bench-backfill: $(BENCH)
	$(BIN)/python -m benchmarks.backfill

bench-admin: $(BENCH)
	$(BIN)/python -m benchmarks.admin

bench-jobs: $(BENCH)
	$(BIN)/python -m benchmarks.jobs --write

# Needs GNU gettext. Translate new and changed texts in the .po files by hand.
messages: $(DEV)
	cd filestack_tags && ../$(BIN)/python -m django makemessages --locale de --locale es --no-obsolete --no-wrap --add-location file
	cd filestack_tags && ../$(BIN)/python -m django compilemessages

vendor: $(BASE)
	@$(BIN)/python -m tests.vendor $(VERSION)

tox: $(TOX)
	UV_PYTHON_DOWNLOADS=never $(BIN)/python -m tox

clean:
	rm -rf $(VENV) var dist build .tox .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	rm -rf *.egg-info .coverage .coverage.*

# An existing .venv is kept. The loop tries the usual names of Python executables.
$(BIN)/python:
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "$$python cannot make virtual environments: install its venv module" >&2; \
	    echo "(on Debian and Ubuntu: apt-get install python3-venv)." >&2; exit 1; \
	  fi; \
	  echo "Making $(VENV) with `$$python --version` …"; \
	  "$$python" -m venv $(VENV) && exit 0 || exit 1; \
	done; \
	echo "No Python 3.11 or later found. Install one, or set its path: make PYTHON=/path/to/python3" >&2; \
	exit 1

# pip supports dependency groups since 25.1.
$(BASE): pyproject.toml | $(BIN)/python
	@echo "Installing the package …"
	@$(PIP_INSTALL) --upgrade 'pip>=25.1'
	@$(PIP_INSTALL) --editable .
	@$(PIP_INSTALL) --editable '.[local]' || { \
	  echo "The local tagger cannot be installed here: its libraries have no build for" >&2; \
	  echo "this platform. Everything else works without it (pip install -e .), but the" >&2; \
	  echo "demo and the tests tag real pictures with it." >&2; exit 1; }
	@echo done > $@

$(DEV): $(BASE)
	@echo "Installing the dependencies of the tests and the linters …"
	@$(PIP_INSTALL) --group dev
	@echo done > $@

$(SERVICES): $(DEV)
	@echo "Installing the database drivers …"
	@$(PIP_INSTALL) --group services || { \
	  echo "mysqlclient is compiled: it needs a C compiler, pkg-config and the MariaDB" >&2; \
	  echo "client headers (on Debian: apt-get install gcc pkg-config libmariadb-dev)." >&2; \
	  exit 1; }
	@echo done > $@

$(BENCH): $(DEV)
	@$(PIP_INSTALL) --group bench
	@echo done > $@

# Installs Debian's Chromium unless a browser is found; CHROMIUM is the path of another one.
$(E2E): $(DEV)
	@echo "Installing the browser driver …"
	@$(PIP_INSTALL) --group e2e
	@[ -n "$$CHROMIUM" ] || command -v /usr/lib/chromium/chromium-headless-shell >/dev/null || command -v chromium >/dev/null || \
	command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	    --no-install-recommends chromium fonts-dejavu-core >/dev/null; } || { \
	  echo "The browser tests need Chromium: install it (on Debian: apt-get install chromium)," >&2; \
	  echo "or set its path: make e2e CHROMIUM=/path/to/chromium" >&2; exit 1; }
	@echo done > $@

$(DOCS): $(DEV)
	@$(PIP_INSTALL) --group docs
	@echo done > $@

$(DIST): $(DEV)
	@$(PIP_INSTALL) --group dist
	@echo done > $@

$(SCHEMA): $(DEV)
	@$(PIP_INSTALL) --group schema
	@echo done > $@

$(TOX): $(DEV)
	@$(PIP_INSTALL) --group tox
	@echo done > $@
