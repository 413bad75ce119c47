"""The pipeline of the current folder, as DVC sees it, and what DVC has to complain about."""

import errno
import os
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dvc import dirs
from dvc.config import ConfigError
from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException, NotDvcRepoError
from dvc.repo import Repo
from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro
from dvc.scm import SCMError
from dvc.stage import Stage
from dvc.stage.exceptions import StageFileIsNotDvcFileError
from dvc.utils.serialize import ParseError
from dvc.utils.strictyaml import YAMLValidationError

from commands import git
from commands.lock import LOCK, spelled
from stages.check.checking import check_params
from thaw.errors import UserError, reasons
from thaw.files.writing import OF_WRITING
from thaw.params.reading import CONFLICT, read_yaml
from thaw.stage import refuse_special

PIPELINE, PARAMS = Path("dvc.yaml"), Path("params.yaml")
CACHE_IN = "dvc config --local cache.dir FOLDER"
OF_STORAGES = ("aiohttp", "asyncssh", "botocore", "httpx", "webdav4")
"""Libraries that let errors of their own through DVC, such as where there are no credentials."""
CHECK = f"python -m stages.check --params {PARAMS}"


def require_valid_params() -> None:
    """Check params.yaml as the pipeline's stages do, before DVC reads dvc.yaml, which stops at the first error.

    And look for what is no file among the images: DVC, which hashes all that is there, would read it for ever.

    Raises:
        UserError: its message lists every error.
    """
    refuse_special([PIPELINE, Path(LOCK)])
    _require_pipeline()
    if CHECK.encode() in PIPELINE.read_bytes():
        check_params(PARAMS)
        require_files(Path(read_yaml(PARAMS)["dataset"]["path"]))


def _require_pipeline() -> None:
    """Refuse a folder without dvc.yaml, and one without content: to DVC, a pipeline that was emptied is up to date."""
    if not PIPELINE.is_file():
        raise UserError(f"{PIPELINE}: no such file; run this in the project's folder")
    if not PIPELINE.read_bytes().strip():
        raise UserError(f"{PIPELINE}: the file is empty; `git checkout HEAD {PIPELINE}` restores it")


def require_files(folder: Path) -> None:
    """Refuse a folder in which DVC would wait for ever for what it reads; of a million files, none is looked at."""
    for path in (Path(entry) for entry in entries_below(folder) if not entry.is_file(follow_symlinks=False)):
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise UserError(f"{path}: a pipe, socket or device, which DVC would read for ever; remove it")


