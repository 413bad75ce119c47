"""Naming what a user probably meant."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: object, known: Iterable[object]) -> str:
    """Return `; did you mean 'x'?` for the known word nearest to `word`, or nothing if none is near.

    >>> did_you_mean("accurracy", ["accuracy", "loss"])
    "; did you mean 'accuracy'?"
    """
    lower = {item.lower(): item for item in reversed([one for one in known if isinstance(one, str)])}
    near = difflib.get_close_matches(str(word).lower(), lower, n=1, cutoff=0.6)
    return f"; did you mean {lower[near[0]]!r}?" if near else ""
