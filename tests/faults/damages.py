"""Ways in which the bytes of a file become others."""

import random
from collections.abc import Callable

SEED = 17
Damage = Callable[[bytes, random.Random], bytes]


def flipped(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]


def zeroed(content: bytes, chance: random.Random) -> bytes:
    size = max(1, min(4096, len(content) // 4))
    place = chance.randrange(len(content) - size + 1)
    return content[:place] + bytes(size) + content[place + size :]


def truncated(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(1, len(content))]


def shortened(content: bytes, chance: random.Random) -> bytes:
    return content[: -chance.randrange(1, 4)]


def emptied(content: bytes, chance: random.Random) -> bytes:
    return b""


def other_text(content: bytes, chance: random.Random) -> bytes:
    return b"\xff\xfe no such thing \x00\n" * 3


DAMAGES: tuple[Damage, ...] = (flipped, truncated, emptied, zeroed, shortened, other_text)
RANDOM: tuple[Damage, ...] = (flipped, truncated, zeroed)
"""Those that are others each time."""
