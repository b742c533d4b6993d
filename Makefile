# The front door. Needs make and Python 3.11 or later; everything else goes into .venv.
# Choose an interpreter with `make PYTHON=python3.13 …`, test processes with `make JOBS=4 …`.

VENV = .venv
BIN = $(VENV)/bin
JOBS ?= auto
SIZE ?= 100k
DB ?= postgres
FUZZ_SECONDS ?= 300
SCHEMA_SECONDS ?=

# Each stamp is renewed when pyproject.toml changed.
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

.PHONY: help demo serve test coverage e2e screenshots lint fuzz services-test chaos bench-search bench-ingest bench-tagging bench-backfill bench-admin dist-test docs messages openapi openapi-check schemathesis clients vendor tox clean

help:
	@echo "make demo           upload, tag and search real photos; ends by itself"
	@echo "make serve          the same project left running, with addresses and a login"
	@echo "make test           the test suite on SQLite; needs no service"
	@echo "make coverage       the same, and how much of the code it ran; takes twice as long"
	@echo "make e2e            the admin in a browser, with a real server, worker and Filestack emulator"
	@echo "make screenshots    the same, and renews the documents' pictures"
	@echo "make services-test  the suite on PostgreSQL and MariaDB, tasks on Redis and RabbitMQ"
	@echo "make chaos          kill workers, servers, brokers and databases, then count the rows"
	@echo "make bench-search   how fast searches are: SIZE=100k|1m, DB=postgres|sqlite|mariadb"
	@echo "make fuzz           the suite's property tests with ever new input: FUZZ_SECONDS=300"
	@echo "make bench-ingest   how many webhooks a second are stored and applied; needs PostgreSQL, Redis"
	@echo "make bench-tagging  how many files a worker has tagged a second, and at what cost; needs both"
	@echo "make messages       collect the words of the interface anew, and compile their translations"
	@echo "make vendor         fetch filestack-js from npm again; VERSION=4.3.9 takes another one"
	@echo "make bench-backfill  how much memory a backfill of a million assets takes; needs PostgreSQL"
	@echo "make bench-admin    how long the admin's pages take with 100,000 assets; needs PostgreSQL"
	@echo "make lint           style, types, import contracts, migrations, spelling"
	@echo "make dist-test      what would be published, installed elsewhere: the suite, the tutorial"
	@echo "make docs           the manual as HTML, every warning an error"
	@echo "make openapi        renew docs/openapi.yaml, the schema of the REST API"
	@echo "make openapi-check  whether it is what the views say"
	@echo "make schemathesis   the API against that schema, as three users; SCHEMA_SECONDS=600 runs longer"
	@echo "make clients        generate clients from the schema, and have them ask the API; needs npm and node"
	@echo "make tox            the suite on every Python and Django present"
	@echo "make clean          remove .venv and everything that was generated"

demo: $(BASE)
	@$(BIN)/python example_project/manage.py demo

serve: $(BASE)
	@$(BIN)/python example_project/manage.py demo --serve

test: $(DEV)
	$(BIN)/python -m pytest -n $(JOBS) -m "not services"
	$(BIN)/python -m pytest tests/example --ds example_project.settings

coverage: $(DEV)
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -n $(JOBS) -m "not services"
	$(BIN)/python -m coverage run -m pytest tests/example --ds example_project.settings
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --fail-under=95

# TESTS="-k login" runs a part; SCREENSHOTS=folder keeps pictures of all screens.
e2e: $(E2E)
	SCREENSHOTS=$(SCREENSHOTS) $(BIN)/python -m pytest tests/e2e --ds tests.e2e.settings -n $(JOBS) $(TESTS)
	$(if $(TESTS),,SCREENSHOTS=$(SCREENSHOTS) $(BIN)/python -m pytest tests/e2e/test_unfold.py --ds tests.e2e.unfold_settings)

screenshots:
	@$(MAKE) e2e SCREENSHOTS=docs/images

services-test: $(SERVICES)
	$(BIN)/python -m tests.services -n $(JOBS)

fuzz: $(DEV)
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

# Linux, PostgreSQL's server programs, redis-server and rabbitmqctl: ten minutes. CHAOS=--help tells more.
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

# MariaDB's driver is compiled, so it is installed only where it is asked for.
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

# Needs GNU gettext. What is new or changed has to be translated in the .po files by hand.
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

# An existing .venv is kept. The loop tries the names a Python is usually installed under.
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
	echo "No Python 3.11 or later found. Install one, or name it: make PYTHON=/path/to/python3" >&2; \
	exit 1

# pip reads dependency groups from 25.1 on.
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
	@echo "Installing what the tests and the lint run need …"
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

# Debian's Chromium, unless there is one; CHROMIUM says where another is.
$(E2E): $(DEV)
	@echo "Installing what drives the browser …"
	@$(PIP_INSTALL) --group e2e
	@[ -n "$$CHROMIUM" ] || command -v chromium >/dev/null || \
	command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	    --no-install-recommends chromium fonts-dejavu-core >/dev/null; } || { \
	  echo "The browser tests need Chromium: install it (on Debian: apt-get install chromium)," >&2; \
	  echo "or say where it is: make e2e CHROMIUM=/path/to/chromium" >&2; exit 1; }
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
