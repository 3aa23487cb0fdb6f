# Needs Python 3.10 or newer and make. The first use of a target downloads packages into
# .venv; after that everything works without a network.
#
#   make demo        a word count over the standard library's own sources
#   make test        the quick tests           make test-slow   the slow ones
#   make lint        ruff, mypy, actionlint    make bench       the benchmarks
#   make coverage    what the quick tests run of each package, workers included
#   make mutants     small faults put into mapred, and those that its tests do not notice
#   make bench-peers  mapred beside DuckDB, Polars, Dask, Ray, Spark and others; SIZE=full for all
#   make test-cluster  the tests on a Kubernetes with Argo, which it starts on this machine as root
#   make test-readers  what mapred wrote, read by Spark and DuckDB's Delta; needs Java 17 and Maven
#   make cluster-up    cluster-down and cluster-status: that cluster alone
#   make reliability  runs under attack, by seeds, which writes docs/reliability.md; as root
#   make docs        the documentation as a site, in build/site; `.venv/bin/mkdocs serve` shows it
#   make pictures    the pictures of the docs, by real runs; NAMES="terminals" makes some alone
#   make notebooks   runs the notebooks, and stores their outputs; NAMES=02-on-argo needs the cluster
#   make lock        remake requirements-dev.lock from pyproject.toml
#
# Another Python: make test PYTHON=python3.13 VENV=.venv-3.13

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 3
WORKLOADS ?=
SIZE ?= small
TESTS ?=
ATTACKS ?=
PARTS ?=
NAMES ?=
FAULTS ?= 300
FIRST ?= 1
SEEDS ?= 20
LOCK := requirements-dev.lock
BIN := $(VENV)/bin
ACTIONLINT := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
# The certificates that the system trusts, as pip uses them too.
UV := $(BIN)/uv --system-certs

# The tests start hundreds of processes: without bytecode each would compile mapred again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo dev test test-slow test-cluster lint format bench bench-peers docs lock clean
.PHONY: pictures notebooks reliability coverage mutants actionlint test-readers
.PHONY: cluster-up cluster-down cluster-status
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#  *make/  make/p' Makefile

demo: $(VENV)/.core
	@$(BIN)/python recipes/word_count.py

dev: $(VENV)/.dev

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) $(TESTS)

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) -m "slow and not on_cluster" $(TESTS)

# With MAPRED_TEST_KUBECONFIG on that cluster instead; tests/testbed/cluster/access.py has the settings.
test-cluster: $(VENV)/.dev
	@test -n "$$MAPRED_TEST_KUBECONFIG" || $(MAKE) --no-print-directory cluster-up
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m on_cluster $(TESTS)

cluster-up cluster-down cluster-status: cluster-%: $(VENV)/.dev
	@cd tests && $(abspath $(BIN))/python -m testbed.cluster $*

test-readers: $(VENV)/.dev $(VENV)-readers/.readers
	MAPRED_TEST_READERS=$(abspath $(VENV)-readers) \
	  $(BIN)/python -m pytest -m slow tests/test_readers.py

# What build/reliability.jsonl holds already is not done again: remove it to begin anew.
reliability: $(VENV)/.dev
	@mkdir -p build
	cd tests && $(abspath $(BIN))/python -m reliability $(ATTACKS) --first $(FIRST) --seeds $(SEEDS) \
	  --record ../build/reliability.jsonl --report ../docs/reliability.md

coverage: $(VENV)/.dev
	@rm -rf build/coverage && mkdir -p build/coverage
	@status=0; $(BIN)/coverage run -m pytest -n $(WORKERS) $(TESTS) || status=$$?; \
	  $(BIN)/coverage combine --quiet && $(BIN)/python tests/coverage_by_package.py; exit $$status

# As reliability, it goes on from what build/mutants.jsonl holds.
mutants: $(VENV)/.dev
	@mkdir -p build
	cd tests && $(abspath $(BIN))/python -m mutation $(PARTS) --sample $(FAULTS) --seed $(FIRST) \
	  --record ../build/mutants.jsonl

lint: $(VENV)/.dev actionlint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# No Python package brings it: without Go, or without a network the first time, it is left out.
actionlint: $(VENV)/.uv
	@test -x $(BIN)/actionlint || GOBIN=$(abspath $(BIN)) go install $(ACTIONLINT) || \
	  echo "without actionlint, which cannot be built here"
	@test ! -x $(BIN)/actionlint || $(BIN)/actionlint

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

