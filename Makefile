# `make demo` and `make test` set up all that they need; see CONTRIBUTING.md for the settings.
SHELL := bash
.DEFAULT_GOAL := help
ifndef AT_ONCE
.NOTPARALLEL:
endif
# Without bytecode, which many images forbid, every process that a test starts compiles PyTorch anew.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

PYTHON ?=
LAVA_PYTHON ?=
TORCH_SPEC ?= torch
PYTEST_ARGS ?=

VERSIONS := 3.13 3.12 3.11 3.10
# A process a core, up to what memory bears; the tests of a file share its fixtures.
PYTEST := -m pytest -q --durations=10 -n logical --maxprocesses 8 --dist loadfile
environment = bash tools/environment.sh make

.PHONY: help demo test environments venv test-venv lava-venv test-main test-oldest types lint docs format clean

help:
	@echo 'make demo         encode and decode the recording that comes with the repository'
	@echo 'make test         run the tests, in .venv and (with Python 3.10) in .venv-lava'
	@echo 'make test-main    only in .venv;     one test: make test-main PYTEST_ARGS="-k name"'
	@echo 'make test-oldest  only in .venv-lava: the oldest supported packages, and Lava'
	@echo 'make venv         only set up .venv (test-venv, lava-venv: those of the tests)'
	@echo 'make lint         check style and types;  make format  mend style;  make types  only types'
	@echo 'make docs         build the pages of docs/ to build/docs'
	@echo 'make clean        remove environments, caches and results'
	@echo 'PYTHON=, LAVA_PYTHON= choose the interpreters; CONTRIBUTING.md has more settings.'

demo: venv
	@.venv/bin/python experiments/demo.py

test: environments test-main test-oldest types

# Unpacking takes one core each.
environments:
	@$(MAKE) --no-print-directory -j2 AT_ONCE=yes test-venv lava-venv

test-main: test-venv
	.venv/bin/python $(PYTEST) $(PYTEST_ARGS)

test-oldest: lava-venv
	@if [ -f .venv-lava/made ]; then set -x; .venv-lava/bin/python $(PYTEST) -m 'not once' $(PYTEST_ARGS); fi

test-venv: extras = analysis codecs dev docs interop listen nir norse plots rvq
venv: extras = plots
venv test-venv:
	@INTERPRETER='$(PYTHON)' $(environment) .venv '$(VERSIONS)' '$(extras)' '$(TORCH_SPEC)' || { status=$$?; \
	    [ $$status != 3 ] || echo 'No Python 3.10 to 3.13 with pip and venv was found; install one or give PYTHON=/path/to/python.' >&2; \
	    exit $$status; }

# Also the oldest packages that we support: what Lava asks for.
lava-venv:
	@INTERPRETER='$(LAVA_PYTHON)' $(environment) .venv-lava 3.10 'analysis codecs dev lava listen nir norse rvq' torch==2.3.1 'numpy==1.26.*' || { \
	    status=$$?; [ $$status = 3 ] || exit $$status; rm -f .venv-lava/made; \
	    echo 'Skipping Lava: no Python 3.10 found (uv python install 3.10, or pyenv install 3.10, or give LAVA_PYTHON=/path/to/python3.10).'; }

types: test-venv
	.venv/bin/mypy

lint: types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

docs: test-venv
	.venv/bin/mkdocs build --strict

format: test-venv
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

clean:
	rm -rf .venv .venv-lava .cache/mypy .coverage .hypothesis .pytest_cache .ruff_cache build dist out *.egg-info
	find snn_codec hardware experiments tests tools -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
