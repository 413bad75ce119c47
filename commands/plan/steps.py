"""What `dvc repro` would run, told before it runs and where nothing has been pulled.

DVC's dry run stops where data is missing, and leaves out what follows from a stage that runs. Here, stages are gone
through in order, each with what its dependencies will be by then: the results of stages that do not run are known
from dvc.lock or the run cache, those of the others are not.
"""

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from graphlib import TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any

from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.repo import Repo
from dvc.stage import Stage
from dvc.stage.cache import _get_cache_hash
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.utils.serialize import load_yaml
from dvc_data.hashfile.hash import file_md5
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.meta import Meta
from dvc_data.hashfile.tree import Tree
from dvc_objects.errors import ObjectFormatError

from commands import lock, pipeline
from thaw.params.reading import read_yaml


class Action(StrEnum):
    NOTHING = "nothing"
    CACHE = "from DVC's cache"
    REMOTE = "from the remote"
    RUN = "runs"
    MAY_RUN = "may run"


RUNNING = (Action.RUN, Action.MAY_RUN)


class Kind(StrEnum):
    STAGE = "stage"
    """It is new."""
    COMMAND = "command"
    PARAMETER = "parameter"
    FILE = "file"
    """Something that no stage writes: a module, raw data."""
    RESULT = "result"
    """Another stage's, which is not the one that this stage was run with."""
    AWAITED = "awaited"
    """Another stage's, which is not known before that one has run."""
    OUTPUT = "output"
    """The stage's own, which is not what it wrote, or is gone."""
    UNCACHED = "uncached"
    """The stage's own, which is here as it wrote it, but which DVC's cache lacks: DVC takes it for none."""
    ALWAYS = "always"
    """Nothing: it is one that runs whatever has changed."""


@dataclass(frozen=True)
class Reason:
    kind: Kind
    name: str
    """An address in params.yaml, a path, or the stage itself."""
    old: Any = None
    new: Any = None
    stage: str | None = None
    """The stage that writes the path; None for a folder into which several do."""


@dataclass(frozen=True)
class Step:
    stage: str
    action: Action
    reasons: list[Reason]
    commands: list[tuple[str, ...]]
    """The stage's commands, each as its words."""


@dataclass(frozen=True)
class Plan:
    steps: list[Step]
    """All stages, in an order in which they can run."""
    fetched: list[str]
    """Paths that have to be pulled first: what the stages that run, or may run, read, and the rest of folders that are
    here in part."""
    missing: list[str]
    """Paths that they read, and that neither a stage nor a `.dvc` file knows of."""
    uncommitted: list[str]
    """Stages of which nothing has changed, but whose results, which are here, DVC's cache lacks."""
    incomplete: bool
    """Some results are not here, so that `dvc repro` has to be told `--allow-missing`."""
    has_remote: bool
    """Without one, DVC fails with `--pull`."""


def plan(repo: Repo, base: dict[str, Any] | None = None, obtainable: bool = False) -> Plan:
    """Return what `dvc repro` would run.

    Args:
        repo: the project.
        base: entries of a dvc.lock, by stage, to which reasons refer; by default, the project's own.
        obtainable: take all results that dvc.lock names to be somewhere, even if they are not here and there is no
            remote.
    """
    return _Planning(repo, base, obtainable).plan()


def outdated(found: Plan) -> list[str]:
    """Return the stages of which dvc.lock does not have the results that they would have now."""
    return [step.stage for step in found.steps if step.action is not Action.NOTHING]