def entries_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield all in a folder, at any depth, but folders: what kind each is, the system tells without a look at it."""
    folders: list[str | Path] = [folder]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    yield entry


@contextmanager
def opened() -> Iterator[Repo]:
    """Open the project in the current folder; what DVC has to complain about becomes a `UserError`."""
    _require_pipeline()
    with complaining(), Repo(".") as repo:
        yield repo


@contextmanager
def complaining() -> Iterator[None]:
    """Make a `UserError` of what DVC has to complain about, and of files that it cannot read."""
    try:
        yield
    except SCMError as error:
        remedy = (
            "" if git.is_here() else "; `git init` makes it one, `dvc config --local core.no_scm true` does without"
        )
        raise UserError(f"{error}{remedy}") from None
    except ConfigError as error:
        raise UserError(
            f".dvc/config or .dvc/config.local: {error}; mend it, or `git checkout HEAD .dvc/config`"
        ) from None
    except NotDvcRepoError as error:
        raise UserError(f"{error}; `git checkout HEAD .dvc` restores its folder, `dvc init` makes a new one") from None
    except DvcException as error:
        raise UserError("\n  ".join([f"{error}{_restored(error)}", *_details(error)])) from None
    except sqlite3.OperationalError as error:  # none is damaged, but it cannot be opened, locked or written
        raise UserError(
            f"DVC's databases of hashes cannot be used: {error}; they are in {dirs.site_cache_dir()}, or where "
            "core.site_cache_dir says: give room and permission there, or have "
            "`dvc config --local core.site_cache_dir FOLDER` name another folder"
        ) from None
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"DVC's databases of hashes cannot be read: {error}; `python -m commands.leftovers` removes damaged ones"
        ) from None
    except BrokenPipeError:  # nobody reads on what is printed
        raise
    except OSError as error:
        place = Path(error.filename) if isinstance(error.filename, str) else None
        if error.errno == errno.ENOENT and place and place.is_symlink():  # which DVC follows
            raise UserError(
                f"{place}: cannot be read: a link to {place.readlink()}, where nothing is; where it led into DVC's "
                "cache, and that or the project was moved, `dvc checkout` puts another there; else remove it"
            ) from None
        is_either = error.errno in (errno.EACCES, errno.EPERM)
        what = "written" if error.errno in OF_WRITING else "read or written" if is_either else "read"
        raise UserError(f"{error.filename or 'DVC'}: cannot be {what}: {reasons(error)}") from None
    except UnicodeDecodeError:  # of a .dvcignore, in whatever folder; DVC has words of its own for its other files
        for one in sorted(Path().rglob(".dvcignore")):
            if not _is_utf8(one):
                raise UserError(f"{one}: not UTF-8; save the file with that encoding") from None
        raise
    except UnicodeEncodeError as error:  # DVC keeps paths in databases
        path = error.object if Path(error.object).is_absolute() else Path.cwd()
        raise UserError(f"{path}: a path that is not in UTF-8, at which DVC fails; rename it") from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in OF_STORAGES:
            raise
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"what {PIPELINE} reads from the web or a storage cannot be read: {reason}; see its address and credentials"
        ) from None


def _is_utf8(path: Path) -> bool:
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
    return True


def require_inputs() -> None:
    """Refuse to run where an input is not here, and no stage makes it: DVC removes a stage's results before it fails.

    Raises:
        UserError: it has to be pulled, or it is nowhere.
    """
    with opened() as repo:
        made = [Path(out.fs_path) for out in repo.index.outs]
        _require_images([Path(spelled(out.fs_path)) for out in repo.index.outs if out.stage.cmd])
        lacking = [(stage, told) for stage in repo.index.stages if (told := _lacking_of(stage, made))]
        # Which stages are of this project DVC's graph tells: to build it takes as long as all the rest.
        ours = stages_of(repo) if lacking else []
        for stage, told in lacking:
            if stage in ours:
                raise UserError(told)


def _require_images(made: list[Path]) -> None:
    """Refuse an empty folder of images that no stage fills, as of a disk that is not mounted: DVC takes it for data."""
    if CHECK.encode() not in PIPELINE.read_bytes():
        return
    folder = Path(read_yaml(PARAMS)["dataset"]["path"])
    place = Path(spelled(str(folder)))
    is_made = any(one.is_relative_to(place) or place.is_relative_to(one) for one in made)
    if not is_made and folder.is_dir() and not any(folder.iterdir()):
        raise UserError(
            f"{folder}: empty, where the images should be; mount or fill it: `git submodule update --init` does where "
            "it is a submodule of Git's, `dvc pull` where DVC has it"
        )


def _lacking_of(stage: Stage, made: list[Path]) -> str | None:
    """Say which input of a stage, or which data of a `.dvc` file, is not here and made by none, and what to do."""
    if stage.is_data_source:
        is_fetched = stage.is_partial_import or (stage.deps and not stage.frozen)  # by DVC, from where it is
        gone = [] if is_fetched else [str(out) for out in stage.outs if not out.exists]
        return f"{gone[0]}: not here; `{shlex.join(['dvc', 'pull', *gone])}` fetches it" if gone else None
    for dep in stage.deps if not stage.frozen else ():
        if isinstance(dep, ParamsDependency) or dep.protocol != "local" or dep.exists:
            continue
        place = Path(dep.fs_path)
        if not any(one.is_relative_to(place) or place.is_relative_to(one) for one in made):
            return (
                f"{os.path.relpath(place)}: {stage.addressing} reads it, but it is not here, and no stage or "
                f".dvc file has it; put it there, or mend what names it in {PARAMS} or {PIPELINE}"
            )
    return None


def require_plain(path: str, command: str) -> None:
    """Refuse a path of DVC's cache, or of a remote, with braces: DVC fails as it shows it (docs/upstream.md).

    Raises:
        UserError: it has some; the message says which command names another one.
    """
    if "{" in path or "}" in path:
        raise UserError(
            f"{path}: DVC fails at braces in such a path; rename the folder, or name another by `{command}`"
        )


def _restored(error: DvcException) -> str:
    """Return how a file of DVC's is restored that cannot be read; nothing of another error."""
    if isinstance(error, YAMLValidationError) and LOCK in str(error):
        return f"; `git checkout HEAD {LOCK}` restores it"
    if isinstance(error, StageFileIsNotDvcFileError):
        return ", but a folder, or a link to nothing; remove it, or restore it with git"
    if not isinstance(error, ParseError):
        return ""
    path = Path(error.path)
    name = shlex.quote(str(path))
    if not CONFLICT.search(path.read_text(encoding="utf-8", errors="replace")):
        return f"; mend it, or `git checkout HEAD {name}`"
    if path.suffix != ".dvc":
        return "; a merge left conflicts: mend what stands between <<<<<<< and >>>>>>>"
    return (  # hashes, between which nobody can mend anything
        f"; a merge left conflicts: `git checkout --ours {name}` or `--theirs`, `dvc checkout {name}`, then put in "
        f"what the other side has more, and `dvc add {shlex.quote(str(path.with_suffix('')))}`"
    )


def _details(error: DvcException) -> Iterator[str]:
    """Yield what is wrong in a YAML file, and where, which DVC's own command tells beside the message."""
    inner = getattr(error, "exc", None)  # of its schema, or of the parser
    for one in getattr(inner, "errors", ()):
        yield f"{one.error_message}, in {' -> '.join(map(str, one.path))}"
    marked = getattr(inner, "__cause__", None)
    if mark := getattr(marked, "problem_mark", None):
        yield f"{getattr(marked, 'problem', None) or 'cannot be parsed'}, in line {mark.line + 1}"


def stages_of(repo: Repo) -> list[Stage]:
    """Return the stages that `dvc repro` runs in the current folder, in its order.

    Those are of the folder's dvc.yaml, and what they need; a repository may have other pipelines beside it.
    """
    plan: list[Stage] = plan_repro(get_active_graph(repo.index.graph), collect_stages(repo, [str(PIPELINE)]))
    return plan