pictures: $(VENV)/.dev
	cd tests && $(abspath $(BIN))/python -m pictures $(NAMES)
	$(BIN)/python -m benchmarks.peers.picture

notebooks: $(VENV)/.dev
	cd tests && $(abspath $(BIN))/python -m pictures notebooks $(NAMES)

# In an environment of its own, beside the peers; WORKLOADS="words items" runs some alone, and
# SIZE=small tries everything out.
bench: SIZE = full
bench: $(VENV)-bench/.peers
	$(VENV)-bench/bin/python -m benchmarks --size $(SIZE) $(WORKLOADS)

# As above, in another one; the whole of it, SIZE=full, takes hours and a quiet machine.
bench-peers: $(VENV)-peers/.peers
	$(VENV)-peers/bin/python -m benchmarks.peers --size $(SIZE) $(WORKLOADS)

# Strict: a broken link or anchor, a page without a place, or a page that loads from elsewhere fails.
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build
	@echo build/site/index.html

# Exact versions and hashes for every supported Python, and no host's name: `uv.lock` would
# carry the name of the index in each line.
lock: $(VENV)/.uv
	$(UV) pip compile --quiet --universal --python-version 3.10 --generate-hashes --upgrade \
	  --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	  --all-extras --group dev pyproject.toml --output-file $(LOCK)
	@if grep -nE '://|^-' $(LOCK); then echo "$(LOCK) names a host or an option"; exit 1; fi

clean:
	rm -rf .venv .venv-* .ci/logs .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist

# --- the environment: one stamp for each layer of it ---

# pip installs uv in the locked version; uv installs the rest in the locked versions.
$(VENV)/.uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "mapred needs Python 3.10 or newer, and PYTHON=$(PYTHON) is:"; $(PYTHON) --version; \
	  echo "Name another one: make $(MAKECMDGOALS) PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  "$$(sed -n 's/^\(uv==[^ ;]*\).*/\1/p' $(LOCK))"
	@touch $@

$(VENV)/.core: $(VENV)/.uv pyproject.toml $(LOCK)
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python \
	  --constraints $(LOCK) --build-constraints $(LOCK) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.uv pyproject.toml $(LOCK)
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python \
	  --require-hashes --requirements $(LOCK)
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)-bench/.peers: $(VENV)/.uv pyproject.toml $(LOCK) benchmarks/requirements.txt
	$(PYTHON) -m venv $(VENV)-bench
	$(UV) pip install --quiet --compile-bytecode --python $(VENV)-bench/bin/python \
	  --constraints $(LOCK) --build-constraints $(LOCK) --editable .
	@grep -v '^#' benchmarks/requirements.txt | while read -r peer; do \
	  $(UV) pip install --quiet --compile-bytecode --python $(VENV)-bench/bin/python \
	    --constraints $(LOCK) "$$peer" || echo "without $$peer: it cannot be installed here"; done
	@touch $@

$(VENV)-peers/.peers: $(VENV)/.uv pyproject.toml $(LOCK) benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(VENV)-peers
	$(UV) pip install --quiet --compile-bytecode --python $(VENV)-peers/bin/python \
	  --constraints $(LOCK) --build-constraints $(LOCK) --editable .
	@grep -v '^#' benchmarks/peers/requirements.txt | while read -r peer; do \
	  $(UV) pip install --quiet --compile-bytecode --python $(VENV)-peers/bin/python \
	    --constraints $(LOCK) "$$peer" || echo "without $$peer: it cannot be installed here"; done
	@touch $@

$(VENV)-readers/.readers: $(VENV)/.uv tests/readers/requirements.txt tests/readers/pom.xml
	$(PYTHON) -m venv $(VENV)-readers
	$(UV) pip install --quiet --compile-bytecode --python $(VENV)-readers/bin/python \
	  --requirements tests/readers/requirements.txt
	mvn --quiet --batch-mode --file tests/readers/pom.xml dependency:copy-dependencies \
	  -DincludeScope=runtime -DexcludeGroupIds=org.scala-lang \
	  -DoutputDirectory=$(abspath $(VENV)-readers)/jars
	@touch $@
