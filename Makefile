# `make repro` and `make test` are all that a bare machine needs; both make .venv first.
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Every stage is a process of its own: with bytecode kept, importing TensorFlow takes half as long.
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: repro test fast lint bench

# GPU=1 installs CUDA's libraries first; JOBS=2 runs two independent stages at a time.
# In a downloaded ZIP file, which is no Git repository, DVC would do nothing.
repro: .venv/installed$(if $(filter-out 0,$(GPU)),-gpu)
	@git rev-parse --git-dir >/dev/null 2>&1 || git init --quiet || dvc config --local core.no_scm true
	python -m stages.check params.yaml
	python -m $(if $(JOBS),commands repro --jobs $(JOBS),dvc repro)

test: .venv/installed-dev
	python -m pytest

# In a minute and a half, all but what runs the pipeline, or trains.
fast: .venv/installed-dev
	python -m pytest -m "not slow"

lint: .venv/installed-dev
	ruff check .
	ruff format --check .
	mypy

# Takes three quarters of an hour.
bench: .venv/installed-dev
	python -m benchmarks

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	python -m pip install --quiet --no-compile --constraint constraints.txt --editable .
	touch $@

.venv/installed-gpu: .venv/installed
	python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[gpu]'
	touch $@

.venv/installed-dev: .venv/installed
	python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	touch $@
