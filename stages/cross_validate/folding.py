"""Cross-validation of a variant: trained anew on every part of the images, scored on the part that was left out."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import t
from sklearn.model_selection import RepeatedStratifiedKFold, train_test_split

from stages.cross_validate.solved import Images, SolvedFolds
from thaw.errors import UserError
from thaw.formats.row_file import RowFile
from thaw.params.cross_validation import CrossValidation
from thaw.params.variants import Solver, Variant
from thaw.scoring.scoring import CONFIDENCE, wilson
from thaw.training.logistic import GroupFolds


@dataclass(frozen=True)
class CrossValidated:
    """The mean accuracy over all fits and its 95 % interval, by the corrected resampled t-test."""

    accuracy: float
    accuracy_low: float
    accuracy_high: float
    fits: int


def cross_validate(
    entry: str, wanted: CrossValidation, name: str, variant: Variant, start: Path, file: RowFile
) -> CrossValidated:
    """Cross-validate a variant, every choice made anew inside every training part.

    A solved head's C is chosen by cross-validation inside the training part; of that of a training, a share is held out
    for early stopping. A head that the variant starts from, solved, is solved anew too, on what is not held out, since
    it has seen images that a fold leaves out. Images of a group are never on two sides.

    Args:
        entry: the address of `wanted` in params.yaml, for messages.
        wanted: folds, repeats and their seed.
        name: the variant's address there.
        variant: starts from a backbone, or from a variant with a solver.
        start: the file of what it starts from.
        file: its inputs.

    Returns:
        The mean accuracy; its bounds are a 95 % interval from the corrected resampled t-test (Nadeau and Bengio
        2003), since the training parts overlap. Where there are groups, it is at least Wilson's for the number of
        images that tell as much as the groups do, if those of a group tell the same (Kish 1965, Survey Sampling); where
        all fits have the same accuracy, such as 1, it is at least Wilson's, too: else it would have no width.

    Raises:
        UserError: a class is too small for so many folds, or a fold's training fails.
    """
    images = Images.of(file)
    parts = list(parts_of(entry, wanted, images))
    one_fold: Callable[[np.ndarray, np.ndarray, np.ndarray], float]
    if isinstance(variant.fit, Solver):
        one_fold = SolvedFolds(images, name, variant.fit)
    else:
        from stages.cross_validate.trained import TrainedFolds  # loads Keras
        from thaw.training.start import begin

        one_fold = TrainedFolds(images, name, variant, variant.fit, *begin(name, variant, start, file))
    accuracies, learnt, scored = [], 0, 0
    for fitted, held_out, outside in parts:
        learnt += len(fitted) + (len(held_out) if isinstance(variant.fit, Solver) else 0)
        scored += len(outside)
        try:
            accuracies.append(one_fold(fitted, held_out, outside))
        except UserError as failed:  # such as of steps, of which a fold has fewer than the variant's own training
            fit = f"fit {len(accuracies) + 1} of {len(parts)}, on {len(fitted)} images"
            raise UserError(f"{entry}: {fit}: {failed}") from None
        print(f"fit {len(accuracies)} of {len(parts)}: accuracy {accuracies[-1]:.4f}", flush=True)
    mean, spread = float(np.mean(accuracies)), float(np.std(accuracies, ddof=1))
    fits = len(accuracies)
    error = spread * np.sqrt(1 / fits + scored / learnt)
    half = float(t.ppf((1 + CONFIDENCE) / 2, fits - 1) * error)
    low, high = max(0.0, mean - half), min(1.0, mean + half)
    if images.grouped or len({*accuracies}) == 1:
        # Folds that are stratified differ less than samples of a few groups do.
        _, sizes = np.unique(images.units, return_counts=True)
        least = wilson(mean, len(images.units) ** 2 / float((sizes**2).sum()))
        low, high = min(low, least[0]), max(high, least[1])
    return CrossValidated(mean, low, high, fits)


def parts_of(
    entry: str, wanted: CrossValidation, images: Images
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield for each fit which images are fitted, which are held out for its choices, and which are left out.

    Images of a unit are together in one of the three; every class is among those that are fitted.

    Raises:
        UserError: a class is too small for so many folds.
    """
    wanted.require(entry, zip((images.classes[label] for label in images.labels), images.units.tolist(), strict=True))
    for inside, outside in _grouped_folds(images, wanted) if images.grouped else _folds(images, wanted):
        # scikit-learn refuses to hold out fewer images than there are classes.
        if not images.grouped and np.ceil(len(inside) / wanted.folds) >= len(images.classes):
            fitted, held_out = train_test_split(
                inside, test_size=1 / wanted.folds, stratify=images.labels[inside], random_state=wanted.seed
            )
        else:
            fitted, held_out = _units_apart(entry, wanted, images, inside)
        yield fitted, held_out, outside


def _folds(images: Images, wanted: CrossValidation) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    partition = RepeatedStratifiedKFold(n_splits=wanted.folds, n_repeats=wanted.repeats, random_state=wanted.seed)
    yield from partition.split(images.labels, images.labels)


def _grouped_folds(images: Images, wanted: CrossValidation) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    random = np.random.RandomState(wanted.seed)  # another draw for each repeat, as RepeatedStratifiedKFold has it
    for _ in range(wanted.repeats):
        partition = GroupFolds(n_splits=wanted.folds, shuffle=True, random_state=random)
        yield from partition.split(images.labels, images.labels, images.units)


def _units_apart(
    entry: str, wanted: CrossValidation, images: Images, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Divide a training part: of its folds, that one is held out whose share is the nearest to that of the others.

    Raises:
        UserError: whichever is held out, a class has no image to be fitted.
    """
    labels, units = images.labels[inside], images.units[inside]
    folds = min(wanted.folds, int(np.bincount(labels).max()), len(np.unique(units)))
    possible = []
    if folds > 1:
        partition = GroupFolds(n_splits=folds, shuffle=True, random_state=wanted.seed)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class")  # a choice can do without a class
            divided = list(partition.split(inside, labels, units))
        possible = [
            (inside[fitted], inside[held_out])
            for fitted, held_out in divided
            if len(held_out) and len(np.unique(labels[fitted])) == len(images.classes)
        ]
    if not possible:
        groups = [len(np.unique(units[labels == label])) for label in range(len(images.classes))]
        fewest = int(np.argmin(groups))
        raise UserError(
            f"{entry}.folds: {wanted.folds} folds, in which groups stay together, leave class "
            f"{images.classes[fewest]!r} in so few groups, {groups[fewest]}, that it cannot be both fitted and held "
            f"out; set another number, or leave {entry} out"
        )
    return min(possible, key=lambda parts: abs(len(parts[1]) - len(inside) / folds))
