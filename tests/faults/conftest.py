"""Faults that are made on purpose: a few in each run, all of them by `make faults`, with a table of what happened.

A test tells what it did by the fixture `tried`; one that has a long form asks the fixture `is_full`, one that is
part of the long form alone is marked `long_form`.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tabulate import tabulate

Tried = Callable[[str, str, str], None]
"""A function that takes what was harmed, how, and what came of it, such as `harmless` or `named`."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults", choices=("short", "full"), default="short", help="how many faults to try")
    parser.addoption("--kills", type=int, default=50, help="of each stage and command, in the long form")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only the long form runs, where that is not wanted."""
    if config.getoption("--faults", "short") != "full":
        left_out = [item for item in items if item.get_closest_marker("long_form")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def is_full(pytestconfig: pytest.Config) -> bool:
    """Whether all faults are wanted, not a few of each kind."""
    return bool(pytestconfig.getoption("--faults", "short") == "full")


@pytest.fixture(scope="session")
def kills(pytestconfig: pytest.Config, is_full: bool) -> int:
    """How often each stage and command is killed."""
    return int(pytestconfig.getoption("--kills")) if is_full else 2


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> Tried:
    """Note what was tried, for the table at the end."""

    def note(what: str, how: str, outcome: str) -> None:
        request.node.user_properties.append(("fault", (what, how, outcome)))

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how often each came of what, and how often of all that a module tries."""
    counts: Counter[tuple[str, str, str]] = Counter()
    totals: Counter[tuple[str, str]] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                found = [value for name, value in report.user_properties if name == "fault"]
                counts.update(map(tuple, found))
                totals.update((Path(report.fspath).name, outcome) for _, _, outcome in found)
    if counts:
        terminalreporter.section("faults that were tried")
        for head, rows in ((("what", "how", "outcome", "times"), counts), (("all of", "outcome", "times"), totals)):
            text = tabulate([[*key, times] for key, times in sorted(rows.items())], head)
            terminalreporter.write_line(f"{text}\n")
