"""Warnings on mean times by depth that are not plausible, or in another unit."""

from __future__ import annotations

import numpy as np

from mtpsim.common.arrays import Floats

SHORTEST_STEP = 0.2  # ms; a shorter plain step may have been given in seconds
LARGEST_RATIO = 8.0  # of a verify to a plain step; beyond it the units may differ
SMALL_FALL = 0.05  # relative; measured verify times may fall by this much by chance
EQUAL = 1e-6  # relative; a smaller difference of two times is rounding


def drafts_are_free(verify: Floats, draft: Floats) -> bool:
    """Whether a round takes as long as a plain step, as where no time was measured.

    Args:
        verify: ``[K + 1]`` ms.
        draft: ``[K + 1]`` ms.
    """
    return len(verify) > 1 and bool((verify == verify[0]).all()) and not draft.any()


def time_warnings(verify: Floats, draft: Floats) -> list[str]:
    """Warnings on times that are not plausible, a sentence each.

    Args:
        verify: ``[K + 1]`` ms; entry 0 is the plain step.
        draft: ``[K + 1]`` ms; entry 0 is 0.
    """
    found, target = [], verify[0]
    if drafts_are_free(verify, draft):
        found.append(
            "drafting costs no time: a verify takes as long as a plain step, as where times are "
            "placeholders, so the greatest depth always wins; measure both times before you rely "
            "on the depth"
        )
    if target < SHORTEST_STEP:
        found.append(f"a plain step takes {target:g} ms; was it given in seconds?")
    if units := _units_differ(verify):
        return [*found, units]
    falling = np.flatnonzero(verify[2:] < verify[1:-1] * (1 - SMALL_FALL)) + 2
    if falling.size:
        k = int(falling[0])
        found.append(
            f"verify times fall with depth: {verify[k - 1]:g} ms at depth {k - 1}, {verify[k]:g} "
            f"ms at depth {k}; they must be in order of depth"
        )
    rounds = verify + draft
    faster = np.flatnonzero(rounds[1:] < target * (1 - EQUAL)) + 1
    if faster.size:
        k = int(faster[0])
        found.append(
            f"a round at depth {k} takes {rounds[k]:g} ms, less than a plain step ({target:g} ms); "
            "measure both on the same machine, batch and context length"
        )
    return found


def _units_differ(verify: Floats) -> str:
    for depth in range(1, len(verify)):
        if not 1 / LARGEST_RATIO < verify[depth] / verify[0] < LARGEST_RATIO:
            return (
                f"a verify at depth {depth} takes {verify[depth]:g} ms, a plain step "
                f"{verify[0]:g} ms; was one of them given in seconds?"
            )
    return ""
