"""A trained model as it is used: from image files to class probabilities."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args
from zipfile import is_zipfile

import numpy as np

from commands.output import printable
from thaw.engines.engine import Engine, finite
from thaw.errors import UserError
from thaw.files.reading import read_bytes
from thaw.files.watching import stamp
from thaw.formats import model_file
from thaw.images.decoding import UnreadableImageError, pixels
from thaw.images.reading.archives import Member
from thaw.params.tensors import Tensors
from thaw.progress import progress
from thaw.threads import on_all_cores

IMAGES_AT_A_TIME = 32
WAYS = {key: get_args(Tensors.model_fields[key].annotation) for key in ("resize", "interpolation")}
"""In which an image gets its size."""


def stamp_of(path: Path) -> tuple[int, ...] | None:
    """Return what `stamp` does; None if no file is there."""
    return stamp(path) if path.exists() else None


@dataclass(frozen=True)
class Unreadable:
    """A file that shows no image, and why."""

    path: Path | Member
    reason: str


class Classifier:
    """What images have to become for a variant's model, and what its numbers mean.

    Raises:
        UserError: the file is missing, damaged or not a variant's.
    """

    def __init__(self, path: Path):
        self._path, self._stamp = path, stamp_of(path)
        if path.is_dir() or (path.is_file() and path.suffix != ".keras" and not is_zipfile(path)):  # such as a photo
            what = "a folder, where a file is expected" if path.is_dir() else "no model"
            raise UserError(f"{path}: {what}; name a variant's model, such as models/variants/full.keras")
        record = model_file.variant_of(path, model_file.read_record(path))
        self.classes = record.classes
        made_by: dict[str, Any] = {key: record.tensors.get(key) for key in ("pixels", "resize", "interpolation")}
        if not made_by["pixels"] or any(made_by[key] not in known for key, known in WAYS.items()):
            raise UserError(f"{path}: not a model that Thaw wrote: it does not say how its images are made")
        self.usage = {"classes": self.classes, **made_by}
        """What has to be known to use the model elsewhere: it normalizes RGB pixels 0-255 itself."""

    def require_same_file(self) -> None:
        """Raise a `UserError` if the model's file has become another one since, such as by a `dvc repro` beside.

        Its classes would be taken for another model's; call it once the model is loaded.
        """
        if stamp_of(self._path) != self._stamp:
            raise UserError(f"{self._path}: became another file while it was read; run it again")

    def pixels(self, source: bytes | np.ndarray) -> np.ndarray:
        """Return an image as the variant's own images were made; uint8 (height, width, 3).

        Raises:
            UnreadableImageError: it is none.
        """
        height, width = self.usage["pixels"]
        return pixels(source, height, width, self.usage["resize"], self.usage["interpolation"])

    def read(self, path: Path | Member) -> np.ndarray | Unreadable:
        """Return a file's image as `pixels` makes it."""
        try:
            return self.pixels(read_bytes(path) if isinstance(path, Path) else path.read_bytes())
        except MemoryError:
            raise MemoryError(f"{printable(path)} does not fit; let fewer processes run at a time") from None
        except OSError as error:
            return Unreadable(path, f"cannot be read: {error.strerror}")
        except UnreadableImageError as error:
            return Unreadable(path, str(error))

    def classify(
        self, engine: Engine, paths: Iterable[Path | Member]
    ) -> Iterator[tuple[Path | Member, np.ndarray] | Unreadable]:
        """Yield what files show: the path and the engine's row, such as class probabilities, or why there is none.

        The images come in order, only some are read ahead.

        Args:
            engine: runs the model.
            paths: files, there or in archives.
        """
        readable: deque[Path | Member] = deque()
        unreadable: list[Unreadable] = []

        def batches() -> Iterator[np.ndarray]:
            rows = []
            for path, row in on_all_cores(lambda path: (path, self.read(path)), paths):
                if isinstance(row, Unreadable):
                    unreadable.append(row)
                    continue
                readable.append(path)
                rows.append(row)
                if len(rows) == IMAGES_AT_A_TIME:
                    yield np.stack(rows)
                    rows = []
            if rows:
                yield np.stack(rows)

        for probabilities in finite(engine.stream(batches()), self._path):
            for row in probabilities:
                yield readable.popleft(), row
            yield from unreadable
            unreadable.clear()
        yield from unreadable


def classified(
    classifier: Classifier, engine: Engine, paths: list[Path | Member], unreadable: list[Unreadable]
) -> Iterator[tuple[Path | Member, np.ndarray]]:
    """Yield what files show, as `Classifier.classify` does, under a progress bar; what shows none is collected."""
    none: list[int] = []
    with progress(none, len(paths), "predicting") as bar:
        for one in classifier.classify(engine, paths):
            bar.update()
            if isinstance(one, Unreadable):
                unreadable.append(one)
            else:
                yield one


def refuse_unreadable(unreadable: list[Unreadable], files: int) -> None:
    """Raise a `UserError` that lists the files that show no image, if there are any among so many."""
    if unreadable:
        reasons = "".join(f"\n  {printable(one.path)}: {one.reason}" for one in unreadable)
        show = "shows" if len(unreadable) == 1 else "show"
        raise UserError(f"{len(unreadable)} of {files} files {show} no image:{reasons}")
