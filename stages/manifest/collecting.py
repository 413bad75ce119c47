"""From a data set in any layout to the rows of a manifest."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from errno import ENOENT
from pathlib import Path

import numpy as np

from stages.manifest.labelled import SHOWN, Labelled, Skipped
from stages.manifest.listing import listing, require_whole_groups
from stages.manifest.near_duplicates import components, perceptual_hash, remedy, similar_pairs
from stages.manifest.splits import Member, assign
from thaw.errors import UserError, reasons
from thaw.files.reading import is_of_machine
from thaw.formats.manifest import Row
from thaw.formats.thumbnails import THUMBNAIL_SIDE, ThumbnailWriter, thumbnail
from thaw.images.decoding import UnreadableImageError, decoding, has_ones_for_white, used_bits
from thaw.images.reading import found_at, read_image
from thaw.params.dataset import Dataset
from thaw.progress import progress
from thaw.threads import on_all_cores

PREFERRED = ("test", "validation", "train", None)


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two images that look alike, and in how many bits their perceptual hashes differ."""

    first: Row
    second: Row
    distance: int


@dataclass(frozen=True)
class Collection:
    """A data set's images, read and split."""

    rows: list[Row]
    skipped: list[Skipped]
    near_duplicates: list[NearDuplicate]
    notes: list[str]
    """Lines about what else was found."""
    used_bits: list[int]
    """How many of their bits a channel those images use that have 16, in any order."""
    contrast: int
    """The most levels, of 255, that any of these images has between its darkest and its brightest."""
    black: int
    """Images that have the levels 0 and 1 only."""
    brightest: int
    """The highest level of any image's thumbnail, 0 to 255."""


@dataclass(frozen=True, slots=True)
class _Read:
    file: Labelled
    digest: str = ""
    reason: str = ""
    """The reason why it cannot be used; empty if it can."""
    hash: int = 0
    thumbnail: bytes = b""
    used_bits: int | None = None
    """How many of 16 bits a channel it uses; None if it has fewer."""
    contrast: int = 0
    """The levels between its darkest and its brightest."""
    is_black: bool = False
    """Whether it has the levels 0 and 1 only."""
    brightest: int = 0
    """The highest level of its thumbnail."""


def collect(folder: Path, dataset: Dataset, thumbnails: ThumbnailWriter) -> Collection:
    """Find, read and split the images of a data set, and keep a thumbnail of each.

    Every image is read and decoded once, so that later stages can rely on it.

    Raises:
        UserError: there are no images or too few of a class; or, with `on_bad_image: fail`, a file cannot be
            used; equal bytes in two classes are never accepted silently.
    """
    listed = listing(folder, dataset)
    files = listed.images
    first: dict[str, _Read] = {}
    bad, repeated = listed.beside, []
    contradicted: set[str] = set()
    groups: dict[str, set[str]] = {}  # where there are any: of all files with a digest, those that are left out too
    for one in progress(_read_all(folder, files, dataset), len(files), "reading images"):
        if one.reason:
            bad.append(Skipped(one.file.path, one.reason))
            continue
        if one.digest not in first:
            thumbnails.add(one.digest, one.thumbnail)
        one = replace(one, thumbnail=b"")  # which is on the disk now, not in memory
        twin = first.setdefault(one.digest, one)
        if one.file.group:
            groups.setdefault(one.digest, set()).add(one.file.group)
        if twin.file.label != one.file.label:
            contradicted.add(one.digest)
            bad.append(Skipped(one.file.path, f"the same bytes as {twin.file.path}, which is in another class"))
        elif twin is not one:
            # An image of two given splits stays where it is scored, not where it is learnt.
            kept, left = sorted((twin, one), key=lambda each: PREFERRED.index(each.file.split))
            first[one.digest] = kept
            repeated.append(Skipped(left.file.path, f"the same bytes as {kept.file.path}"))
    if bad and dataset.on_bad_image == "fail":
        shown = "".join(f"\n  {found_at(folder, one.path)}: {one.reason}" for one in bad[:SHOWN])
        more = f"\n  and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise UserError(
            f"files that cannot be used: {len(bad)}{shown}{more}\n"
            "mend or remove them, or set dataset.on_bad_image: skip to leave them out and list them"
        )
    bad += [Skipped(first[digest].file.path, "the same bytes as a file in another class") for digest in contradicted]
    usable = sorted((one for digest, one in first.items() if digest not in contradicted), key=lambda one: one.file.path)
    if dataset.split.method == "given":
        require_whole_groups(folder, ((group, one.file) for one in usable for group in groups.get(one.digest, ())))
    try:
        rows, pairs = _split(usable, groups, listed.classes, dataset)
    except UserError as error:
        doubts = [note for note in listed.notes if note.startswith("warning: ")]
        if without := bad + repeated:
            shown = f"{found_at(folder, without[0].path)}: {without[0].reason}"
            doubts.insert(0, f"files that are left out: {len(without)}, such as {shown}")
        raise UserError("\n".join([str(error), *doubts])) from None
    bits = [one.used_bits for one in usable if one.used_bits is not None]
    left_out = sorted(bad + repeated, key=lambda one: one.path)
    contrast, brightest = (max(each) for each in zip(*((one.contrast, one.brightest) for one in usable), strict=True))
    black = sum(one.is_black for one in usable)
    return Collection(rows, left_out, pairs, listed.notes, bits, contrast, black, brightest)


