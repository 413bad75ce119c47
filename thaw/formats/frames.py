"""What the stages write, as tables of pandas: for notebooks and scripts, no stage needs it."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pandas

from thaw.errors import UserError
from thaw.files.reading import DAMAGE
from thaw.formats.label_issues import LABEL_ISSUE_COLUMNS
from thaw.formats.manifest import MANIFEST_COLUMNS
from thaw.formats.metrics import BY_SEED
from thaw.formats.predictions import FIXED, PROBABILITY
from thaw.formats.row_file import RowFile
from thaw.formats.sealed_csv import parse_csv

TABLES = (
    MANIFEST_COLUMNS,
    LABEL_ISSUE_COLUMNS,
    ["path", "reason"],
    ["path", "label", "split", "other_path", "other_label", "other_split", "distance"],
    ["number", "class", "split", "images"],
    ["class", "images", "precision", "recall", "f1"],
    ["images", "confidence", "accuracy", "accuracy_low", "accuracy_high"],
)
"""Columns of tables that always have the same; predictions, learning curves and scores by seed begin with some."""
ROWS_AT_A_TIME = 4096
CURVE = ["step"]
TEXT = {
    *("path", "label", "split", "sha256", "group", "reason", "class", "actual", "predicted"),
    *("other_path", "other_label", "other_split", "given", "suggested", "suspected"),
}
WHOLE = {"number", "images", "distance", "step", "seed"}
"""Columns of whole numbers; what is neither is real numbers."""


def frame(path: Path | str) -> pandas.DataFrame:
    """Read what a stage wrote as a table.

    - The CSV files of `data/`, such as the manifest, predictions and learning curves: with the columns that they have.
      Names of classes and other texts are text, whatever they read as; all else is numbers.
    - The scores of `metrics/*.json`: a row, named by the variant, with columns such as `test.accuracy`.
    - Tensors and features, `*.h5`: the columns of the manifest, a row for each row of the file. `RowFile(path)` gives
      the pixels or activations of some: `[part.index]`, for a part of the table.

    Raises:
        UserError: the file is missing, damaged, or nothing that a stage wrote.

    >>> from thaw.formats.predictions import Predictions, write_predictions
    >>> labels, probabilities = np.array([1, 1]), np.array([[0.25, 0.75], [0.5, 0.5]])
    >>> write_predictions(Path("full.csv"), Predictions(["1.jpg", "2.jpg"], labels, probabilities, ["007", "NA"]))
    >>> frame("full.csv")
        path actual predicted  p_007  p_NA
    0  1.jpg     NA        NA   0.25  0.75
    1  2.jpg     NA       007   0.50  0.50
    """
    path = Path(path)
    read = {".csv": _table, ".json": _scores, ".h5": _images}.get(path.suffix)
    if read is None:
        raise UserError(f"{path}: no table; expected a .csv, .json or .h5 file below data or metrics")
    try:
        return read(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `dvc repro` makes it, `dvc pull` fetches it") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except DAMAGE:
        raise UserError(
            f"{path}: nothing that a stage wrote, or damaged; if one did, delete it and run `dvc repro`"
        ) from None


def _table(path: Path) -> pandas.DataFrame:
    with path.open(encoding="utf-8", newline="") as file:
        table = parse_csv(file)
        names = table.columns
        begins = names[: len(FIXED)] == FIXED and all(name.startswith(PROBABILITY) for name in names[len(FIXED) :])
        begins |= names[:1] == CURVE or names[: len(BY_SEED)] == BY_SEED
        if not (names in TABLES or begins):
            raise ValueError
        kinds = {name: str if name in TEXT else int if name in WHOLE else float for name in names}
        parts = list[pandas.DataFrame]()
        while (rows := [*islice(table.rows, ROWS_AT_A_TIME)]) or not parts:  # as text, they take ten times the memory
            parts.append(pandas.DataFrame(rows, columns=names).astype(kinds))
    return pandas.concat(parts, ignore_index=True)


def _scores(path: Path) -> pandas.DataFrame:
    scores = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(scores, dict) or not {"test", "accuracy"} & scores.keys():
        raise ValueError
    return pandas.json_normalize(scores).set_axis([path.stem])


def _images(path: Path) -> pandas.DataFrame:
    index = RowFile(path).index
    splits = np.concatenate([np.repeat(name, part.stop - part.start) for name, part in index.splits.items()])
    columns = {
        "path": np.char.decode(index.paths, "utf-8"),
        "label": np.array(index.classes)[index.labels],
        "number": index.labels,
        "split": splits,
        "sha256": np.char.decode(index.keys, "ascii"),
        "group": np.char.decode(index.groups, "utf-8"),
    }
    return pandas.DataFrame(columns)[MANIFEST_COLUMNS]
