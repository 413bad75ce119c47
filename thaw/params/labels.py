"""Labels as a person reads them."""

import re
import unicodedata
from collections.abc import Iterable

# Words of some languages and some emoji are joined, or kept apart, by these.
JOINERS = "\u200c\u200d"
LATIN = str.maketrans("АВЕКМНОРСТХІЈЅаеорсухіјѕΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEKMHOPCTXIJSaeopcyxijsABEZHIKMNOPTYXo")
"""From letters of Cyrillic and Greek, which keyboards write that are not switched back, to those that look the same."""


def unreadable(label: str) -> str | None:
    """Return what a person does not see of a label; None if all can be seen.

    >>> unreadable("oak ")
    'begins or ends with a space'
    """
    if label != label.strip():
        return "begins or ends with a space"
    if any(
        unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp") and one not in JOINERS for one in label
    ) or label != label.strip(JOINERS):
        return "has control characters, or others that cannot be seen"
    if is_formula(label):
        return "is a formula that spreadsheets would run"
    return None


def is_formula(text: str) -> bool:
    """Say whether a spreadsheet takes a table's cell for a formula that calls something, or reads another cell.

    >>> [is_formula(text) for text in ("=cmd|' /C calc'!A0", "@SUM(1)", "=1+1", "-20 C", "+1")]
    [True, True, False, False, False]
    """
    return unicodedata.normalize("NFKC", text[:1]) in ("=", "+", "-", "@") and any(one in text for one in "(|!")


def alike(labels: Iterable[str]) -> list[list[str]]:
    """Return the labels that a person would take for the same, each set of them in one list.

    >>> alike(["fig", "1", "oak", "Fig", "01"])
    [['fig', 'Fig'], ['1', '01']]
    """
    groups: dict[str, list[str]] = {}
    for label in dict.fromkeys(labels):
        groups.setdefault(_look(label), []).append(label)
    return [group for group in groups.values() if len(group) > 1]


def _look(label: str) -> str:
    """Return what labels that look the same have in common: not spaces, upper case, Unicode's form, zeros of a number.

    Of one letter, case and alphabet are what it shows: data sets of handwriting tell A from a.
    """
    seen = "".join(one for one in unicodedata.normalize("NFKC", label) if unicodedata.category(one) != "Cf")
    words = " ".join(seen.split())
    number = re.fullmatch(r"\+?(-?)0*([0-9]+?)(?:\.([0-9]*?)0*)?", words)
    if number:
        return f"{number[1]}{number[2]}.{number[3] or ''}"
    return words if len(words) == 1 else unicodedata.normalize("NFKC", words.translate(LATIN).casefold())