def _read_all(folder: Path, files: list[Labelled], dataset: Dataset) -> Iterator[_Read]:
    """Read files on all cores, in order."""

    def read_one(file: Labelled) -> _Read:
        try:
            digest, source = read_image(folder, file.path)
            with decoding(source, least=2 * THUMBNAIL_SIDE) as image:
                looks = perceptual_hash(image) if dataset.near_duplicates is not None else 0
                # Before the image becomes as small as its thumbnail.
                bits, is_black = used_bits(source, image), has_ones_for_white(image)
                contrast = 0 if bits is None else int(np.ptp(image.getextrema()))
                jpeg = thumbnail(image)
                brightest = int(np.max(image.getextrema()))
                return _Read(file, digest, "", looks, jpeg, bits, contrast, is_black, brightest)
        except OSError as error:
            if is_of_machine(error):  # the file may be sound: to leave it out would be another data set
                raise UserError(f"{found_at(folder, file.path)}: cannot be read: {reasons(error)}") from None
            leads = "; it is a link that leads nowhere" * (error.errno == ENOENT and (folder / file.path).is_symlink())
            return _Read(file, reason=f"cannot be read: {error.strerror}{leads}")
        except MemoryError:
            raise MemoryError(
                f"{found_at(folder, file.path)} does not fit; let fewer processes run at a time"
            ) from None
        except UnreadableImageError as error:
            return _Read(file, reason=str(error))

    return on_all_cores(read_one, files)


def _split(
    usable: list[_Read], groups: dict[str, set[str]], classes: list[str], dataset: Dataset
) -> tuple[list[Row], list[NearDuplicate]]:
    """Assign images to splits: those of a group, and those that look alike, to the same one."""
    first = second = distances = np.empty(0, np.int64)
    if dataset.near_duplicates is not None and usable:
        first, second, distances = similar_pairs(
            np.array([one.hash for one in usable], np.uint64), dataset.near_duplicates
        )
    leaders: dict[str, int] = {}
    same = [
        (leaders.setdefault(group, place), place)
        for place, one in enumerate(usable)
        for group in groups.get(one.digest, ())
    ]
    component = components(
        len(usable),
        np.concatenate([first, [one for one, _ in same]]).astype(np.int64),
        np.concatenate([second, [other for _, other in same]]).astype(np.int64),
    )
    names: dict[int, str] = {}
    for one, number in zip(usable, component, strict=True):
        names.setdefault(int(number), min(groups.get(one.digest, ()), default=one.file.path))
    alone = np.bincount(component, minlength=1)[component] == 1 if len(usable) else np.empty(0, bool)
    members = [
        Member(one.file.path, one.file.label, one.digest, str(number), one.file.split)
        for one, number in zip(usable, component, strict=True)
    ]
    try:
        assigned = assign(members, {*classes}, dataset.split)
    except UserError as error:
        if not len(first):
            raise
        most = np.bincount(component).max()
        raise UserError(
            f"{error}\nimages that look alike stay together, {most} of {len(usable)} in one unit; "
            f"{remedy(dataset.near_duplicates or 0)}"
        ) from None
    numbers = {label: number for number, label in enumerate(classes)}
    rows = [
        Row(
            one.file.path,
            one.file.label,
            split,
            one.digest,
            "" if is_alone else names[int(number)],
            numbers[one.file.label],
        )
        for one, split, number, is_alone in zip(usable, assigned, component, alone, strict=True)
    ]
    pairs = [
        NearDuplicate(rows[one], rows[other], int(bits))
        for one, other, bits in zip(first, second, distances, strict=True)
    ]
    return rows, pairs
