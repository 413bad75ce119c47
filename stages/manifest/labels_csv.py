"""The layout `csv`: a table says what the images are."""

import posixpath
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from stages.manifest.labelled import SHOWN, Labelled, Skipped, refuse_labels, require_text
from thaw.errors import UserError
from thaw.formats.manifest import SPLITS
from thaw.images.decoding import UnreadableImageError
from thaw.images.reading import Contents, found_at, read_file
from thaw.images.reading.archives import is_archive, is_hidden
from thaw.params.labels import unreadable
from thaw.suggestions import did_you_mean

if TYPE_CHECKING:
    from pandas import DataFrame, Series

LABELS_CSV = "labels.csv"
WORKBOOKS = (".xlsx", ".xls", ".ods", ".numbers")


def from_table(inside: Contents) -> tuple[list[Labelled], list[Skipped]]:
    """Read `labels.csv`: the columns path and label, and perhaps split and group."""
    folder, files = inside.folder, inside.files
    path = folder / LABELS_CSV
    table = _read_table(inside)
    _require_cells(folder, path, table)
    # Some systems keep names in another of Unicode's forms than tables do.
    there = {_composed(one): one for one in files} | {one: one for one in files}
    names = table["path"].map(posixpath.normpath)
    table["name"] = [there.get(one) or there.get(_composed(one)) or one for one in names]
    table["first"] = table.groupby("name")["line"].transform("min")
    _require(path, table, table["first"] == table["line"], "{path!r} is there twice, before in line {first}")
    is_listed = table["name"].isin(files)
    beside = []
    gone = []
    for line, name in table.loc[~is_listed, ["line", "name"]].itertuples(index=False):
        if is_hidden(name) and inside.is_file(name):
            reason = "names it, but it is hidden, or left behind by other programs"
        elif is_archive(name) and inside.is_file(name):
            reason = "names it, but it is an archive: name the files in it"
        else:  # on some disks, it is there in other capital letters
            gone.append((line, name))
            continue
        beside.append(Skipped(name, f"line {line} of {LABELS_CSV} {reason}"))
    if gone:
        line, name = gone[0]
        more = f"; so it is with {len(gone) - 1} more of {len(table)} rows" if len(gone) > 1 else ""
        told = f"{folder / name}: {'a folder' if inside.is_folder(name) else 'no such file'}"
        if name.startswith("/"):
            told = f"{name!r} is absolute; paths are relative to {folder}"
        raise UserError(f"{path}:{line}: {told}{_respelled(inside, name)}{more}")
    listed = table[is_listed]
    images = list(map(Labelled, listed["name"], listed["label"], listed["split"], listed["group"].map(_composed)))
    require_text(folder, images, beside)
    places = table.groupby("label", sort=False)["line"].first()
    refuse_labels(path, {label: f"line {line}" for label, line in places.items()})
    return images, beside


def _read_table(inside: Contents) -> "DataFrame":
    """Read `labels.csv`; what cannot be read becomes a `UserError`."""
    from stages.manifest.tables import read_table  # imports pandas, which no other layout has to wait for

    path = inside.folder / LABELS_CSV
    try:
        return read_table(path, read_file(inside.folder, LABELS_CSV))
    except FileNotFoundError:
        tables = [one for one in inside.files if one.lower().endswith((".csv", ".tsv", ".csv.txt", *WORKBOOKS))]
        tables.sort(key=lambda one: one.count("/"))
        together = [one for one in tables if one.count("/") == tables[0].count("/")]
        hint = f"; {tables[0]} would have to be {'there' if '/' in tables[0] else 'named so'}" if tables else ""
        if len(together) > 1:
            hint = f"; join {', '.join(together[:SHOWN])} in it, with a column split if that is what they tell"
        elif tables and tables[0].lower().endswith(WORKBOOKS):
            hint = f"; save {tables[0]} as that, in UTF-8"
        raise UserError(f"{path}: no such file; the layout csv reads paths and labels from it{hint}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnreadableImageError as error:
        raise UserError(f"{found_at(inside.folder, LABELS_CSV)}: {error}") from None


def _require_cells(folder: Path, path: Path, table: "DataFrame") -> None:
    """Raise a UserError unless a table's cells can be what their columns say."""
    _require(path, table, table["path"] != "", "the path is empty")
    _require(path, table, table["label"] != "", "the label is empty")
    leaves = "{path!r} leaves {folder}; paths are relative to that folder"
    _require(path, table, table["path"].map(lambda one: ".." not in one.split("/")), leaves, folder=folder)
    if table["split"].notna().all():
        is_known = table["split"].isin(SPLITS)
        meant = next((did_you_mean(one, SPLITS) for one in table["split"][~is_known]), "")
        told = f"unknown split {{split!r}}; expected one of {', '.join(SPLITS)}{meant}"
        _require(path, table, is_known, told)
    reasons = table.assign(reason=table["group"].map(unreadable))
    _require(path, reasons, reasons["reason"].isna(), "the group {group!r} {reason}; write it without")


def _require(path: Path, table: "DataFrame", is_right: "Series", told: str, **more: object) -> None:
    """Raise a UserError about the first row that is not right; `told` is a format of its values, and of others."""
    if not is_right.all():
        row = table.loc[is_right.idxmin()]
        raise UserError(f"{path}:{row['line']}: {told.format(**row, **more)}")


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _respelled(inside: Contents, name: str) -> str:
    """Return how a path probably has to be written of which there is no file.

    It may have a slash of Windows, spaces around it, or folders in front that are those of the data set, too; or it may
    lack folders, or differ in capital letters or in its ending.
    """
    parts = name.strip().replace("\\", "/").lstrip("/").split("/")
    tails = ["/".join(parts[first:]) for first in range(len(parts))]
    respelled = [one for one in tails if inside.is_file(one)][:1]
    if not respelled:
        respelled = [one for one in inside.files if _spellings(one) & _spellings("/".join(parts))]
    if not respelled:
        last = _spellings(parts[-1])
        respelled = [one for one in inside.files if _spellings(one.rpartition("/")[2]) & last]
    return f"; write {respelled[0]!r}" if len(respelled) == 1 else ""


def _spellings(path: str) -> set[str]:
    """Return a path without capital letters, with its ending and without."""
    return {path.lower(), posixpath.splitext(path.lower())[0]}
