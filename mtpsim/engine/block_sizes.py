"""Blocks of requests: their sizes, and when the stopping rule is checked.

A block is a fixed range of requests, the same on any machine. The first blocks have 10 units (0.3
to 4 ms of work), later ones a fifth of all requests before them, up to 64 units (about 4 ms), and
from 4,096 units on 1/32 to 1/64, up to 4,096 units (about 0.3 s). So a run ends soon after its
precision is reached, and a long run has little overhead per block.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mtpsim.acceptance import Source

UNIT_TICKS = 2**14  # rounds or tokens of a unit: fixed by the experiment, never by the machine
LEAST_UNIT, MOST_UNIT = 8, 256  # requests: the least gives the floor 240 of them
POLICY_TICKS = 5  # a round under a policy costs as much as 5 rounds at all fixed depths
CHUNK_UNITS = 64  # units that one call of a kernel simulates: bounds the memory
FLOOR = 30  # units: a precision stop on fewer has poor coverage (docs/statistics.md)
FIRST, MIDDLE, LARGEST = 10, 64, 4096  # units of the first, middle and largest blocks
OCTAVE = 32  # blocks of each size between the middle and the largest


def _a_fifth(units: int) -> int:
    """A fifth, rounded up: the stopping rule is checked at each 1.2-fold number of units."""
    return -(-units // 5)


def _edges() -> tuple[int, ...]:
    """Number of units before each block, up to the first of the largest blocks."""
    edges, size = [0], 0
    while size < LARGEST:
        units = edges[-1]
        early = min(max(_a_fifth(units), FIRST), MIDDLE)
        size = max(early, (1 << units.bit_length()) // (2 * OCTAVE))
        edges.append(units + size)
    return tuple(edges)


EDGES = _edges()
_SIZES = EDGES, UNIT_TICKS, LEAST_UNIT, MOST_UNIT, POLICY_TICKS, CHUNK_UNITS
# Identifies the blocks: the same number of a block means other requests in another schedule.
SCHEDULE = f"{zlib.crc32(repr(_SIZES).encode()):08x}"


def unit_of(source: Source, rounds: int, tokens: int, policies: int = 0) -> tuple[int, int]:
    """Requests per unit of a block, and per call of a kernel.

    Args:
        source (Source): Which drafts are accepted.
        rounds (int): Rounds per request; 0 if requests end otherwise.
        tokens (int): Tokens per request; 0 if requests end otherwise.
        policies (int): Number of adaptive policies, which take longer.
    """
    depths = source.depth + 1
    positions = depths if source.clock == "token" else 1
    ticks = tokens or rounds * positions or max(1, round(source.mean_length))
    passes = depths if source.outcomes == 2 else 1
    unit = UNIT_TICKS // (ticks * (passes + POLICY_TICKS * policies))
    chunk = CHUNK_UNITS * UNIT_TICKS // ticks // 64 * 64
    most = CHUNK_UNITS * MOST_UNIT
    return int(np.clip(unit, LEAST_UNIT, MOST_UNIT)), int(np.clip(chunk, 64, most))


def first_unit(block: int) -> int:
    """Number of units before a block."""
    last = len(EDGES) - 1
    return EDGES[block] if block <= last else EDGES[last] + (block - last) * LARGEST


def requests_before(block: int, unit: int | Fraction) -> int:
    """Number of requests (replications of a server) before a block."""
    return int(first_unit(block) * unit)


def blocks_for(units: int) -> int:
    """Least number of blocks that have ``units`` units or more."""
    beyond = max(units - EDGES[-1], 0)
    return bisect_left(EDGES, min(units, EDGES[-1])) + -(-beyond // LARGEST)


def last_block(requests: int, unit: int | Fraction) -> int:
    """Number of blocks that ``requests`` requests make."""
    return blocks_for(int(-(-requests // unit)))


def part_edges(blocks: int, parts: int) -> list[int]:
    """First block of each part, and ``blocks``: about as many requests, and a block at least."""
    edges, units = [0], first_unit(blocks)
    for part in range(1, parts):
        edge = max(blocks_for(units * part // parts), edges[-1] + 1)
        edges.append(min(edge, blocks - parts + part))
    return [*edges, blocks]


def next_check(blocks: int) -> int:
    """Least number of blocks, ``blocks`` or more, at which the stopping rule is checked."""
    check = blocks_for(FLOOR)
    while check < blocks:
        units = first_unit(check)
        check = blocks_for(units + _a_fifth(units))
    return check


def is_stored(blocks: int) -> bool:
    """Whether a run appends blocks to its directory: at the first check of each doubling."""
    units = first_unit(blocks)
    doubled = FLOOR << max((units // FLOOR).bit_length() - 1, 0)
    return units >= FLOOR and blocks == next_check(blocks_for(doubled))
