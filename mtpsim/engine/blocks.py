"""Blocks: fixed ranges of requests, few at first and then more, the same on any machine.

The first 64 blocks are of one unit (some milliseconds of work); from then on a block is a 32nd to a
64th of all that is before it, up to 64 units (about 0.3 s). So a short run can stop early, and a
long one hands its workers pieces that are worth the way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mtpsim.acceptance import Recording, Source
from mtpsim.stats.moments import Tally

UNIT_TICKS = 2**20  # work of a unit, about 4 ms: fixed by the experiment, never by the machine
UNIT_ROWS = 16384  # bounds the memory of a unit where requests are short
FIRST, OCTAVE, LARGEST = 64, 32, 6  # blocks of one unit; then 32 of each size; up to 2^6 units
FLOOR = 30  # units: a precision stop on fewer has poor coverage (docs/statistics.md)
GROWTH = 1.2  # the stopping rule is asked at 30, 36, 44, ... units


@dataclass(frozen=True)
class BlockRange:
    """Blocks ``first`` .. ``end - 1`` of a point, and their tally."""

    first: int
    end: int
    tally: Tally

    @classmethod
    def empty(cls, columns: int, first: int = 0) -> BlockRange:
        """No block yet."""
        return cls(first, first, Tally.empty(columns))


def unit_of(source: Source, rounds: int, tokens: int, lanes: int = 64) -> int:
    """Requests in a unit, of which blocks are made: a multiple of 64, ``UNIT_TICKS`` ticks."""
    positions = source.depth + 1 if source.clock == "token" else 1
    ticks = tokens or rounds * positions
    if isinstance(source, Recording) and not ticks:
        ticks = max(1, round(source.accepted.size / source.requests))
    return int(np.clip(UNIT_TICKS // ticks // lanes * lanes, lanes, UNIT_ROWS))


def first_unit(block: int) -> int:
    """Units before a block."""
    if block < FIRST:
        return block
    octave, within = divmod(block - FIRST, OCTAVE)
    if octave >= LARGEST:
        octave, within = LARGEST - 1, block - FIRST - OCTAVE * (LARGEST - 1)
    return int(FIRST * 2**octave + within * 2 ** (octave + 1))


def blocks_for(units: int) -> int:
    """The least number of blocks that have ``units`` units or more."""
    low, high = 0, max(units, 1)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if first_unit(middle) < units else (low, middle)
    return low


def next_check(blocks: int) -> int:
    """The least number of blocks, ``blocks`` or more, at which the stopping rule is asked."""
    ask = FLOOR
    while ask < blocks:
        ask = blocks_for(math.ceil(first_unit(ask) * GROWTH))
    return ask
