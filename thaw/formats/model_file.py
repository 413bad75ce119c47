"""The file of a model: Keras's own format, with what Thaw knows about the model inside. Needs no Keras."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

from thaw.errors import UserError
from thaw.files import replacing

ABOUT = "thaw.json"
Members = dict[str, bytes]
"""The contents of the files inside, by their names."""


def write(path: Path, members: Members, about: dict[str, Any]) -> None:
    """Write a model's file, the same bytes for the same contents.

    Args:
        path: ends in `.keras`.
        members: what Keras wrote.
        about: JSON-serializable.
    """
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, content in {**members, ABOUT: _sealed({**about, "digests": digests})}.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)


def read_about(path: Path) -> dict[str, Any]:
    """Read what a model's file says about the model, and nothing else of it.

    Raises:
        UserError: the file is missing, this part of it is damaged, or Thaw did not write it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if ABOUT not in archive.namelist():
                raise UserError(f"{path}: not a model that Thaw wrote, for there is no {ABOUT} inside")
            content = archive.read(ABOUT)
            about: dict[str, Any] = json.loads(content)
            seal = about.pop("seal")
            if _sealed(about) != content or not isinstance(seal, str):
                raise ValueError
            return about
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `dvc repro` makes it, `dvc pull` fetches it") from None
    except IsADirectoryError:
        raise UserError(f"{path}: a folder, where a model's file is expected") from None
    except (zipfile.BadZipFile, KeyError, OSError, ValueError, AttributeError):
        raise _damaged(path) from None


def check(path: Path) -> dict[str, Any]:
    """Read all of a model's file; return what it says about the model.

    Raises:
        UserError: the file is missing, truncated or altered.
    """
    about = read_about(path)
    try:
        with zipfile.ZipFile(path) as archive:
            sound = all(
                hashlib.sha256(archive.read(name)).hexdigest() == digest for name, digest in about["digests"].items()
            )
    except (zipfile.BadZipFile, KeyError, OSError, ValueError):
        sound = False
    if not sound:
        raise _damaged(path)
    return about


def _sealed(about: dict[str, Any]) -> bytes:
    """Return `about` as JSON with a digest of itself, by which an altered one is recognized."""
    seal = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    return json.dumps({**about, "seal": seal}, sort_keys=True, indent=1).encode()


def _damaged(path: Path) -> UserError:
    return UserError(
        f"{path}: truncated or altered; delete it and run `dvc repro` (a damaged copy may be in DVC's cache: "
        "then `dvc repro --force` on the stage that writes it)"
    )
