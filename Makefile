# Ferry's targets. Nothing but python3 (3.11 to 3.13, with venv), make, git and a way to PyPI is needed beforehand.
PYTHON ?= python3
UV_VERSION := 0.13.9
UV := .tools/bin/uv
VENV := .venv
BIN := $(VENV)/bin
# uv works in .venv with the interpreter it was installed with, and fetches no other.
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := $(VENV)

.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-unit test-invariants chaos coverage test-browser test-training check format train bench bench-peers bench-quick bench-bulk bench-compose bench-attacks bench-pages bench-priority endurance lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(UV): Makefile
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"Ferry needs Python 3.11 to 3.13, $(PYTHON) is {v[0]}.{v[1]}; name another: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv .tools || { echo "python3 has no venv: apt-get install python3-venv" >&2; exit 1; }
	@.tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

setup: $(BIN)/.runtime ## install the locked runtime into .venv
$(BIN)/.runtime: $(UV) pyproject.toml uv.lock
	$(UV) sync --locked --quiet --python $(PYTHON)
	@touch $@

$(BIN)/.test: $(BIN)/.runtime
	$(UV) sync --locked --quiet --python $(PYTHON) --group test --group check
	@touch $@

demo: $(BIN)/.runtime ## send 1,000 handwritten digits through the whole stack and print what came back
	$(BIN)/ferry demo

up: $(BIN)/.runtime ## start Redis, API, workers and Flower; Ctrl-C stops them
	$(BIN)/ferry up

# The tests behind a proxy run Debian's nginx; where it is not installed it is unpacked here, and nothing is installed.
NGINX := $(abspath .tools/nginx)
.tools/nginx: | $(UV)
	@command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || bash .ci/nginx $(NGINX) || echo "no nginx: the tests behind it are skipped"

test: $(BIN)/.test .tools/nginx ## unit, contract, integration and e2e tests
	$(BIN)/python -m pytest

test-unit: $(BIN)/.test ## the tests that need no process
	$(BIN)/python -m pytest tests/unit

test-invariants: $(BIN)/.test ## drive the queue through INVARIANT_EXAMPLES random histories (100 by default) in memory, on Redis 6.2 and 7
	$(BIN)/python -m pytest tests/contract/test_invariants.py --timeout=7200

JOBS ?= 5000
SEED ?= 1
chaos: $(BIN)/.test ## break everything at random while jobs run, and check that none is lost (JOBS=50000 SEED=1)
	$(BIN)/python -m tests.chaos --jobs $(JOBS) --seed $(SEED)

coverage: $(BIN)/.test ## run every test and print line coverage of api, worker and ferry
	rm -f .coverage .coverage.*
	$(BIN)/python -m pytest --cov --cov-report=
	$(BIN)/coverage report

$(BIN)/.browser: $(BIN)/.test
	$(UV) sync --locked --quiet --python $(PYTHON) --group test --group check --group browser
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends chromium >/dev/null; } || { echo "no Chromium: apt-get install chromium (as root)" >&2; exit 1; }
	@touch $@

test-browser: $(BIN)/.browser ## install Debian's Chromium where it is missing (as root), and try the page in it
	$(BIN)/python -m pytest tests/browser

test-training: $(UV) ## install TensorFlow in an environment of its own and test training
	UV_PROJECT_ENVIRONMENT=.venv-training $(UV) sync --locked --quiet --python $(PYTHON) --no-default-groups --group training-test
	.venv-training/bin/python -m pytest tests/training

train: $(UV) ## train the MNIST mlp and publish it under models/ (ARGS="--network cnn ..." for more)
	UV_PROJECT_ENVIRONMENT=.venv-training $(UV) sync --locked --quiet --python $(PYTHON) --no-default-groups --group training-test
	.venv-training/bin/python -m training.train $(ARGS)

BENCH := .ferry/bench/harness
bench: $(UV) ## measure Ferry and seven peers, all workloads but bulk (bench-bulk): an hour, results into benchmarks/results and docs
	UV_PROJECT_ENVIRONMENT=$(BENCH) $(UV) sync --locked --quiet --python $(PYTHON) --no-default-groups --group bench
	UV=$(abspath $(UV)) $(BENCH)/bin/python -m benchmarks $(ARGS)

bench-peers: $(UV) ## the sweep of the peers' settings, and W1 with the best of each: twenty minutes, results as for bench
	UV_PROJECT_ENVIRONMENT=$(BENCH) $(UV) sync --locked --quiet --python $(PYTHON) --no-default-groups --group bench
	UV=$(abspath $(UV)) $(BENCH)/bin/python -m benchmarks --peers $(ARGS)

bench-quick: $(UV) ## all workloads for Ferry and celery-batches only, under five minutes, printed
	UV_PROJECT_ENVIRONMENT=$(BENCH) $(UV) sync --locked --quiet --python $(PYTHON) --no-default-groups --group bench
	UV=$(abspath $(UV)) $(BENCH)/bin/python -m benchmarks --quick $(ARGS)

bench-bulk: $(UV) ## files of many rows beside plain scripts, Ray Data and Celery: twenty minutes (ARGS="--quick --data mnist.npz")
	UV_PROJECT_ENVIRONMENT=$(BENCH) $(UV) sync --locked --quiet --python $(PYTHON) --no-default-groups --group bench
	UV=$(abspath $(UV)) $(BENCH)/bin/python -m benchmarks.bulk $(ARGS)

bench-compose: $(UV) ## the compose stack with 1, 2 and 4 workers, and a key beside one that floods; needs Docker, six minutes
	UV_PROJECT_ENVIRONMENT=$(BENCH) $(UV) sync --locked --quiet --python $(PYTHON) --no-default-groups --group bench
	$(BENCH)/bin/python -m benchmarks.containers $(ARGS)

bench-attacks: $(UV) ## hostile clients beside honest ones: latencies, memory, who pays; 26 minutes (ARGS="--seconds 3 upload")
	UV_PROJECT_ENVIRONMENT=$(BENCH) $(UV) sync --locked --quiet --python $(PYTHON) --no-default-groups --group bench
	$(BENCH)/bin/python -m benchmarks.attacks $(ARGS)

bench-pages: $(UV) ## W1 with ten pages open in Chromium beside it, against without: ten minutes
	UV_PROJECT_ENVIRONMENT=$(BENCH) $(UV) sync --locked --quiet --python $(PYTHON) --no-default-groups --group bench
	UV=$(abspath $(UV)) $(BENCH)/bin/python -m benchmarks.pages

bench-priority: $(UV) ## high-priority jobs on an idle queue and beside a backlog of 200,000: a minute, printed
	UV_PROJECT_ENVIRONMENT=$(BENCH) $(UV) sync --locked --quiet --python $(PYTHON) --no-default-groups --group bench
	$(BENCH)/bin/python -m benchmarks.priority $(ARGS)

endurance: $(UV) ## deadlines behind a busy worker, tenfold overload, a million jobs: a quarter of an hour (ARGS="soak" for one)
	UV_PROJECT_ENVIRONMENT=$(BENCH) $(UV) sync --locked --quiet --python $(PYTHON) --no-default-groups --group bench
	$(BENCH)/bin/python -m benchmarks.endurance $(ARGS)

check: $(BIN)/.test ## format, lint, types, import direction
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(BIN)/.test ## rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(UV) ## resolve the dependencies anew
	$(UV) lock --upgrade

clean: ## remove what the targets above made
	rm -rf .venv .venv-training .tools .ferry
