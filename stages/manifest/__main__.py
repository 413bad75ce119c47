"""List the usable images, each with its class, its split and its digest."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from stages.manifest.collecting import Collection, collect
from thaw.formats.manifest import SPLITS, Row, class_names, write_manifest
from thaw.formats.sealed_csv import write_csv
from thaw.formats.thumbnails import Thumbnails, draw_grid, drawable, reading_thumbnails, writing_thumbnails
from thaw.params.dataset import Dataset, Split
from thaw.params.reading import read_entry
from thaw.stage import announce, run

SAMPLES = 8
SAMPLED_CLASSES = 12
MISSED = 5
"""The most classes that a warning names."""
FEW_BITS = 14
"""The most bits of 16 that look too dark: what uses no more is shown at a fourth of its brightness, or less."""
FLAT = 32
"""Levels of 255: what has no more of 16 bits, as computed tomographies with an offset, is nearly one grey."""
DARK = 64
"""Where no image has so high a level, all are shown at a fourth of their brightness, or less."""
_CHANGED = r"aug(?:mented)?|[hv]?flip(?:ped|lr|ud|tb)?|mirror(?:ed)?|new|rot(?:ate|ated)?"
ROBOFLOW = r"\.rf\.[0-9a-f]{32}$"
COPY = re.compile(
    rf"^aug(?:mented)?[ _.-]+|[ _.-]+(?:{_CHANGED}|\d+deg)(?:{_CHANGED}|deg|\d|[ _.-])*$|{ROBOFLOW}", re.IGNORECASE
)
"""What the names of augmented copies have besides that of the image that they are made of."""


def main(
    params: Path,
    entry: str,
    folder: Path,
    manifest: Path,
    skipped: Path,
    near_duplicates: Path,
    distribution: Path,
    samples: Path,
    thumbnails: Path,
) -> None:
    """Write the manifest of the images in `folder`, what was left out, what looks alike, and what the images show."""
    dataset = read_entry(params, entry, Dataset)
    announce(f"manifest: reading the images in {folder} on the CPU")
    with writing_thumbnails(thumbnails) as pictures:
        found = collect(folder, dataset, pictures)
    rows = found.rows
    with reading_thumbnails(thumbnails) as drawn:
        draw_samples(samples, rows, drawn)
    write_manifest(manifest, rows, dataset.digest)
    write_csv(skipped, ["path", "reason"], [[one.path, one.reason] for one in found.skipped])
    write_csv(
        near_duplicates,
        ["path", "label", "split", "other_path", "other_label", "other_split", "distance"],
        (
            [one.path, one.label, one.split, other.path, other.label, other.split, str(pair.distance)]
            for pair in found.near_duplicates
            for one, other in [(pair.first, pair.second)]
        ),
    )
    of_class = Counter((row.label, row.split) for row in rows)
    write_csv(
        distribution,
        ["number", "class", "split", "images"],
        [
            [str(number), label, split, str(of_class[label, split])]
            for number, label in enumerate(class_names(rows))
            for split in SPLITS
        ],
    )
    counts = Counter(row.split for row in rows)
    sizes = ", ".join(f"{counts[split]} for {split}" for split in SPLITS)
    announce(f"{len(rows)} images of {len(class_names(rows))} classes: {sizes}; {len(found.skipped)} left out")
    for note in found.notes:
        announce(note)
    doubts = [*of_splits(rows, dataset.split), *of_levels(found)]
    leaks = sum(pair.first.split != pair.second.split for pair in found.near_duplicates)
    if leaks:
        look = "1 pair that looks alike is" if leaks == 1 else f"{leaks} pairs that look alike are"
        doubts.append(f"{look} in different splits: see {near_duplicates}")
    for doubt in doubts:
        announce(f"warning: {doubt}")


def of_splits(rows: list[Row], split: Split) -> Iterator[str]:
    """Yield what is doubtful about how images were split.

    That is classes that a split lacks, or of which few are trained, and copies of an image in several splits.
    """
    of_class, classes = {(row.label, row.split) for row in rows}, class_names(rows)
    for held_out, loss in (("validation", "no choice heeds them"), ("test", "the scores say nothing of them")):
        absent = [label for label in classes if (label, held_out) not in of_class]
        if absent:
            more = f" and {len(absent) - MISSED} more" if len(absent) > MISSED else ""
            named = ", ".join(map(repr, absent[:MISSED])) + more
            yield f"classes without an image in the {held_out} split: {named}: {loss}"
    if few := undivided(rows, split):
        yield f"groups are too large to be divided as dataset.split asks: for training are only {few}"
    if copies := torn_copies(rows, split):
        yield (
            f"images that seem to be made of one by augmentation are in different splits, and make scores too good: "
            f"{copies}; leave such copies out, since augmentation in params.yaml makes them of training images alone, "
            "or give those of one image a group in labels.csv"
        )


def of_levels(found: Collection) -> Iterator[str]:
    """Yield what is doubtful about how images were stored: as if their levels were of another range."""
    dark = [bits for bits in found.used_bits if bits <= FEW_BITS]
    if dark:
        share = f"1/{2 ** (16 - max(dark))}"
        yield (
            f"{len(dark)} of {len(found.used_bits)} images with 16 bits a channel use no more than "
            f"{max(dark)} of them, and are shown at {share} of their brightness: save them scaled to 16 bits"
        )
    elif found.used_bits and found.contrast < FLAT:
        yield (
            f"{len(found.used_bits)} images with 16 bits a channel have no more than {found.contrast} of 255 "
            "levels between their darkest and their brightest: save them scaled to 16 bits"
        )
    elif found.brightest < DARK:
        yield (
            f"all images are nearly black, with no level above {found.brightest} of 255 in their thumbnails: "
            "save them scaled to 0-255"
        )
    elif found.black:
        yield (
            f"{found.black} of {len(found.rows)} images have the levels 0 and 1 only, of 255, and look black: "
            "save white as 255"
        )


def undivided(rows: list[Row], split: Split) -> str:
    """Return the classes of which groups leave less than half of the share that is asked for training; "" if none.

    >>> rows = [Row(f"{one}.png", "oak", "test", "", group="tree") for one in range(7)]
    >>> rows.append(Row("7.png", "oak", "train", ""))
    >>> undivided(rows, Split(method="stratified", test=0.2, validation=0.2))
    "1 of 8 images of 'oak'"
    """
    if split.test is None:
        return ""
    asked = 1 - split.test - (split.validation or 0)
    images, trained = (Counter(row.label for row in rows if row.split in of) for of in (SPLITS, SPLITS[:1]))
    few = [label for label in {row.label: 0 for row in rows if row.group} if trained[label] < images[label] * asked / 2]
    more = f", and {len(few) - MISSED} more classes" if len(few) > MISSED else ""
    return ", ".join(f"{trained[label]} of {images[label]} images of {label!r}" for label in few[:MISSED]) + more


def torn_copies(rows: list[Row], split: Split) -> str:
    """Return how many images were augmented into several splits, as far as their names tell, and two; "" if none.

    Roboflow makes copies of training images only, so that its own splits are right.

    >>> rows = [Row(f"{name}.png", "oak", split, "") for name, split in (("1", "test"), ("1_rot90", "train"))]
    >>> torn_copies(rows, Split(method="stratified", test=0.2, validation=0.2))
    '1, such as 1_rot90.png for train and 1.png for test'
    """
    splits: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        stem, source = _source(row)
        if source != stem and not (split.method == "given" and re.search(ROBOFLOW, stem)):
            splits.setdefault((row.label, source), {})
    for row in rows if splits else ():
        of_one = splits.get((row.label, _source(row)[1]))
        if of_one is not None:
            of_one.setdefault(row.split, row.path)
    torn = [of_one for of_one in splits.values() if len(of_one) > 1]
    if not torn:
        return ""
    first, second = [f"{torn[0][one]} for {one}" for one in SPLITS if one in torn[0]][:2]
    return f"{len(torn)}, such as {first} and {second}"


def _source(row: Row) -> tuple[str, str]:
    """Return the name of an image's file, and that of the image that it is made of; without their endings."""
    name = row.path.rpartition("/")[2]
    stem = name.rpartition(".")[0] or name
    return stem, COPY.sub("", stem)


def draw_samples(samples: Path, rows: list[Row], pictures: Thumbnails) -> None:
    """Draw some training images of each class, the same ones for the same images."""
    drawn, classes = [], class_names(rows)[:SAMPLED_CLASSES]
    for label, title in zip(classes, drawable(classes), strict=True):
        mine = sorted(row.sha256 for row in rows if row.label == label and row.split == "train")
        drawn.append((title, [(pictures[digest], "") for digest in mine[:SAMPLES]]))
    draw_grid(samples, drawn, classes)


if __name__ == "__main__":
    run(main)
