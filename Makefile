# make demo [EXPERT=human]   the whole loop on the embedded data set
# make test                  the test suite          make check   ruff and mypy
# make paper [ONLY=isic2017] [BACKBONE=efficientnet-b1] [EXPERT=human]   the paper's protocol; ONLY: a data set or
#                            a scenario of params/paper.yaml
# make experiments           searches, arms, seeds and sweeps for docs/results.md: many hours, which it states; goes on
#                            where it was
# make bench                 what is fast, and how fast: report/benchmarks.json
# make shared                the team's DVC remote, as .env has it (docs/scaling.md); once in each checkout
# All of them set up .venv first; PYTHON names another interpreter than python3.

PYTHON ?= python3
EXPERT ?= simulated
ONLY ?= all
BACKBONE ?= efficientnet-b0
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
unexport PYTHONDONTWRITEBYTECODE   # each stage imports PyTorch, which takes twice as long without its bytecode

.PHONY: demo paper test check experiments bench shared

demo: .venv/installed
	python -m pipeline.demo --expert $(EXPERT)

paper: .venv/installed
	python -m pipeline.paper --only $(ONLY) --backbone $(BACKBONE) --expert $(EXPERT)

test: check .venv/browser .venv/postgres
	OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile --no-loadscope-reorder   # a core each

check: .venv/installed-dev
	ruff check .
	ruff format --check .
	mypy

experiments: .venv/installed
	python -m pipeline.experiments.search
	python -m pipeline.experiments
	python -m pipeline.experiments.sweep

bench: .venv/browser
	python -m pipeline.bench

# DVC reads no .env: what it needs of it goes to .dvc/config.local, which Git ignores.
shared: .venv/installed-s3
	set -a && . ./.env && dvc remote add --quiet --local --force --default shared "$${DVC_REMOTE:?is not in .env}" && \
	  dvc remote modify --local shared endpointurl "$${AWS_ENDPOINT_URL:?is not in .env}" && \
	  dvc remote modify --local shared access_key_id "$${AWS_ACCESS_KEY_ID:?is not in .env}" && \
	  dvc remote modify --local shared secret_access_key "$${AWS_SECRET_ACCESS_KEY:?is not in .env}"
	chmod 600 .dvc/config.local

.venv/bin/pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "error: Python 3.10 or newer is needed; set PYTHON=...")'
	$(PYTHON) -m venv .venv

# Versions are those that CI tested, so that tomorrow's release of a dependency breaks nothing here. Python compiles what
# it imports; to compile all of it beforehand would take another minute.
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --no-compile -c constraints.txt -e

.venv/installed: .venv/bin/pip pyproject.toml constraints.txt
	$(INSTALL) .
	touch $@

.venv/installed-dev: .venv/bin/pip pyproject.toml constraints.txt
	$(INSTALL) '.[dev]'
	touch .venv/installed $@

.venv/installed-s3: .venv/installed
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[s3]'
	touch $@

# The browser tests drive Debian's chromium; elsewhere they use a chromium that is on the PATH.
.venv/browser: .venv/installed-dev
	command -v chromium || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }
	touch $@

# The production tests run Debian's PostgreSQL, and are skipped where there is none.
.venv/postgres: .venv/installed-dev
	ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null || command -v initdb || \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql; } || \
	  echo "no PostgreSQL: the production tests will be skipped"
	touch $@
