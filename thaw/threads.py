"""Work that overlaps: on all cores, or ahead of whoever takes its results. Order is kept, and memory is bounded."""

import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Condition
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

GROUP = Path("/sys/fs/cgroup")
"""Where Linux says what a container may take."""


def cores() -> int:
    """Return how many cores this process may use: a container or a scheduler may give it fewer than the machine has."""
    found = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    with suppress(OSError, ValueError):  # there is none, or "max"
        quota, period = map(int, (GROUP / "cpu.max").read_text().split())
        found.append(math.ceil(quota / period))
    with suppress(OSError, ValueError):  # Linux before 2020 has it there; -1 if there is no limit
        quota, period = (int((GROUP / "cpu" / f"cpu.cfs_{one}_us").read_text()) for one in ("quota", "period"))
        found.append(math.ceil(quota / period) if quota > 0 else found[0])
    return min(found)


class Budget:
    """What all threads together may take of something, such as of memory: whoever wants more than is left waits."""

    def __init__(self, most: int):
        self._most = self._left = most
        self._changed = Condition()

    @contextmanager
    def taking(self, count: int) -> Iterator[None]:
        """Take some while the block lasts; who wants more than there is takes all."""
        count = min(count, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._left >= count)
            self._left -= count
        try:
            yield
        finally:
            with self._changed:
                self._left += count
                self._changed.notify_all()


def on_all_cores(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield what a function returns for each item, in their order, computed a few items ahead in threads.

    It is for functions that let go of the interpreter's lock, as reading, hashing and decoding do.

    >>> list(on_all_cores(len, ["oak", "silver birch"]))
    [3, 12]
    """
    workers = cores()
    with ThreadPoolExecutor(workers) as pool:
        queue: deque[Future[R]] = deque()
        try:
            for item in items:
                queue.append(pool.submit(function, item))
                if len(queue) > 4 * workers:
                    yield queue.popleft().result()
            while queue:
                yield queue.popleft().result()
        finally:
            for future in queue:
                future.cancel()


def ahead(items: Iterable[T], most: int = 2) -> Iterator[T]:
    """Yield items that another thread takes from their source, up to `most` ahead of whoever uses them."""
    source, end = iter(items), object()
    pool = ThreadPoolExecutor(1)
    try:
        queue = deque(pool.submit(next, source, end) for _ in range(most))
        while (item := queue.popleft().result()) is not end:
            queue.append(pool.submit(next, source, end))
            yield item  # type: ignore[misc]
    finally:
        pool.shutdown(cancel_futures=True)
        if isinstance(source, Generator):
            source.close()
