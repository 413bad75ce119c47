"""What heads say of rows that they have not seen."""

import warnings

import numpy as np
from scipy.special import softmax
from sklearn.model_selection import StratifiedGroupKFold

from thaw.training.logistic import solve_path


def folds_of(labels: np.ndarray, units: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Divide rows into stratified folds, fewer than `count` where there are fewer units.

    A unit whose class would be missing from all other folds is never held out.

    Args:
        labels: ints (rows,), from 0 to classes - 1.
        units: ints (rows,), the same for rows that belong together.
        count: of the folds.
        seed: of what is random.

    Returns:
        The fold of each row, ints (rows,) from 0 on; -1 for one that is never held out.

    >>> folds_of(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 2, 3, 4]), count=2, seed=0).tolist()
    [0, 0, 1, 1, 0, -1]
    """
    count = min(count, len(np.unique(units)), int(np.bincount(labels).max()))
    folds = np.full(len(labels), -1)
    if count > 1:
        partition = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class")
            for fold, (_, held_out) in enumerate(partition.split(labels, labels, units)):
                folds[held_out] = fold
    while True:  # what is never held out is fitted in each fold, so this ends
        counts = np.zeros((count + 1, labels.max() + 1), int)
        np.add.at(counts, (folds, labels), 1)
        alone = (folds >= 0) & (counts[folds, labels] == counts.sum(axis=0)[labels])
        if not alone.any():
            return folds
        folds[np.isin(units, units[alone])] = -1


def out_of_fold(features: np.ndarray, labels: np.ndarray, folds: np.ndarray, C: float) -> np.ndarray:
    """Return each row's class probabilities by the head that is solved without its fold.

    Args:
        features: float32 (rows, features).
        labels: ints (rows,), from 0 to classes - 1.
        folds: ints (rows,), as `folds_of` returns them.
        C: the inverse strength of the L2 penalty.

    Returns:
        float32 (rows, classes); NaN for rows that are never held out.
    """
    probabilities = np.full((len(labels), labels.max() + 1), np.nan, np.float32)
    for fold in np.unique(folds[folds >= 0]):
        held_out = folds == fold
        fitted, seen = ~held_out, features[held_out]
        (head,) = solve_path(features[fitted], labels[fitted], seen, labels[held_out], [C])
        probabilities[held_out] = softmax(seen @ head.weights + head.bias, axis=1)
    return probabilities
