"""Damaged files: whoever reads one names it before use, or does as if nothing had happened."""

import contextlib
import hashlib
import importlib
import io
import random
import shlex
import sys
import traceback
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from dvc.cli import main as dvc_main
from PIL import Image
from ruamel.yaml import YAML

from commands.__main__ import main as commands_main
from tests.conftest import STAGES, Project
from tests.faults.conftest import Tried
from tests.faults.damages import (
    DAMAGES,
    RANDOM,
    SEED,
    Damage,
    emptied,
    flipped,
    other_text,
    truncated,
)
from tests.toy import dvc
from thaw.formats.sealed_csv import SEAL
from thaw.stage import run


def without_row(content: bytes, chance: random.Random) -> bytes:
    """Leave out a row; of a table without any, its last byte."""
    lines = content.splitlines(keepends=True)
    if len(lines) == 1:
        return content[:-1]
    del lines[chance.randrange(1, len(lines))]
    return b"".join(lines)


def other_cell(content: bytes, chance: random.Random) -> bytes:
    """Change a character of a cell, or of a table's head if it has none, into another that could stand there."""
    head = (content.index(b"\n") + 1) % len(content)
    places = [place for place in range(head, len(content)) if chr(content[place]).isalnum()]
    place = chance.choice(places)
    new = b"7" if content[place : place + 1] != b"7" else b"3"
    return content[:place] + new + content[place + 1 :]


