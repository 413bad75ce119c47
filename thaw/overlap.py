"""Work that overlaps: on all cores, or ahead of whoever takes its results. Order is kept, and memory is bounded."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def on_all_cores(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield what a function returns for each item, in their order, computed a few items ahead in threads.

    It is for functions that let go of the interpreter's lock, as reading, hashing and decoding do.
    """
    workers = os.cpu_count() or 1
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
