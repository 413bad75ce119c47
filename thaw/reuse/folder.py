"""Where what saves time lies between runs, and how large it may become; no result depends on it."""

import os
from pathlib import Path

from thaw.errors import UserError

LIMIT = "THAW_CACHE_LIMIT"
DEFAULT_GIGABYTES = 20.0


def cache_folder() -> Path:
    """Return the folder; it is no output of a stage, and may be deleted."""
    return Path(os.environ.get("THAW_CACHE", ".thaw"))


def rows_folder() -> Path:
    """Return the folder for what is kept for each image and each network, as large as `limit` allows."""
    return cache_folder() / "rows"


def limit() -> int:
    """Return how many bytes `rows_folder` may have; nothing is kept if none.

    Raises:
        UserError: the limit in the environment is no number.
    """
    text = os.environ.get(LIMIT, "")
    try:
        gigabytes = float(text) if text else DEFAULT_GIGABYTES
        return int(gigabytes * 10**9)
    except (ValueError, OverflowError):
        raise UserError(f"{LIMIT}: expected a number of gigabytes, got {text!r}") from None