class _Planning:
    def __init__(self, repo: Repo, base: dict[str, Any] | None, obtainable: bool):
        self._repo, self._obtainable = repo, obtainable
        self._now = lock.stages_now()  # before DVC reads it, which has no remedy for what a merge left
        self._stages: dict[str, Stage] = {stage.addressing: stage for stage in pipeline.stages_of(repo)}
        self._base = base
        self._remote = obtainable or bool(repo.config["core"].get("remote"))
        self._writers = {self._path(out): name for name, stage in self._stages.items() for out in stage.outs}
        self._outputs = {self._path(out): out for stage in self._stages.values() for out in stage.outs}
        self._results: dict[str, str | None] = {}
        """Hashes by path, as they will be; None where a stage has to run first."""
        self._files: dict[str, str | None] = {}
        self._absent: set[str] = set()
        """Outputs that are not here, but would be pulled."""
        self._uncommitted: list[str] = []
        self._actions: dict[str, Action] = {}

    def plan(self) -> Plan:
        upstream = {
            name: [self._writers[path] for dep in stage.deps for path in self._written(self._path(dep))]
            if stage.cmd  # what a `.dvc` file was imported from is elsewhere, perhaps of the same name
            else []
            for name, stage in self._stages.items()
        }
        order = list(TopologicalSorter(upstream).static_order())
        steps = [step for name in order for step in self._steps(name)]
        reading = [self._stages[step.stage] for step in steps if step.action in RUNNING]
        read = {path for stage in reading for path in self._read(stage)} | self._folders_here()
        written = [out for path in read for out in self._written(path)]
        kept = [out for out in written if self._actions[self._writers[out]] is Action.NOTHING]
        unknown = [path for path in read if self._files.get(path, "") is None and not self._written(path)]
        gone = {path for path, value in self._files.items() if value is None}
        absent = bool(self._absent or gone.difference(unknown)) or Action.REMOTE in self._actions.values()
        has_remote = bool(self._repo.config["core"].get("remote"))
        return Plan(steps, sorted({*kept} & self._absent), sorted(unknown), self._uncommitted, absent, has_remote)

    def _folders_here(self) -> set[str]:
        """Return the folders that are here and hold outputs: where one of these is not, DVC takes them for changed."""
        deps = [dep for stage in self._stages.values() for dep in stage.deps if not isinstance(dep, ParamsDependency)]
        return {
            path for dep in deps if dep.exists and not self._around(path := self._path(dep)) and self._written(path)
        }

    def _read(self, stage: Stage) -> set[str]:
        """Return what a stage reads: its dependencies, and the images where features' tensors keep no pixels."""
        read = {self._path(dep) for dep in stage.deps}
        for writer in {self._writers[path] for path in read if path in self._writers}:
            entries = [entry for params in self._stages[writer].params for entry in params.read_params().items()]
            if any(address.startswith("tensors.") and entry.get("keep") is False for address, entry in entries):
                read.add(lock.spelled(read_yaml(pipeline.PARAMS)["dataset"]["path"]))
        return read

    def _steps(self, name: str) -> Iterator[Step]:
        stage = self._stages[name]
        commands = stage.cmd if isinstance(stage.cmd, list) else [stage.cmd] if stage.cmd else []
        words = [_words(command) for command in commands]
        # A `.dvc` file says what the raw data were when they were added; what a frozen stage wrote, DVC takes for such.
        if not stage.cmd or stage.frozen:
            for out in stage.outs:
                path = self._path(out)
                found = self._file(path, out)
                if found is None:
                    self._absent.add(path)
                self._results[path] = found or out.hash_info.value
            self._actions[name] = Action.NOTHING
            if stage.cmd:
                yield Step(name, Action.NOTHING, [], words)
            return
        entry = self._entry(self._now, stage)
        reasons = [*self._changes(stage, entry), *self._lost(stage, entry)]
        if (stage.always_changed or stage.is_callback) and not self._obtainable:
            reasons.append(Reason(Kind.ALWAYS, name))
        action, outs = self._action(stage, entry, reasons)
        for out in stage.outs:
            path = self._path(out)
            self._results[path] = outs.get(path) if outs else None
        self._actions[name] = action
        kinds = {reason.kind for reason in reasons}
        if Kind.UNCACHED in kinds and kinds <= {Kind.UNCACHED, Kind.AWAITED}:
            self._uncommitted.append(name)
        # Other pipelines have locks of their own.
        if self._base is not None and stage.relpath == str(pipeline.PIPELINE):
            since = self._changes(stage, self._entry(self._base, stage))
            # What only may change since then is none for a stage that runs in any case.
            reasons = since if any(reason.kind is not Kind.AWAITED for reason in since) else reasons
        yield Step(name, action, reasons, words)

    def _entry(self, entries: dict[str, Any], stage: Stage) -> dict[str, Any]:
        """Return a stage's entry of dvc.lock, with paths as seen from here; that of another dvc.yaml is beside that."""
        if Path(stage.path) != pipeline.PIPELINE.absolute():
            return _seen_from_here(lock.stages_now(Path(stage.path).parent).get(stage.name, {}), stage)
        return _seen_from_here(entries.get(stage.name, {}), stage)

    def _action(
        self, stage: Stage, entry: dict[str, Any], reasons: list[Reason]
    ) -> tuple[Action, dict[str, str] | None]:
        """Return what becomes of a stage, and the hashes of its outputs where they are known."""
        if not reasons:
            return Action.NOTHING, lock.hashes(entry, "outs")
        awaited = [reason.name for reason in reasons if reason.kind is Kind.AWAITED]
        if len(awaited) == len(reasons):
            return Action.MAY_RUN, None
        if any(reason.kind is Kind.ALWAYS for reason in reasons):
            return Action.RUN, None
        # An awaited result may turn out as it was.
        cached = self._run_cache(stage, entry)
        if cached is None:
            return Action.RUN, None
        if awaited:
            return Action.MAY_RUN, None
        if self._repo.stage_cache._create_stage(cached, wdir=stage.wdir).outs_cached():
            return Action.CACHE, lock.hashes(_seen_from_here(cached, stage), "outs")
        if self._remote and all(out.use_cache for out in stage.outs):
            return Action.REMOTE, lock.hashes(_seen_from_here(cached, stage), "outs")
        return Action.RUN, None

    def _changes(self, stage: Stage, entry: dict[str, Any]) -> list[Reason]:
        """Return how a stage's command, parameters and dependencies will differ from an entry of a dvc.lock."""
        if not entry:
            return [Reason(Kind.STAGE, stage.addressing)]
        found = []
        if stage.cmd != entry["cmd"]:
            found.append(Reason(Kind.COMMAND, stage.addressing, entry["cmd"], stage.cmd))
        for address, old, new in self._changed_params(stage, entry):
            found.append(Reason(Kind.PARAMETER, address, old, new))
        locked = lock.hashes(entry, "deps")
        for dep in stage.deps:
            if isinstance(dep, ParamsDependency):
                continue
            path, around = self._path(dep), self._around(self._path(dep))
            written = self._written(path)
            awaited = [out for out in written if self._results[out] is None]
            if awaited:
                found += [Reason(Kind.AWAITED, path if around else out, stage=self._writers[out]) for out in awaited]
            elif self._dependency(dep) not in (locked.get(path), None):
                is_result = any(self._stages[self._writers[out]].cmd for out in written)
                kind = Kind.RESULT if is_result else Kind.FILE
                writer = self._writers.get(around or "") if is_result else None
                found.append(Reason(kind, path, locked.get(path), self._dependency(dep), writer))
        return found

    def _changed_params(self, stage: Stage, entry: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
        for params in stage.params:
            locked, now = entry.get("params", {}).get(params.def_path, {}), params.read_params()
            for address in params.params or {**locked, **now}:
                old, new = _leaves(locked, address), _leaves(now, address)
                for leaf in {**old, **new}:
                    if leaf not in old or leaf not in new or old[leaf] != new[leaf]:
                        yield leaf, old.get(leaf), new.get(leaf)

    def _lost(self, stage: Stage, entry: dict[str, Any]) -> list[Reason]:
        """Return which outputs are not what the stage wrote; those that can be pulled are only noted."""
        locked = lock.hashes(entry, "outs")
        found = []
        for out in stage.outs if entry else []:
            path = self._path(out)
            out.hash_info = HashInfo("md5", locked.get(path))
            is_known = out.use_cache and path in locked
            is_cached = is_known and not out.changed_cache()
            if not out.exists and (is_cached or (is_known and (self._remote or out.remote))):
                self._absent.add(path)
            elif not out.exists or self._file(path, out) != locked.get(path):
                found.append(Reason(Kind.OUTPUT, path))
            elif out.use_cache and not (is_cached or self._obtainable):
                found.append(Reason(Kind.UNCACHED, path))
        return found

    def _run_cache(self, stage: Stage, entry: dict[str, Any]) -> dict[str, Any] | None:
        """Return the run cache's entry for a stage, its awaited dependencies taken to stay as they are."""
        locked = lock.hashes(entry, "deps")
        for dep in stage.deps:
            if isinstance(dep, ParamsDependency):
                dep.fill_values(dep.read_params())
            else:
                dep.hash_info = HashInfo("md5", self._dependency(dep) or locked.get(self._path(dep)))
                dep.meta = Meta()  # the old one repeats the old hash
        key = _get_cache_hash(to_single_stage_lockfile(stage), key=True)
        folder = Path(self._repo.stage_cache.cache_dir, key[:2], key)
        entries = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime) if folder.is_dir() else []
        try:
            found = load_yaml(str(entries[-1])) if entries else None
        except (DvcException, ValueError):  # DVC, too, takes a damaged one for none
            return None
        return dict(found) if found and lock.is_entry(found) and "outs" in found else None

    def _dependency(self, dep: Output) -> str | None:
        """Return the hash that a dependency will have; None if that is not known, or it is not here."""
        path = self._path(dep)
        written = self._written(path)
        if not written:
            return self._file(path, dep)
        if any(self._results[out] is None for out in written):
            return None
        if written == [path]:
            return self._results[path]
        return self._within(path, written[0], dep) if self._around(path) else self._folder(path, written)

    def _within(self, path: str, folder: str, dep: Output) -> str | None:
        """Return the hash of what lies in a folder that a stage writes; None if that is not known."""
        value = self._results[folder]
        if self._file(folder, self._outputs[folder]) == value:
            return self._file(path, dep)
        key, cache = tuple(path.removeprefix(f"{folder}/").split("/")), self._repo.cache.local
        try:
            tree = Tree.load(cache, HashInfo("md5", value))
        except (FileNotFoundError, ObjectFormatError):
            return None
        _, info = tree.get(key) or (None, None)
        found = info or getattr(tree.get_obj(cache, key), "hash_info", None)
        return found and str(found.value)

    def _folder(self, path: str, written: list[str]) -> str | None:
        """Return the hash of a folder into which stages write, beside what else is in it; None if that is not known."""
        fs, tree = self._repo.fs, Tree()
        root = fs.abspath(path)
        files = {"/".join(fs.relparts(file, root)): file for file in self._repo.dvcignore.find(fs, root)}
        results: dict[str, str | None] = {}
        for out in written:
            name, value = out.removeprefix(f"{path}/"), self._results[out]
            is_folder = value is not None and value.endswith(".dir")
            if is_folder and self._files.get(out) == value:
                continue
            files = {file: where for file, where in files.items() if not file.startswith(f"{name}/")}
            if not is_folder:
                results[name] = value
                continue
            try:
                inside = Tree.load(self._repo.cache.local, HashInfo("md5", value))
            except (FileNotFoundError, ObjectFormatError):
                return None
            results |= {"/".join((name, *key)): info.value for key, _, info in inside}
        for name in {**files, **results}:
            value = results[name] if name in results else file_md5(files[name], fs)
            tree.add(tuple(name.split("/")), None, HashInfo("md5", value))
        tree.digest()
        return str(tree.hash_info.value)

    def _file(self, path: str, output: Output) -> str | None:
        """Return the hash of a file or folder as it is now, None if it is not here."""
        if path not in self._files:
            self._files[path] = output.get_hash().value if output.exists else None
        return self._files[path]

    def _written(self, path: str) -> list[str]:
        """Return the outputs that a dependency is, lies in, or holds."""
        around = self._around(path)
        return [around] if around else sorted(out for out in self._writers if out.startswith(f"{path}/"))

    def _around(self, path: str) -> str | None:
        """Return the output that a path is, or lies in."""
        return next((one for one in (path, *map(str, PurePosixPath(path).parents)) if one in self._writers), None)

    def _path(self, output: Output) -> str:
        return lock.spelled(output.fs_path)


def _words(command: str) -> tuple[str, ...]:
    """Return a command's words; all of it as one, where a shell alone finds them, such as beside a comment: # don't."""
    try:
        return tuple(shlex.split(command))
    except ValueError:
        return (command,)


def _seen_from_here(entry: dict[str, Any], stage: Stage) -> dict[str, Any]:
    """Return an entry of dvc.lock with paths as seen from the current folder, not from where its stage runs."""
    kinds = {kind: entry[kind] for kind in ("deps", "outs") if entry.get(kind)}
    return entry | {
        kind: [one | {"path": os.path.relpath(Path(stage.wdir, one["path"]))} for one in files]
        for kind, files in kinds.items()
    }


def _leaves(values: dict[str, Any], address: str) -> dict[str, Any]:
    """Return what `values` has at an address, by the addresses of its leaves."""
    value = values.get(address)
    if not isinstance(value, dict) or not value:
        return {address: value} if address in values else {}
    within = {f"{address}.{key}": one for key, one in value.items()}
    return {leaf: one for inner in within for leaf, one in _leaves(within, inner).items()}
