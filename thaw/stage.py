"""How a stage is started from the command line, and how it fails."""

import argparse
import inspect
import sys
from collections.abc import Callable
from pathlib import Path

from thaw.errors import UserError


def run(stage: Callable[..., None]) -> None:
    """Call `stage` with the command line's arguments, one for each of its parameters.

    A parameter annotated `Path` gets a `Path`, every other one the text itself. A `UserError` ends
    the process with status 1 and its message alone.
    """
    parser = argparse.ArgumentParser(description=inspect.getdoc(stage))
    for parameter in inspect.signature(stage).parameters.values():
        parser.add_argument(parameter.name, type=Path if parameter.annotation is Path else str)
    arguments = parser.parse_args()
    try:
        stage(**vars(arguments))
    except UserError as error:
        sys.exit(f"error: {error}")


def announce(text: str) -> None:
    """Print the line with which a stage says what it will do."""
    print(text, flush=True)
