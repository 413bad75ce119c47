"""Images that look alike: by the perceptual hash of their brightness (Zauner 2010), as ImageHash computes it."""

import imagehash
import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

HASHES_AT_A_TIME = 256


def perceptual_hash(image: Image.Image) -> int:
    """Return the 64 bits of an image's perceptual hash."""
    return int(str(imagehash.phash(image)), 16)


def similar_pairs(hashes: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find all pairs of hashes that differ in no more than `most` bits.

    Args:
        hashes: uint64 (images,).
        most: the most bits in which two may differ.

    Returns:
        Ints (pairs,) each: the places of the first and of the second of each pair, sorted, and the bits in which they
        differ.

    >>> first, second, bits = similar_pairs(np.array([0b0000, 0b1111, 0b0001], np.uint64), most=1)
    >>> first, second, bits
    (array([0]), array([2]), array([1]))
    """
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for start in range(0, len(hashes), HASHES_AT_A_TIME):
        distances = np.bitwise_count(hashes[start : start + HASHES_AT_A_TIME, None] ^ hashes[None, start:])
        first, second = np.nonzero(distances <= most)
        after = second > first
        first, second = first[after], second[after]
        found.append((first + start, second + start, distances[first, second]))
    first, second, distances = (np.concatenate(column) for column in zip(*found, strict=True))
    return first, second, distances.astype(np.int64)


def components(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the component that each of `count` images belongs to, where pairs join two; ints (count,).

    >>> components(4, first=np.array([0]), second=np.array([2])).tolist()
    [0, 1, 0, 2]
    """
    joined = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(count, count))
    _, component = connected_components(joined, directed=False)
    return np.asarray(component)