def without_last_cell(content: bytes, chance: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    number = chance.randrange(len(lines))
    lines[number] = lines[number].rstrip(b"\n").rpartition(b",")[0].rpartition(b",")[0] + b"\n"
    return b"".join(lines)


def swapped_rows(content: bytes, chance: random.Random) -> bytes:
    head, *lines = content.splitlines(keepends=True)
    if len(lines) < 2:
        return without_row(content, chance)
    one, other = chance.sample(range(len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]
    return head + b"".join(lines)


def of_windows(content: bytes, chance: random.Random) -> bytes:
    return content.replace(b"\n", b"\r\n")


def of_former_version(content: bytes, chance: random.Random) -> bytes:
    """Return a table as it was before tables were sealed."""
    head, *lines = content.decode().splitlines()
    columns = head.split(",")
    assert SEAL.fullmatch(columns.pop())
    return "\n".join([",".join(columns), *(line.removesuffix(",") for line in lines), ""]).encode()


IN_TABLES: tuple[Damage, ...] = (
    without_row,
    other_cell,
    without_last_cell,
    swapped_rows,
    of_windows,
    of_former_version,
)


def without_member(content: bytes, chance: random.Random) -> bytes:
    return _zipped(content, lambda names: names[: len(names) // 2])


def without_comments(content: bytes, chance: random.Random) -> bytes:
    """Return an archive written anew, as an earlier version wrote it."""
    return _zipped(content, lambda names: names)


def _zipped(content: bytes, choose: Callable[[list[str]], list[str]]) -> bytes:
    new = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(new, "w") as archive:
        for name in choose(old.namelist()):
            archive.writestr(name, old.read(name))
    return new.getvalue()


@dataclass(frozen=True)
class Artifact:
    """A file, who reads it, and what can be in its place."""

    path: str
    reader: str
    """A stage of dvc.lock, or a command."""
    damages: tuple[Damage, ...] = DAMAGES
    swapped: str = ""
    """Another file of its kind."""


def tables(path: str, reader: str, swapped: str = "") -> Artifact:
    return Artifact(path, reader, DAMAGES + IN_TABLES, swapped)


PLAN = "thaw plan"
PREDICT = "thaw predict models/variants/half.keras data/raw/trees/oak"
NEXT = "thaw next new --model models/variants/frozen_head.keras"
ARTIFACTS = (
    tables("data/manifest.csv", "tensors@small", "data/skipped.csv"),
    tables("data/manifest.csv", "report"),
    tables("data/validation/half.csv", "report", "data/validation/full.csv"),
    tables("data/predictions/half.csv", "report", "data/predictions/full.csv"),
    tables("data/predictions/full.csv", "report", "data/validation/full.csv"),
    tables("data/history/half.csv", "report", "data/history/full.csv"),
    tables("data/history/frozen_head.csv", "report"),
    tables("data/label_issues/bottleneck.csv", "report", "data/manifest.csv"),
    Artifact(
        "data/thumbnails.zip", "report", (*DAMAGES, without_member, without_comments), "models/variants/half.keras"
    ),
    Artifact("data/thumbnails.zip", "evaluate@frozen_head", (*DAMAGES, without_member, without_comments)),
    Artifact("data/thumbnails.zip", "label_issues@bottleneck", (truncated, without_member)),
    Artifact("data/tensors/small.h5", "features@bottleneck", swapped="data/features/midway.h5"),
    Artifact("data/features/bottleneck.h5", "train@frozen_head", swapped="data/features/midway.h5"),
    Artifact("data/features/bottleneck.h5", "label_issues@bottleneck", swapped="data/features/midway.h5"),
    Artifact("data/features/midway.h5", "evaluate@half", swapped="data/features/bottleneck.h5"),
    Artifact(
        "models/backbones/lite0.keras", "features@midway", (*DAMAGES, without_member), "models/variants/half.keras"
    ),
    Artifact("models/backbones/lite0.keras", "train@frozen_head", swapped="models/variants/half.keras"),
    Artifact("models/variants/frozen_head.keras", "train@half", DAMAGES[:2], "models/variants/half.keras"),
    Artifact("models/variants/half.keras", "evaluate@half", (*DAMAGES, without_member), "models/variants/full.keras"),
    Artifact("models/variants/half.keras", PREDICT, (*DAMAGES, without_member), "models/variants/frozen_head.keras"),
    Artifact("data/manifest.csv", NEXT, (*DAMAGES, *IN_TABLES[:2])),
    Artifact("params.yaml", "tensors@small", (truncated, emptied, other_text)),
    Artifact("constraints.txt", "report", (emptied, other_text)),
    Artifact("dvc.lock", PLAN),
)


CHECKED = ("params.yaml", "data/manifest.csv")
"""Files that the check reads, too."""


@dataclass(frozen=True)
class Done:
    """What a command did, and what it left."""

    code: int | None
    text: str
    files: dict[Path, bytes]


class Commands:
    """The stages and commands of a project in which everything has run, in this process: it has Keras already."""

    def __init__(self, project: Project):
        self._folder = project.folder
        new = project.folder / "new" / "tree.png"
        new.parent.mkdir(exist_ok=True)
        Image.fromarray(np.random.default_rng(SEED).integers(0, 255, (30, 30, 3), np.uint8)).save(new)
        with (project.folder / "dvc.lock").open(encoding="utf-8") as file:
            self._stages = YAML(typ="safe").load(file)["stages"]
        self._former: dict[str, Done] = {}

    def former(self, reader: str) -> Done:
        """Return what a reader does where nothing is damaged."""
        if reader not in self._former:
            self.run(reader)  # what it then keeps is there the next time
            done = self._former[reader] = self.run(reader)
            assert done.code is None, done.text
        return self._former[reader]

    def run(self, reader: str, checks: bool = True) -> Done:
        """Run a stage, with nothing there of what it writes, or a command; what a stage wrote is put back.

        Args:
            reader: the stage or the command.
            checks: whether all of params.yaml is checked first.
        """
        stage = self._stages.get(reader)
        if stage is None:
            return Done(*self._started(commands_main, shlex.split(reader)), {})
        outs = [self._folder / out["path"] for out in stage["outs"]]
        saved = {path: path.read_bytes() for path in outs}
        for path in outs:
            path.unlink()
        try:
            for command in stage["cmd"] if checks else stage["cmd"][-1:]:
                _, _, module, *words = shlex.split(command)
                code, text = self._started(partial(run, _main(module)), [module, *words])
                if code is not None:
                    break
            return Done(code, text, {path: path.read_bytes() for path in outs if path.exists()})
        finally:
            for path, content in saved.items():
                path.write_bytes(content)

    def _started(self, main: Callable[[], None], words: list[str]) -> tuple[int | None, str]:
        """Call what starts a process; return its exit status, None for success, and all that it printed."""
        printed = io.StringIO()
        former, sys.argv = sys.argv, words
        try:
            with contextlib.chdir(self._folder), redirect_stdout(printed), redirect_stderr(printed):
                main()
            return None, printed.getvalue()
        except SystemExit as leaving:
            return 1, f"{printed.getvalue()}{leaving.code}\n"
        except Exception:
            return 1, printed.getvalue() + traceback.format_exc()
        finally:
            sys.argv = former


def _main(module: str) -> Callable[..., None]:
    found = importlib.import_module(module)
    main: Callable[..., None] = (
        found if hasattr(found, "main") else importlib.import_module(f"{module}.__main__")
    ).main
    return main


@contextmanager
def holding(path: Path, content: bytes) -> Iterator[None]:
    """Have other bytes in a file for as long as the block lasts."""
    former = path.read_bytes()
    path.unlink()  # it may be linked to DVC's cache
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(former)


def came_of(artifact: Artifact, found: Done, commands: Commands) -> str:
    """Return what a reader makes of a damaged artifact: `named` or `harmless`; anything else is a fault."""
    if "Traceback" in found.text:
        return f"traceback: {found.text[-1500:]}"
    if found.code is not None:
        errors = [line for line in found.text.splitlines() if line.startswith("error: ")]
        is_named = len(errors) == 1 and artifact.path in errors[0] and not found.files
        return "named" if is_named else f"badly told: {found.text[-800:]} {[*found.files]}"
    former = commands.former(artifact.reader)
    if artifact.reader in STAGES:
        return "harmless" if found.files == former.files else "silent"
    if found.text == former.text:
        return "harmless"
    # What the plan says of another dvc.lock is that stages run anew.
    return "named" if artifact.reader == PLAN else f"silent: {found.text[-500:]}"


@pytest.fixture(scope="session")
def commands(finished: Project) -> Commands:
    return Commands(finished)


@pytest.mark.parametrize(
    "artifact", ARTIFACTS, ids=lambda artifact: f"{artifact.path} {artifact.reader.split('/')[-1]}"
)
def test_a_damaged_file_is_named_or_harmless(
    artifact: Artifact, commands: Commands, finished: Project, is_full: bool, tried: Tried
) -> None:
    chance = random.Random(f"{SEED} {artifact.path} {artifact.reader}")
    path = finished.folder / artifact.path
    wrong = []
    cases: list[tuple[str, bytes]] = []
    for damage in artifact.damages:
        again = 3 if damage in (*RANDOM, other_cell) else 1
        cases += [(damage.__name__, damage(path.read_bytes(), chance)) for _ in range(again)]
    if artifact.swapped:
        cases.append(("swapped", (finished.folder / artifact.swapped).read_bytes()))
    for how, content in cases if is_full else chance.sample(cases, 1):
        with holding(path, content):
            found = commands.run(artifact.reader, checks=artifact.path in CHECKED)
        outcome = came_of(artifact, found, commands)
        tried(artifact.path, how, outcome.partition(":")[0])
        if outcome not in ("named", "harmless"):
            wrong.append(f"{how}: {outcome}")
    assert not wrong, "\n".join(wrong)


PULLED = ("data/manifest.csv", "data/thumbnails.zip", "data/features/bottleneck.h5", "models/variants/half.keras")


def test_what_a_remote_has_damaged_is_named(
    commands: Commands, finished: Project, is_full: bool, tried: Tried, tmp_path: Path
) -> None:
    """DVC pulls it, and takes it for what it was."""
    chance = random.Random(SEED)
    chosen = [artifact for artifact in ARTIFACTS if artifact.path in PULLED and artifact.reader != NEXT]
    chosen = chosen if is_full else chance.sample(chosen, 1)
    paths = sorted({artifact.path for artifact in chosen})
    store, remote = finished.folder / ".dvc" / "cache", tmp_path / "remote"
    dvc(finished, "remote", "add", "--quiet", "--local", "--default", "damaged", str(remote))
    try:
        dvc(finished, "push", "--quiet", *paths)
        wrong = []
        for artifact in chosen:
            path = finished.folder / artifact.path
            content, name = path.read_bytes(), hashlib.md5(path.read_bytes()).hexdigest()
            mine, theirs = (folder / "files" / "md5" / name[:2] / name[2:] for folder in (store, remote))
            for damage in (flipped, truncated, emptied) if is_full else (flipped,):
                theirs.unlink(missing_ok=True)  # DVC may have found the damage, and removed it
                theirs.write_bytes(damage(content, chance))
                path.unlink()
                mine.unlink(missing_ok=True)
                with contextlib.chdir(finished.folder):
                    dvc_main(["pull", "--quiet", artifact.path])
                found = commands.run(artifact.reader, checks=artifact.path in CHECKED)
                path.unlink(missing_ok=True)
                path.write_bytes(content)
                outcome = came_of(artifact, found, commands)
                tried(f"pulled {artifact.path}", damage.__name__, outcome.partition(":")[0])
                if outcome not in ("named", "harmless"):
                    wrong.append(f"{artifact.path} {damage.__name__}: {outcome}")
                mine.unlink(missing_ok=True)
                mine.parent.mkdir(parents=True, exist_ok=True)
                mine.write_bytes(content)
        assert not wrong, "\n".join(wrong)
    finally:
        dvc(finished, "remote", "remove", "--quiet", "--local", "damaged")
