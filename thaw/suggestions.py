"""Naming what a user probably meant."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: object, known: Iterable[object]) -> str:
    """Return `; did you mean 'x'?` for the known word nearest to `word`, or that begins so, or nothing if none does.

    >>> did_you_mean("accurracy", ["accuracy", "loss"])
    "; did you mean 'accuracy'?"
    """
    lower = {item.lower(): item for item in reversed([one for one in known if isinstance(one, str)])}
    near = difflib.get_close_matches(str(word).lower(), lower, n=1, cutoff=0.6)
    if not near and len(str(word)) > 2:  # "val" is far from "validation"
        near = [one for one in lower if one.startswith(str(word).lower())]
    return f"; did you mean {lower[near[0]]!r}?" if near else ""
