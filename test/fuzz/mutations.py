"""Damage: to bytes as transport and disks do it, to trees of values as people and programs do it."""

from __future__ import annotations

import copy
import datetime
import math
from random import Random
from typing import Any

#: Integers at which sizes, signs and types end.
EDGES = (0, 1, 2, 7, 8, 15, 16, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1,
         2**63 - 1, 2**64 - 1)
#: Floating-point numbers that break arithmetic.
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-320, 1e-30, 1e9, 1e30, 1.7e308, -1.7e308, math.nan, math.inf, -math.inf)
TEXTS = ("", " ", "x", "0", "true", "null", "~", "/", "..", "../x", "/etc/passwd", "a/b", "a\\b", "x" * 300, "\0", "\n",
         "ä", "\ud800", "😀", "%s", "{}", "car", "front", "nan", "1e999")


def _nested(depth: int) -> list:
    inner: list = []
    for _ in range(depth):
        inner = [inner]
    return inner


def laughs() -> list:
    """Few lists, a billion laughs when they are written out: no value for JSON."""
    inner: list = ["laugh"] * 8
    for _ in range(12):
        inner = [inner] * 8
    return inner


def value(random: Random) -> Any:
    """Anything that YAML or JSON can hold, and some that only one of them can."""
    kind = random.randrange(13)
    if kind == 0:
        return random.choice((None, True, False))
    if kind == 1:
        return random.choice((1, -1)) * random.choice(EDGES)
    if kind == 2:
        return random.choice(FLOATS)
    if kind == 3:
        return random.choice(TEXTS)
    if kind == 4:
        return random.uniform(-100.0, 100.0)
    if kind == 5:
        return random.randrange(-1000, 1000)
    if kind == 6:
        return [value(random) for _ in range(random.randrange(5))]
    if kind == 7:
        return {random.choice(TEXTS): value(random) for _ in range(random.randrange(3))}
    if kind == 8:
        return random.choice((10**400, -10**400, 2**1024))
    if kind == 9:
        return random.choice((_nested(5), _nested(2000)))
    if kind == 10:
        return random.choice((datetime.date(2024, 1, 1), b"\xff\0", {1, "a"}, (1, 2), {None: 1}, {1: {2: 3}}))
    if kind == 11:
        return [random.choice(FLOATS) for _ in range(random.choice((1, 2, 3, 4, 9)))]
    return [random.choice(TEXTS) for _ in range(random.choice((1, 6, 10)))]


def tree(random: Random, whole: Any, times: int = 3) -> Any:
    """A copy with up to ``times`` places replaced, removed, doubled or renamed."""
    root = [copy.deepcopy(whole)]
    for _ in range(random.choice((1, 1, times))):
        parent, key = root, 0
        while isinstance(parent[key], (dict, list)) and parent[key] and random.random() < (
                0.98 if parent is root else 0.75):
            parent = parent[key]
            key = random.choice(list(parent)) if isinstance(parent, dict) else random.randrange(len(parent))
        what = random.randrange(6)
        if what == 0 and parent is not root:
            del parent[key]
        elif what == 1 and isinstance(parent, list) and parent is not root:
            parent.insert(random.randrange(len(parent) + 1), copy.copy(parent[key]))
        elif what == 2 and isinstance(parent, dict):
            parent[random.choice((*TEXTS, *parent))] = parent[key]
        elif what == 3 and isinstance(parent[key], (int, float)) and abs(parent[key]) < 1e300:
            number = parent[key]
            parent[key] = random.choice((number * 2, -number, number + 1, float(number), number * 0.3, str(number)))
        else:
            parent[key] = value(random)
        if not isinstance(root[0], (dict, list)):
            break
    return root[0]


def damaged(random: Random, data: bytes, others: tuple[bytes, ...] = (), times: int = 8) -> bytes:
    """A copy with up to ``times`` places overwritten, cut out, doubled or exchanged; now and then only noise."""
    if random.random() < 0.02:
        return random.randbytes(random.randrange(2000))
    out = bytearray(data)
    for _ in range(random.randint(1, random.choice((1, 2, times)))):
        if not out:
            break
        at = random.randrange(len(out))
        length = min(random.choice((1, 2, 4, 8, 16, 64, 256)), len(out) - at)
        what = random.randrange(10)
        if what == 0:
            out[at] ^= 1 << random.randrange(8)
        elif what == 1:
            out[at] = random.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))
        elif what == 2:
            out[at:at + length] = random.randbytes(length)
        elif what == 3:
            del out[at:at + length]
        elif what == 4:
            out[at:at] = out[at:at + length]
        elif what == 5:
            out[at:at] = random.randbytes(length)
        elif what == 6:
            size = random.choice((1, 2, 4, 8))
            number = random.choice(EDGES) & (1 << 8 * size) - 1
            out[at:at + size] = number.to_bytes(size, random.choice(("little", "big")))
        elif what == 7 and random.random() < 0.3:
            del out[at:]
        elif what == 8 and others:
            other = random.choice(others)
            start = random.randrange(len(other))
            out[at:at + length] = other[start:start + length]
        else:
            out[at:at + length] = bytes([random.choice((0, 0xFF))]) * length
    return bytes(out)
