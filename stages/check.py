"""Check params.yaml as a whole, before a stage takes its own entry from it."""

from pathlib import Path

from thaw.machine import backend
from thaw.params.check import check
from thaw.stage import run


def main(params: Path) -> None:
    """Check a params file; every error is listed."""
    backend()
    check(params)


if __name__ == "__main__":
    run(main)
