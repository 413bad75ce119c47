# `make repro` and `make test` are all that a bare machine needs; both make .venv first.
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Every stage is a process of its own: with bytecode kept, importing TensorFlow takes half as long.
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: repro test lint bench upgrade

# GPU=1 installs CUDA's libraries first; JOBS=2 runs two independent stages at a time.
# In a downloaded ZIP file, which is no Git repository, DVC would do nothing.
repro: .venv/installed$(if $(filter-out 0,$(GPU)),-gpu)
	@git rev-parse --git-dir >/dev/null 2>&1 || git init --quiet || dvc config --local core.no_scm true
	python -m stages.check params.yaml
	python -m $(if $(JOBS),commands repro --jobs $(JOBS),dvc repro)

test: .venv/installed-dev
	python -m pytest

lint: .venv/installed-dev
	ruff check .
	ruff format --check .
	mypy

# Takes three quarters of an hour.
bench: .venv/installed-dev
	python -m benchmarks

# Merges what the remote `thaw` has; the project's parameters and results stay as they are, whatever changed in Thaw's.
# Another one's metrics would come in without a conflict, which no merge driver sees: hence all are removed, then put back.
upgrade: OWN := params.yaml dvc.lock metrics
upgrade:
	@git diff --quiet HEAD || { echo 'error: there are changes that are not committed; commit first' >&2; exit 1; }
	git fetch thaw
	git merge --no-ff --no-commit thaw/main || git rev-parse --quiet --verify MERGE_HEAD
	@if git rev-parse --quiet --verify MERGE_HEAD; then set -x; \
	git rm -r --force --quiet $(OWN) && git checkout --quiet HEAD $(OWN) && git commit --no-edit; fi

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
