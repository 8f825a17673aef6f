.DEFAULT_GOAL := help
PYTHON ?= python3
EXPERT ?= simulated
ONLY ?= all
KILLS ?= 40
BACKBONE ?= efficientnet-b0
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
unexport PYTHONDONTWRITEBYTECODE   # each stage imports PyTorch, which takes twice as long without bytecode

.PHONY: help demo paper test test-fast fuzz check docs experiments bench chaos audit shared

help:           ## this list; every target sets up .venv first, and PYTHON names another interpreter than python3
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/:/' | awk -F: '{printf "%-14s%s\n", $$1, $$2}'

demo: .venv/installed            ## the whole loop on the embedded data set [EXPERT=human]
	lookaway demo --expert $(EXPERT)

paper: .venv/installed           ## the paper's protocol [ONLY=isic2017] [BACKBONE=efficientnet-b1] [EXPERT=human]
	lookaway paper --only $(ONLY) --backbone $(BACKBONE) --expert $(EXPERT)

# A core for each of two workers; a third works while these wait for servers and browsers.
test: check .venv/browser .venv/postgres   ## the whole test suite, ruff and mypy
	OMP_NUM_THREADS=1 python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-fast: .venv/installed-dev   ## the unit tests: no Label Studio, no browser, no `dvc repro`
	OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile -m "not labelstudio and not browser and not slow"

fuzz: .venv/installed-dev        ## 10,000 damaged or odd files that a user may have; a failure prints its case
	FUZZ_CASES=1700 OMP_NUM_THREADS=1 python -m pytest -n 2 --timeout 0 tests/fuzz

check: .venv/installed-dev       ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

docs: .venv/installed-docs       ## the site, in site/; every warning is an error
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict

experiments: .venv/installed     ## searches, arms, seeds and sweeps for docs/results: many hours; it resumes
	lookaway search
	lookaway experiments
	lookaway sweep

bench: .venv/browser             ## how fast and how exact: report/benchmarks.json
	lookaway bench

chaos: .venv/postgres .venv/faketime   ## a small run, disturbed at random moments of all stages: report/chaos.json [KILLS=40]
	PYTHONPATH=.:tests python tests/e2e/chaos.py --kills $(KILLS)

audit: .venv/installed-audit     ## known vulnerabilities and licences of all dependencies: a report only
	-.venv/audit/bin/pip-audit --path $$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	.venv/audit/bin/pip-licenses --python .venv/bin/python --order license

# DVC reads no .env: its settings go to .dvc/config.local, which Git ignores.
shared: .venv/installed-s3       ## the team's DVC remote, as .env names it (docs/scaling.md); once in each checkout
	set -a && . ./.env && dvc remote add --quiet --local --force --default shared "$${DVC_REMOTE:?is not in .env}" && \
	  dvc remote modify --local shared endpointurl "$${AWS_ENDPOINT_URL:?is not in .env}" && \
	  dvc remote modify --local shared access_key_id "$${AWS_ACCESS_KEY_ID:?is not in .env}" && \
	  dvc remote modify --local shared secret_access_key "$${AWS_SECRET_ACCESS_KEY:?is not in .env}"
	chmod 600 .dvc/config.local

.venv/bin/pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: this Python is older than 3.11. Fix: set PYTHON=…")'
	$(PYTHON) -m venv .venv

INSTALL := $(BIN)/python deploy/install.py

.venv/installed: .venv/bin/pip pyproject.toml constraints.txt
	@$(INSTALL) '.[local-server]'
	touch $@

.venv/installed-dev: .venv/bin/pip pyproject.toml constraints.txt
	@$(INSTALL) '.[dev]'
	touch .venv/installed .venv/installed-docs $@

.venv/installed-docs: .venv/installed
	@$(INSTALL) '.[docs]'
	touch $@

.venv/installed-s3: .venv/installed
	@$(INSTALL) '.[s3]'
	touch $@

# Its tools stay apart from the packages that they report on.
.venv/installed-audit: .venv/installed-dev
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/pip install --quiet --disable-pip-version-check pip-audit pip-licenses
	touch $@

# The browser tests drive Debian's chromium, or a chromium that is on the PATH.
.venv/browser: .venv/installed-dev
	command -v chromium || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }
	touch $@

# `make chaos` lets the clock jump by Debian's libfaketime.
.venv/faketime: .venv/installed-dev
	ls /usr/lib/*/faketime/libfaketime.so.1 2>/dev/null || \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends libfaketime; } || \
	  echo "no libfaketime: the clock will always be right"
	touch $@

# The production tests run Debian's PostgreSQL; without PostgreSQL they are skipped.
.venv/postgres: .venv/installed-dev
	ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null || command -v initdb || \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql; } || \
	  echo "no PostgreSQL: the production tests will be skipped"
	touch $@
