"""Cross-validation of a variant: trained anew on every part of the images, scored on the part that was left out."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import t
from sklearn.model_selection import RepeatedStratifiedKFold, train_test_split

from thaw.folds import Images, SolvedFolds
from thaw.params.evaluation import CrossValidation
from thaw.params.variants import Solver, Variant
from thaw.row_file import RowFile
from thaw.scoring import CONFIDENCE


@dataclass(frozen=True)
class CrossValidated:
    """The mean accuracy over all fits and its 95 % interval, by the corrected resampled t-test."""

    accuracy: float
    accuracy_low: float
    accuracy_high: float
    fits: int


def cross_validate(entry: str, variant: Variant, start: Path, file: RowFile, wanted: CrossValidation) -> CrossValidated:
    """Cross-validate a variant, every choice made anew inside every training part.

    A share of the training part is held out for the choices: of C, by early stopping. A head that the variant starts
    from, solved, is solved anew too, since it has seen images that a fold leaves out.

    Args:
        entry: the variant's address in params.yaml, for messages.
        variant: starts from a backbone, or from a variant with a solver.
        start: the file of what it starts from.
        file: its inputs.
        wanted: folds, repeats and their seed.

    Returns:
        The mean accuracy; its bounds are a 95 % interval from the corrected resampled t-test (Nadeau and Bengio
        2003), since the training parts overlap.
    """
    images = Images.of(file)
    one_fold: Callable[[np.ndarray, np.ndarray, np.ndarray], float]
    if isinstance(variant.fit, Solver):
        one_fold = SolvedFolds(images, variant.fit)
    else:
        from thaw.trained_folds import TrainedFolds  # loads Keras
        from thaw.variants import begin

        one_fold = TrainedFolds(images, variant, variant.fit, *begin(entry, variant, start, file))
    partition = RepeatedStratifiedKFold(n_splits=wanted.folds, n_repeats=wanted.repeats, random_state=wanted.seed)
    accuracies = []
    for inside, outside in partition.split(images.labels, images.labels):
        fitted, held_out = train_test_split(
            inside, test_size=1 / wanted.folds, stratify=images.labels[inside], random_state=wanted.seed
        )
        accuracies.append(one_fold(fitted, held_out, outside))
        print(f"fit {len(accuracies)} of {wanted.folds * wanted.repeats}: accuracy {accuracies[-1]:.4f}", flush=True)
    mean, spread = float(np.mean(accuracies)), float(np.std(accuracies, ddof=1))
    fits = len(accuracies)
    error = spread * np.sqrt(1 / fits + 1 / (wanted.folds - 1))
    half = float(t.ppf((1 + CONFIDENCE) / 2, fits - 1) * error)
    return CrossValidated(mean, max(0.0, mean - half), min(1.0, mean + half), fits)
