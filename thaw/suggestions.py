"""Naming what a user probably meant."""

import difflib
import unicodedata
from collections.abc import Iterable


def did_you_mean(word: object, known: Iterable[object]) -> str:
    """Return `; did you mean 'x'?` for the known word nearest to `word`, or that begins so, or nothing if none does.

    >>> did_you_mean("accurracy", ["accuracy", "loss"])
    "; did you mean 'accuracy'?"
    """
    names = [one for one in known if isinstance(one, str)]
    looks = unicodedata.normalize("NFC", str(word))
    same = [one for one in names if one != str(word) and unicodedata.normalize("NFC", one) == looks]
    if same:
        # As systems name files that keep letters and their accents apart; so written, YAML takes it.
        return f'; did you mean "{ascii(same[0])[1:-1]}", which looks the same?'
    lower = {item.lower(): item for item in reversed(names)}
    near = difflib.get_close_matches(str(word).lower(), lower, n=1, cutoff=0.6)
    if not near and len(str(word)) > 2:  # "val" is far from "validation"
        near = [one for one in lower if one.startswith(str(word).lower())]
    return f"; did you mean {lower[near[0]]!r}?" if near else ""
