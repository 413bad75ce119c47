# `make repro` and `make test` are all that a bare machine needs; both make .venv first.
PYTHON ?= python3
# It would be two folders in PATH, without the .venv's Python: another one would run the stages, and be installed into.
ifneq (,$(findstring :,$(CURDIR)))
$(error $(CURDIR): there cannot be a .venv in a path with a colon; rename the folder)
endif
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Every stage is a process of its own: with bytecode kept, importing TensorFlow takes half as long.
unexport PYTHONDONTWRITEBYTECODE
# Where it makes errors of warnings, DVC stops at those of its libraries.
unexport PYTHONWARNINGS
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# In another encoding, names of files would be other names.
export PYTHONUTF8 := 1
# DVC has stages run by the shell that SHELL names; that of a service may be one that runs nothing.
export SHELL
# Whom a container runs may be a number without a name, for which DVC asks.
export LOGNAME ?= $(or $(USER),$(shell id -un 2>/dev/null || id -u))

.PHONY: repro test fast faults lint bench experiments upgrade

# GPU=1 installs CUDA's libraries first; JOBS=2 runs two independent stages at a time, LAUNCH='srun -N1 -G1' each of them
# on another machine; CLUSTER=auto, or the head's host:port, has the nodes of a Ray cluster compute tensors and features
# (docs/cluster.md).
# In a downloaded ZIP file, which is no Git repository, DVC would do nothing. `thaw repro` looks for leftovers itself.
repro: export THAW_CLUSTER := $(or $(CLUSTER),$(THAW_CLUSTER))
repro: .venv/installed$(if $(filter-out 0,$(GPU)),-gpu) $(if $(CLUSTER),.venv/installed-cluster)
	@git rev-parse --git-dir >/dev/null 2>&1 || git init --quiet || dvc config --local core.no_scm true
	python -m stages.check --params params.yaml
	$(if $(JOBS)$(LAUNCH),,python -m commands.leftovers)
	python -m $(if $(JOBS)$(LAUNCH),commands repro --jobs $(or $(JOBS),2) $(if $(LAUNCH),--launch "$$LAUNCH"),dvc repro)

# Ray's own advice is to run what starts it alone.
test: .venv/installed-dev
	python -m pytest --ignore tests/thaw/test_cluster.py
	python -m pytest tests/thaw/test_cluster.py --numprocesses 0

# In a minute and a half, all but what runs the pipeline, or trains.
fast: .venv/installed-dev
	python -m pytest -m "not slow"

# All damages, kills and nonsense that the tests know, not a few of each, with a table of what happened.
faults: .venv/installed-dev
	python -m pytest tests/faults --faults full

lint: .venv/installed-dev
	ruff check .
	ruff format --check .
	mypy
	lint-imports

# Experiments, by the parameters and scores that changed: without hashes of files, and bounds of intervals.
experiments:
	dvc exp show --only-changed --drop '[^:]*/[^:]*$$|.*_(low|high|min|max)$$|Created|State|Executor'

# Takes an hour and a half, half of it for a million images.
bench: .venv/installed-dev
	python -m benchmarks

# Merges the branch main of the remote `thaw`, but for what is the project's own. That is taken out of the merge and put
# back, since what Thaw adds to it, or changes where the project does not, comes in without a conflict.
upgrade: OWN := params.yaml dvc.lock metrics
upgrade:
	@git diff --quiet HEAD || { echo 'error: there are changes that are not committed; commit first' >&2; exit 1; }
	@git remote get-url thaw >/dev/null || { echo 'add it: git remote add thaw https://github.com/OWNER/thaw' >&2; exit 1; }
	git fetch thaw
	git merge --no-ff --no-commit thaw/main || git rev-parse --quiet --verify MERGE_HEAD
	git rm -r --force --quiet --ignore-unmatch $(OWN) 'data/label_issues/*.csv'
	git ls-tree -r -z --name-only HEAD $(OWN) data/label_issues | \
	git --literal-pathspecs checkout HEAD --pathspec-from-file=- --pathspec-file-nul
	@! git rev-parse --quiet --verify MERGE_HEAD >/dev/null || git commit --no-edit

# Before there is a .venv, which would keep the Python that it was made with.
FITS = 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit("error: $(PYTHON) is Python %s; Thaw needs 3.11, \
3.12 or 3.13: make PYTHON=python3.13, for example" % sys.version.split()[0])'

# uv installs in a quarter of the time that pip takes, and newer pip in half the time of Python's own; without them, all
# goes on as well.
define create
[ -e .venv/pyvenv.cfg ] || { $(PYTHON) -c $(FITS) && mkdir -p .venv && touch .venv/unfinished && exec $(PYTHON) -m venv .venv; }
-[ ! -e .venv/unfinished ] || exec python -m pip install --quiet --upgrade --constraint constraints.txt pip uv
endef

# An installation that was killed looks whole to pip, but may lack files: all of it is made anew. One that fails takes
# back what it has begun. A shell that is told to end would leave its child running, unless it waits for it. Where uv
# fails, which does not read pip's settings but for the index that is given to it, pip says why.
define install
touch .venv/unfinished
trap 'kill $$!; exit 1' INT TERM; \
export UV_DEFAULT_INDEX="$$(python -m pip config list | sed -n "s/.*[.]index-url='\(.*\)'/\1/p" | tail -n 1)"; \
for tool in uv\ pip pip; do \
python -m $$tool install --quiet --no-compile --constraint constraints.txt --editable '.$(1)' & \
wait $$! && exec rm .venv/unfinished; \
done; rm .venv/unfinished; false
endef
CLEAR = @[ ! -e .venv/unfinished ] || find .venv -mindepth 1 ! -path .venv/unfinished -delete

.venv/installed: pyproject.toml constraints.txt $(wildcard .venv/unfinished)
	$(CLEAR)
	$(create)
	$(call install)
	touch $@

.venv/installed-gpu: .venv/installed
	$(call install,[gpu])
	touch $@

.venv/installed-cluster: .venv/installed
	$(call install,[cluster])
	touch $@

# With all that the pipeline needs: in one go, which takes half the time of one after the other.
.venv/installed-dev: pyproject.toml constraints.txt $(wildcard .venv/unfinished)
	$(CLEAR)
	$(create)
	$(call install,[dev])
	touch .venv/installed $@
