"""Images that look alike: by the perceptual hash of their brightness (Zauner 2010), as ImageHash computes it."""

import math
from collections.abc import Iterator
from itertools import combinations

import imagehash
import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from thaw.errors import UserError

BITS = 64
"""Of a hash."""
MOST_IN_A_KEY = 6
"""Parts of the bits: with more, there are too many keys."""
AT_A_TIME = 2**22
"""Comparisons."""
FEW = 64
"""Hashes of one key, of which each is compared with its neighbours."""
SORTING = 20
"""Comparisons that take as long as a hash does in sorting."""
MOST_PAIRS = 5_000_000
"""That look alike: they take a gigabyte, and nobody looks at so many."""


def perceptual_hash(image: Image.Image) -> int:
    """Return the 64 bits of an image's perceptual hash."""
    return int(str(imagehash.phash(image)), 16)


def similar_pairs(hashes: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find all pairs of hashes that differ in no more than `most` bits.

    Not every hash is compared with every other: if the bits are divided into parts, those that differ are in no more
    than `most` of them. So two hashes agree in all others, which are a key by which they are found (as in Norouzi et
    al. 2012, doi 10.1109/CVPR.2012.6248043, with several parts to a key).

    Args:
        hashes: uint64 (images,).
        most: the most bits in which two may differ.

    Returns:
        Ints (pairs,) each: the places of the first and of the second of each pair, sorted, and the bits in which they
        differ.

    Raises:
        UserError: there are more than `MOST_PAIRS`.

    >>> first, second, bits = similar_pairs(np.array([0b0000, 0b1111, 0b0001], np.uint64), most=1)
    >>> first, second, bits
    (array([0]), array([2]), array([1]))
    """
    pairs = np.empty(0, np.int64)
    for mask in masks(len(hashes), most):
        found, count = [pairs], 0
        for one, other in _alike(hashes, mask, most):
            found.append(np.minimum(one, other) * len(hashes) + np.maximum(one, other))
            count += len(one)
            _require_few(count, len(hashes), most)
        pairs = np.sort(np.concatenate(found))  # np.unique takes 16 times as long
        pairs = pairs[np.append(True, pairs[1:] != pairs[:-1])[: len(pairs)]]
        _require_few(len(pairs), len(hashes), most)
    first, second = np.divmod(pairs, max(len(hashes), 1))
    return first, second, np.bitwise_count(hashes[first] ^ hashes[second]).astype(np.int64)


def _require_few(pairs: int, images: int, most: int) -> None:
    if pairs > MOST_PAIRS:
        raise UserError(f"of {images:,} images, more than {MOST_PAIRS:,} pairs look alike; {remedy(most)}")


def remedy(most: int) -> str:
    """Return what to do where too many images look alike, of which hashes differ in no more than `most` bits."""
    return "lower dataset.near_duplicates, or leave it out" if most else "leave dataset.near_duplicates out"


def masks(images: int, most: int) -> list[np.uint64]:
    """Return masks of bits: two hashes that differ in no more than `most` bits are the same under one of them or more.

    Args:
        images: how many hashes there are: those masks are chosen under which the fewest have to be compared.
        most: the most bits in which two may differ.
    """

    def comparisons(parts: int) -> float:
        bits = BITS * (parts - most) // parts
        return math.comb(parts, most) * (SORTING * images + images**2 / 2.0 ** (bits + 1))

    parts = min(range(most, min(most + MOST_IN_A_KEY, BITS) + 1), key=comparisons) if most else 1
    # Neighbouring bits, which often agree together, are in different parts.
    masks_of_parts = [sum(1 << bit for bit in range(part, BITS, parts)) for part in range(parts)]
    return [np.uint64(sum(chosen)) for chosen in combinations(masks_of_parts, parts - most)]


def _alike(hashes: np.ndarray, mask: np.uint64, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the places of pairs, the ones and the others, that agree under a mask, and in all but `most` bits."""
    order = np.argsort(hashes & mask)
    ordered = hashes[order]
    keys = ordered & mask
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    sizes = np.diff(starts, append=len(keys))
    # Of a key that many have, each with all others; of the rest, each with the next one, then with the second next, …
    for start, size in zip(starts[sizes > FEW].tolist(), sizes[sizes > FEW].tolist(), strict=True):
        height = max(1, AT_A_TIME // size)
        for first in range(start, start + size, height):
            rows = ordered[first : min(first + height, start + size), None]
            one, other = np.nonzero(np.bitwise_count(rows ^ ordered[first : start + size]) <= most)
            yield order[first + one[one < other]], order[first + other[one < other]]
    is_small = np.repeat(sizes <= FEW, sizes)
    at, ends = np.flatnonzero(is_small), np.repeat(starts + sizes, sizes)[is_small]
    for step in range(1, FEW):
        at, ends = at[at + step < ends], ends[at + step < ends]
        close = at[np.bitwise_count(ordered[at] ^ ordered[at + step]) <= most]
        yield order[close], order[close + step]


def components(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the component that each of `count` images belongs to, where pairs join two; ints (count,).

    >>> components(4, first=np.array([0]), second=np.array([2])).tolist()
    [0, 1, 0, 2]
    """
    joined = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(count, count))
    _, component = connected_components(joined, directed=False)
    return np.asarray(component)
