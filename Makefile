# `make demo` shows an event from deployment to leaderboard; `make test` runs every test.
# Both set up what they need in .venv first; nothing else is written outside this folder
# but the package managers' caches.
PYTHON ?= python3
# Two processes, each of which takes file after file in the order of their names: the long ones of
# tests/acceptance come first and the short ones of tests/unit last, so that both end at once.
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder
BIN := .venv/bin
SOURCES := ramp_database ramp_engine events tests

.PHONY: help setup demo test lint format doc linkcheck pictures record-demo benchmark benchmark-full clean
help:
	@echo "make demo    deploy the iris event, submit, evaluate, print the leaderboard"
	@echo "make test    run the whole test suite"
	@echo "make lint    run the linters and the type checker"
	@echo "make doc     build the documentation into build/doc; a warning is an error"
	@echo "make linkcheck       see whether what it links to elsewhere is still there"
	@echo "make benchmark       measure (about 20 minutes) and write benchmarks/RESULTS.md"
	@echo "make benchmark-full  the same with a million rows and repetitions (hours)"
	@echo "make setup   only set up .venv with everything for development"
	@echo "make clean   remove .venv and what events and tests left behind"

.venv/.ramp: setup.cfg pyproject.toml scripts/set-up
	PYTHON="$(PYTHON)" scripts/set-up

.venv/.ramp-development: .venv/.ramp setup.cfg
	PYTHON="$(PYTHON)" scripts/set-up development

setup: .venv/.ramp-development

demo: .venv/.ramp
	@scripts/demo

# Tests start some thousand processes, each of which would compile ramp anew without bytecode.
test: export PYTHONDONTWRITEBYTECODE =
test: .venv/.ramp-development
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: .venv/.ramp-development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.ramp-development
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Each page is read anew: what is made from the code changes while its file does not.
doc: .venv/.ramp-development
	$(BIN)/sphinx-build -E -b html -W --keep-going -n -q -d build/doctrees doc build/doc

linkcheck: .venv/.ramp-development
	$(BIN)/sphinx-build -b linkcheck -q -d build/doctrees doc build/linkcheck

# The pictures of states and of a submission's way, drawn anew; the recording is of this machine.
pictures: .venv/.ramp-development
	$(BIN)/python doc/_ext/draw.py

record-demo: .venv/.ramp-development
	$(BIN)/python scripts/record_demo.py doc/pictures/demo.svg

benchmark: .venv/.ramp-development
	$(BIN)/python -m benchmarks

benchmark-full: .venv/.ramp-development
	$(BIN)/python -m benchmarks --full

clean:
	rm -rf .venv build *.egg-info ramp.db* .mypy_cache .ruff_cache .pytest_cache .hypothesis
	git clean -fdXq events
