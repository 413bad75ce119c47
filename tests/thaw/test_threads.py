"""thaw.threads: order, bounds, errors, and that work does go on meanwhile."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from thaw import threads
from thaw.threads import Budget, ahead, cores, on_all_cores

PATIENCE = 60
"""Seconds until a thread that never comes counts as missing."""
Wrap = Callable[[Iterator[int]], Iterator[int]]
WRAPS = {"ahead": ahead, "on_all_cores": lambda items: on_all_cores(lambda item: item, items)}


@pytest.fixture(autouse=True)
def on_two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 2)


@pytest.fixture(params=WRAPS)
def wrap(request: pytest.FixtureRequest) -> Wrap:
    return WRAPS[request.param]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 500])
def test_all_items_come_in_order(wrap: Wrap, count: int) -> None:
    assert list(wrap(iter(range(count)))) == list(range(count))


def test_no_more_than_a_few_items_are_taken_ahead(wrap: Wrap) -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(10_000):
            taken.append(item)
            yield item

    results = wrap(items())
    for done in range(1, 50):
        next(results)
        assert len(taken) <= done + 4 * 2 + 2
    results.close()  # type: ignore[attr-defined]


def test_an_error_passes_through_behind_what_was_before_it(wrap: Wrap) -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise OSError("gone")

    seen = []
    with pytest.raises(OSError, match="gone"):
        for item in wrap(items()):
            seen.append(item)
    assert seen in ([], [0, 1, 2, 3, 4])  # on all cores, items are taken before the first result


def test_an_error_of_the_function_passes_through_at_its_item() -> None:
    def reciprocal(item: int) -> float:
        return 1 / (item - 3)

    seen = []
    with pytest.raises(ZeroDivisionError):
        for item in on_all_cores(reciprocal, range(1000)):
            seen.append(item)
    assert seen == [reciprocal(item) for item in range(3)]


def test_whoever_stops_early_closes_the_source() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.set()

    for item in ahead(items()):
        if item == 3:
            break
    assert closed.wait(PATIENCE)


def test_the_next_item_is_made_while_one_is_used() -> None:
    made = [threading.Event() for _ in range(3)]

    def items() -> Iterator[int]:
        for item, event in enumerate(made):
            event.set()
            yield item

    results = ahead(items())
    next(results)
    assert made[1].wait(PATIENCE)
    assert made[2].wait(PATIENCE)
    assert list(results) == [1, 2]


def test_two_items_are_worked_on_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=PATIENCE)

    def meet(item: int) -> int:
        both.wait()
        return item

    assert list(on_all_cores(meet, range(8))) == list(range(8))


def test_all_threads_together_take_no_more_than_there_is() -> None:
    budget, taken, most = Budget(10), 0, 0
    lock = threading.Lock()

    def take(count: int) -> None:
        nonlocal taken, most
        with budget.taking(count):
            with lock:
                taken += min(count, 10)
                most = max(most, taken)
            time.sleep(0.001)
            with lock:
                taken -= min(count, 10)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, [3, 4, 5, 6, 99, 1, 0, 10] * 8))  # who wants more than there is gets all
    assert taken == 0
    assert 0 < most <= 10


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 6),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "max 100000"}, 6),
        ({"cpu.max": "6400000 100000"}, 6),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 6),
    ],
)
def test_cores_are_those_that_a_scheduler_and_a_container_give(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(3, 9)), raising=False)
    monkeypatch.setattr(threads, "GROUP", tmp_path)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert cores() == expected
