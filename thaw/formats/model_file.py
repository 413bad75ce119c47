"""The file of a model: Keras's own format, with what Thaw knows about the model inside. Needs no Keras."""

import hashlib
import json
import os
import struct
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from thaw.errors import UserError, printable
from thaw.files.reading import damaged, reading
from thaw.files.writing import replacing
from thaw.formats.sealed_csv import require_title, title

RECORD = "thaw.json"
END = struct.Struct("<4s16xH")
"""Of a zip archive: a signature, and the length of a comment behind it."""
LARGEST_SIDE = 4096
"""Pixels of images' longer side that params.yaml allows, and a file may ask for."""
Members = dict[str, bytes]
"""The contents of the files inside, by their names."""


@dataclass(frozen=True)
class BackboneRecord:
    """What a backbone's file says about it."""

    backbone: dict[str, Any]
    """Its entry of params.yaml."""


@dataclass(frozen=True)
class ModelRecord:
    """What the file of a variant's model says about it."""

    classes: list[str]
    """In the order of the model's output."""
    tensors: dict[str, Any]
    """The entry of params.yaml that its images were made by, with the numbers of its normalization."""
    variant: dict[str, Any]
    """Its entry of params.yaml."""
    boundary: str | None
    """The layer whose activations it was trained on; None for pixels."""
    frozen: str | None
    """The last layer that was not trained; None if all were."""
    backbone_digest: str
    """SHA-256 of the file of the backbone that it has."""
    start_digest: str
    """SHA-256 of the file that it started from."""
    start_fit: dict[str, Any] | None
    """How the variant was trained that it started from; None for a backbone."""
    inputs_digest: str
    """`RowFile.digest` of what it was trained on."""
    parameters: dict[str, int] | None = None
    """How many it has, `total`, and how many of them were `trainable`; None before it is trained."""
    temperature: float | None = None
    """What its last layer's weights were divided by, so that its probabilities are calibrated; None if they are not."""
    trained_on: list[str] = field(default_factory=list)
    """Splits that it, or what it descends from, was trained on."""
    chosen_on: list[str] = field(default_factory=list)
    """Splits by which its training, or that of what it descends from, made its choices."""


Record = BackboneRecord | ModelRecord


def to_json(record: Record) -> dict[str, Any]:
    tree = asdict(record)
    return tree if tree.get("parameters", ...) else {key: tree[key] for key in tree if key != "parameters"}


def write(path: Path, members: Members, record: Record) -> None:
    """Write a model's file, the same bytes for the same contents.

    Args:
        path: ends in `.keras`.
        members: what Keras wrote.
        record: goes into the file.
    """
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    needed = sum(map(len, members.values()))
    with replacing(path, needed) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        told = _sealed({**to_json(record), "digests": digests, "title": title(path)})
        for name, content in {**members, RECORD: told}.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)


def read_record(path: Path) -> Record:
    """Read what a model's file says about the model, and nothing else of it.

    Raises:
        UserError: the file is missing, this part of it is damaged, or Thaw did not write it.
    """
    record, _ = _read(path)
    return record


def _read(path: Path) -> tuple[Record, dict[str, str]]:
    """Read what a model's file says about the model, and the digests of the rest."""
    with reading(path), zipfile.ZipFile(path) as archive:
        if RECORD not in archive.namelist():
            raise UserError(
                f"{path}: not a model that Thaw wrote, for there is no {RECORD} inside; one that is damaged, "
                "`dvc repro` makes anew once it is deleted"
            )
        content = stored(archive, RECORD)
        tree: dict[str, Any] = json.loads(content)
        seal = tree.pop("seal")
        if _sealed(tree) != content or not isinstance(seal, str):
            raise ValueError
        digests: dict[str, str] = tree.pop("digests")
        require_title(path, tree.pop("title"))
        kind = BackboneRecord if "backbone" in tree else ModelRecord
        record = kind(**tree)
        if isinstance(record, ModelRecord) and not _is_usable(record):
            raise UserError(
                f"{path}: not a model that Thaw wrote: its images have more than {LARGEST_SIDE} pixels a side, or "
                "its classes no names that can be shown"
            )
        return record, digests


def stored(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return the content of a file inside; all are stored as they are, so that none is larger than the whole.

    Raises:
        BadZipFile: it is compressed, and could be of any size.
        KeyError: there is no such file.
    """
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise zipfile.BadZipFile
    return archive.read(name)


def _is_usable(record: ModelRecord) -> bool:
    """Say whether images can be made as large as a record says, and its classes be shown."""
    sides, classes = record.tensors.get("pixels", [1, 1]), record.classes
    return (
        len(sides) == 2
        and all(type(side) is int and 1 <= side <= LARGEST_SIDE for side in sides)
        and isinstance(classes, list)
        and len(classes) > 0
        and all(isinstance(name, str) and printable(name) == name and "\n" not in name for name in classes)
        and not any("\ud800" <= one <= "\udfff" for name in classes for one in name)
    )


def verify(path: Path) -> Record:
    """Read all of a model's file; return what it says about the model.

    Raises:
        UserError: the file is missing, truncated or altered.
    """
    record, digests = _read(path)
    with reading(path), zipfile.ZipFile(path) as archive, path.open("rb") as file:
        # What stands before and behind, the archive does not know; the file's digest is another with it.
        file.seek(-END.size, os.SEEK_END)
        signature, comment = END.unpack(file.read())
        if archive.infolist()[0].header_offset or signature != b"PK\5\6" or comment:
            raise ValueError
        names = [name for name in archive.namelist() if name != RECORD]
        found = {name: hashlib.sha256(stored(archive, name)).hexdigest() for name in names}
    if found != digests:
        raise damaged(path)
    return record


def variant_of(path: Path, record: Record) -> ModelRecord:
    """Return the record of a variant's model.

    Raises:
        UserError: the file has a backbone.
    """
    if isinstance(record, ModelRecord):
        return record
    raise UserError(f"{path}: a backbone, which knows no classes; take a variant's model, from models/variants")


def backbone_of(path: Path, record: Record) -> BackboneRecord:
    """Return the record of a backbone.

    Raises:
        UserError: the file has a variant's model.
    """
    if isinstance(record, BackboneRecord):
        return record
    raise UserError(f"{path}: a variant's model, where a backbone belongs; delete it and run `dvc repro`")


def _sealed(tree: dict[str, Any]) -> bytes:
    """Return a record as JSON with a digest of itself, by which an altered one is recognized."""
    seal = hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
    return json.dumps({**tree, "seal": seal}, sort_keys=True, indent=1).encode()
