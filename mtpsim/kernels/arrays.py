"""Named tuples of arrays that the kernels read."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats

Ints = npt.NDArray[np.int32]


class ChainArrays(NamedTuple):
    """A chain as thresholds on 31-bit words; R = A S + 1 rows, the last one starts a request."""

    upto: Ints  # [R, S] greatest word that leads to each state
    cut: Ints  # [R, S, K] greatest word that also accepts the draft
    guide: Ints  # [R, 256] least state that a word's top byte admits
    slowdown: Floats  # [S]
    two: bool  # at most two states and transitions that ignore outcomes: the vector path
    slow: bool  # slowdown is not 1 everywhere


class NoiseArrays(NamedTuple):
    """Quantile tables and their dependence; ``target`` shares the verify word."""

    kinds: npt.NDArray[np.int64]  # [3] of target, verify, draft
    target: Floats
    verify: Floats
    draft: Floats
    normal: Floats  # quantile table of the standard normal distribution
    shared: bool  # one factor for all of a round
    correlation: float
    persistence: float
    arm: int  # runs with different numbers have different noise on the same text


class RecordingArrays(NamedTuple):
    """Recorded requests, one after the other."""

    accepted: Ints  # [N] accepted drafts by entry
    begins: npt.NDArray[np.int64]  # [R + 1] where each request begins
    by_position: bool  # an entry is a text position, not a round


class RequestArrays(NamedTuple):
    """Length of a request (``rounds`` or ``tokens`` is 0) and mean times in ms by depth."""

    rounds: int
    tokens: int  # both 0: recorded requests with their recorded lengths
    measured_at: int  # depth M at which acceptance rates are measured
    times: Floats  # [2, K + 1] verify, draft; entry [0, 0] is the plain step
    every: bool  # accepted drafts counted at every depth, not only at the deepest


class TapeArrays(NamedTuple):
    """W ticks of n requests, on which policies are simulated: arrays ``[n, W]`` and more."""

    accepts: npt.NDArray[np.int64]  # drafts accepted from here; or bit j: accepted as draft j
    state: Ints
    words: Ints  # of the path, if outcomes steer the chain; else [n, 0]
    target: Floats  # noise factors; normal scores where each policy has its own noise
    verify: Floats
    draft: Floats
    stale_words: Ints  # decide whether a draft after a pause is stale; [n, 0] if none can be
    scores: Floats  # [n, W, Z] standard normal; Z is K with the round clock, else 1; 0: unused
    likelihood_ratios: Floats  # [n, W, Z] rejected over accepted, at the score of an accepted draft
    rejected_words: Ints  # [n, W, Z] words that set the confidence of drafts after a rejection


class EngineArrays(NamedTuple):
    """Where policies run."""

    kind: int  # what the tape holds: LENGTHS, LEVELS, or words of a chain steered by outcomes
    by_position: bool  # a tick is a text position, not a round
    verify: Floats  # [K + 1] mean ms; entry 0 is the plain step
    draft: Floats  # [K + 1]
    switch_cost: float
    catch_up: float
    stale: float
    full_feedback: bool
    rates: Floats  # [K] conditional rates: prior of the draft confidence
    odds_against: Floats  # [K] odds against acceptance, (1 - rate) / rate
    separation: float  # standard deviations between the scores of accepted and rejected drafts
    rejection_factor: float  # multiplies the odds of a rejected draft: exp(separation^2)


class PolicyInputs(NamedTuple):
    """Inputs that a policy reads; its kernel is compiled for these only."""

    confidence: bool
    scores: bool
    outcome: bool  # at the greatest depth
    drops: bool  # its memory starts with the number of drafts that it discards
    general: bool  # outcomes steer the chain, or each policy has noise of its own


LENGTHS, LEVELS, STEERED_ROUNDS, STEERED_POSITIONS = range(4)


def accepted_column(depths: int, depth: int, every: bool) -> int:
    """Column where the accepted counts of ``depth`` begin; ``depths`` is the greatest, K."""
    return 3 * (depths + 1) + (depth * (depth - 1) // 2 if every else 0)


def window_column(depths: int, every: bool) -> int:
    """Column where the counts of positions tried as starts begin."""
    return 3 * (depths + 1) + (depths * (depths + 1) // 2 if every else depths)
