# Two commands on a fresh machine: `make demo` and `make test`. The rest is for people who stay.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
FAULTS ?= 200
STAMP  := $(VENV)/.installed

# Nothing that runs here reports home, whatever the caller's environment says.
export DO_NOT_TRACK = 1
export PREFECT_SERVER_ANALYTICS_ENABLED = false
export MLFLOW_DISABLE_TELEMETRY = true

.PHONY: demo up test test-long test-faults check format bench lock venv clean

demo: $(STAMP)  ## Replay 1997-07 to 1998-04 on the real data, on a throw-away stack.
	$(BIN)/python -m retraining.demo


up: $(STAMP)    ## The whole stack on loopback until Ctrl-C, home .retraining/; make up UP="--api-port 0".
	$(BIN)/retraining up --home .retraining $(UP)

test: $(STAMP)  ## Every test, fast ones first.
	$(BIN)/pytest

test-long: $(STAMP)  ## Long outages, on real servers: ten minutes.
	$(BIN)/pytest -m long

test-faults: $(STAMP)  ## Kills of every component at every stage of a job: half an hour; make test-faults FAULTS=20.
	FAULTS=$(FAULTS) $(BIN)/pytest -m faults

check: $(STAMP) ## Format, lint, types.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## The benchmarks, an hour and a half; make bench BENCH=--quick: a quarter of an hour.
	$(BIN)/python -m benchmarks $(BENCH)

lock:           ## Renew requirements.lock (needs uv): names, versions and hashes, no addresses.
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url --upgrade --output-file requirements.lock

venv: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
