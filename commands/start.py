"""`thaw start`: begin from a recipe."""

import argparse
import shlex
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from dvc.utils.serialize import modify_yaml

from commands import git, lock, pipeline
from thaw.errors import UserError, printable
from thaw.files.writing import replacing
from thaw.params.reading import read_yaml, shown
from thaw.suggestions import did_you_mean

RECIPES = Path("recipes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="its name; without one, all are listed")


def main(recipe: str | None) -> None:
    """Put a recipe in params.yaml's place, and remove the metrics of variants that it does not have.

    Git has to have all that is replaced or removed, or else nothing is changed. Nothing is committed.
    """
    known = {path.stem: path for path in sorted(RECIPES.glob("*.yaml")) if path.is_file()}
    if not known:
        raise UserError(f"{RECIPES}: no recipes are there; run this in the project's folder")
    if recipe is None:
        print(printable(_listed(known)))
        return
    if recipe not in known:
        raise UserError(f"{recipe}: no such recipe{did_you_mean(recipe, known)}\n{_listed(known)}")
    if not git.is_here():
        raise UserError("not a Git repository, which would keep what is replaced; `git init`, and commit all, first")

    data = _data_of(known[recipe])
    _require_saved([str(pipeline.PARAMS), lock.LOCK])
    with _replaced_by(known[recipe]):
        removed = _remove_gone()
    print("\n".join(_told(known[recipe], removed, data)))


def _listed(recipes: dict[str, Path]) -> str:
    width = max(map(len, recipes))
    return "\n".join(f"  {name:{width}}  {next(iter(_comment(path)), '')}" for name, path in recipes.items())


def _comment(recipe: Path) -> list[str]:
    """Return the lines with which a recipe begins, and which say what it is and what it needs."""
    lines = recipe.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    if lines and lines[0].startswith("# yaml-language-server:"):
        del lines[0]
    return [line.removeprefix("#").removeprefix(" ") for line in takewhile(lambda line: line.startswith("#"), lines)]


def _data_of(recipe: Path) -> Path:
    """Return where the data belong that a recipe is for.

    Raises:
        UserError: it does not say so; DVC would name params.yaml, which it is not yet, or fail without a word.
    """
    dataset = read_yaml(recipe).get("dataset")
    path = dataset.get("path") if isinstance(dataset, dict) else None
    if not isinstance(path, str):
        raise UserError(f"{recipe}: dataset.path: expected the folder of the images, got {shown(path)}")
    return Path(path)


def _require_saved(paths: Iterable[str]) -> None:
    unsaved = [path for path in paths if not git.is_saved(path)]
    if unsaved:
        raise UserError(f"{', '.join(unsaved)}: not what the last commit has, and would be lost; commit first")


@contextmanager
def _replaced_by(recipe: Path) -> Iterator[None]:
    """Put a recipe in params.yaml's place; when the block fails, put back what was there."""
    link = pipeline.PARAMS.readlink() if pipeline.PARAMS.is_symlink() else None
    former = pipeline.PARAMS.read_bytes() if pipeline.PARAMS.exists() else None
    with replacing(pipeline.PARAMS) as temporary:
        shutil.copyfile(recipe, temporary)
    try:
        yield
    except BaseException:
        if link:
            with replacing(pipeline.PARAMS) as temporary:
                temporary.symlink_to(link)
        elif former is None:
            pipeline.PARAMS.unlink()
        else:
            with replacing(pipeline.PARAMS) as temporary:
                temporary.write_bytes(former)
        raise


def _remove_gone() -> list[str]:
    """Remove what stages have left that the pipeline no longer has: entries of dvc.lock, and files that Git tracks.

    Returns:
        The files that were removed, and dvc.lock if it changed.
    """
    entries = lock.stages_now()
    with pipeline.opened() as repo:
        gone = entries.keys() - {stage.addressing for stage in repo.index.stages}
    if not gone:
        return []
    files = sorted(path for stage in gone for path in lock.hashes(entries[stage], "outs") if git.is_tracked(path))
    _require_saved(files)
    git.remove(files)
    with replacing(Path(lock.LOCK)) as temporary:
        shutil.copyfile(lock.LOCK, temporary)
        with modify_yaml(str(temporary)) as tree:
            for stage in gone:
                del tree["stages"][stage]
    return [*files, lock.LOCK]


def _told(recipe: Path, changed: list[str], data: Path) -> Iterator[str]:
    """Yield what was done, and what comes next."""
    yield f"{pipeline.PARAMS} is now what {recipe} is."
    if changed:
        *files, _ = changed
        yield f"Removed, with the stages that are no more: {', '.join([*files, f'their entries of {lock.LOCK}'])}."
    undo = shlex.join(["git", "checkout", "HEAD", str(pipeline.PARAMS), *changed])
    yield f"Nothing is committed; `{undo}` undoes it."
    yield ""
    yield from _comment(recipe)
    if not data.exists():
        yield ""
        yield f"There is no {data} yet, where the data belong."
