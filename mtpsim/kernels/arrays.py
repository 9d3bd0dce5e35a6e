"""Named tuples of arrays that the kernels read, and the columns of the rows that they fill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mtpsim.common.arrays import Floats

Ints = npt.NDArray[np.int32]
Floats32 = npt.NDArray[np.float32]
ENDLESS = 2**31 - 1


class ChainArrays(NamedTuple):
    """A chain as thresholds on 31-bit words; R = A S + 1 rows, the last one starts a request."""

    state_bounds: Ints  # [R, S] greatest word that leads to each state
    accept_bounds: Ints  # [R, S, K] greatest word that also accepts the draft
    guide: Ints  # [R, 256] least state that a word's top byte admits
    slowdown: Floats  # [S]
    two: bool  # at most two states and transitions that ignore outcomes: the vector path
    slow: bool  # slowdown is not 1 everywhere
    steps: int = ENDLESS  # most states beyond the one of the guide; so many, if it is not known


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
    offsets: npt.NDArray[np.int64]  # [R + 1] where each request begins
    by_position: bool  # an entry is a text position, not a round
    in_order: bool = False  # request n replays record n, instead of one drawn at random
    confidence: Floats32 = np.zeros((0, 0), np.float32)  # [N, K] of drafts by entry; [0, 0]: none
    whole: bool = False  # the last round of a recorded request counts in full


class RequestArrays(NamedTuple):
    """Length of a request (``rounds`` or ``tokens`` is 0) and mean times in ms by depth."""

    rounds: int
    tokens: int  # both 0: recorded requests with their recorded lengths
    measured_at: int  # depth M at which acceptance rates are measured
    times: Floats  # [2, K + 1] verify, draft; entry [0, 0] is the plain step
    every: bool  # accepted drafts counted at every depth, not only at the deepest
    lengths: Ints = np.zeros(0, np.int32)  # [n] tokens of each simulated request; [0]: as `tokens`

    def ends(self, count: int) -> Ints:
        """``[count]`` token at which each request ends; the greatest integer if none ends it."""
        if self.lengths.size:
            return self.lengths
        return np.full(count, self.tokens or ENDLESS, np.int32)


class TapeArrays(NamedTuple):
    """W ticks of n requests, on which policies are simulated: arrays ``[W, n]`` and more."""

    accepts: npt.NDArray[np.int64]  # drafts accepted from here; beyond the last start of a round
    # and while the tape is written: bit j if accepted as draft j
    state: Ints
    words: Ints  # of the path, if transitions depend on outcomes; else [0, n]
    target: Floats  # noise factors; normal scores where each policy has its own noise
    verify: Floats
    draft: Floats
    stale_words: Ints  # decide whether a draft after a pause is stale; [0, n] if none can be
    resumed_words: Ints  # decide how many drafts are lost after a pause; [0, n] if none can be
    scores: Floats  # [Z, W, n] standard normal; Z is K with the round clock, else 1; 0: unused
    # [Z, W, n] rejected over accepted, at the score of an accepted draft; where the confidence has
    # laws, the probability at which their quantile is read
    likelihood_ratios: Floats
    rejected_words: Ints  # [Z, W, n] words that set the confidence of drafts after a rejection
    entries: Ints  # [W, n] row in tables by recorded text position; [0, n]: unused
    confidences: Floats  # [K, W, n] of the drafts from here on; K = 0: unused


class EngineArrays(NamedTuple):
    """Where policies run."""

    kind: int  # what the tape holds: LENGTHS, LEVELS, or words for transitions by outcome
    by_position: bool  # a tick is a text position, not a round
    verify: Floats  # [K + 1] mean ms; entry 0 is the plain step
    draft: Floats  # [K + 1]
    switch_cost: float
    catch_up: float
    stale: float
    resumed: float
    full_feedback: bool
    rates: Floats  # [K] conditional rates: prior of the draft confidence
    odds_against: Floats  # [K] odds against acceptance, (1 - rate) / rate
    separation: float  # standard deviations between the scores of accepted and rejected drafts
    rejection_factor: float  # multiplies the odds of a rejected draft: exp(separation^2)
    after_rejection: Floats  # [S, K] rates of drafts after the first rejection; S is 1 without laws
    laws: Floats  # [2, P, S, Q + 1] quantiles of the confidence by outcome; [0, ..]: by the AUC
    tokens: int  # of a request in tables by recorded text position; 0: as recorded
    proposed: Ints  # [S] drafts that a round proposes, by state; empty: always as many as the depth


class PolicyInputs(NamedTuple):
    """Inputs that a rule reads."""

    confidence: bool  # drawn in each round, as the policy changes which drafts are accepted
    scores: bool
    outcome: bool  # at the greatest depth
    drops: bool  # its memory starts with the number of drafts that it discards
    entry: bool = False  # of tables by recorded text position
    on_tape: bool = False  # the confidence stands on the tape


class Situation(NamedTuple):
    """What can happen while policies play: constants of the kernel that plays them."""

    own_noise: bool  # persistent noise, which depends on where the policy's own rounds begin
    by_outcome: bool  # transitions depend on outcomes
    shared: bool  # one noise factor for all of a round
    pauses: bool  # drafts lose acceptance after depth 0
    proposed: bool  # the number of drafts that a round proposes is random
    by_position: bool  # a tick is a text position, not a round
    slow: bool  # some states slow rounds down


class LaneArrays(NamedTuple):
    """Requests that a policy plays in lockstep, in B blocks of BLOCK requests."""

    ints: npt.NDArray[np.int64]  # [B, INTS], see TICK .. MISSING
    floats: Floats  # [B, FLOATS], see ROUND_MS .. DRAFT_SCORE
    counts: npt.NDArray[np.int64]  # [B, (K + 1) BLOCK] rounds by depth
    memory: Floats  # [B, M BLOCK] of the rule


BLOCK = 64  # requests in lockstep
# Where the integers of a block begin, BLOCK of each. From one tape to the next it keeps
TICK, PREVIOUS, ROW, ROUNDS, TOKENS, MOST_ROUNDS, MOST_TOKENS = range(0, 7 * BLOCK, BLOCK)
# and in a round it has
ACTIVE, AT, STATE, ENTRY, KEPT, FULL, OFFERED, DEPTH, ACCEPTED, OBSERVED, REACHED, MISSING = range(
    7 * BLOCK, 19 * BLOCK, BLOCK
)
# Floats: ms of the round, of the tape and in all, and normal scores of noise of the round before
ROUND_MS, TAPE_MS, TOTAL_MS, VERIFY_SCORE, DRAFT_SCORE = range(0, 5 * BLOCK, BLOCK)
INTS, FLOATS = 19 * BLOCK, 5 * BLOCK
TICKS = 256  # of a tape on which rounds of a policy may begin
LENGTHS, LEVELS, ROUNDS_BY_OUTCOME, POSITIONS_BY_OUTCOME = range(4)


def accepted_column(depths: int, depth: int, every: bool) -> int:
    """Column where the accepted counts of ``depth`` begin; ``depths`` is the greatest, K."""
    return 3 * (depths + 1) + (depth * (depth - 1) // 2 if every else 0)


def window_column(depths: int, every: bool) -> int:
    """Column where the counts of positions tried as starts begin."""
    return 3 * (depths + 1) + (depths * (depths + 1) // 2 if every else depths)


@dataclass(frozen=True)
class RowLayout:
    """Where the totals of a request stand in its row, for depths 0..K.

    Attributes:
        depth: greatest depth K.
        every: accepted drafts are counted at every depth (else at K only, which serves all where
            each depth plays the same rounds and accepts the same drafts up to its limit).
        measured_at: depth M at which rates are measured to be plugged into the closed form.
        positions: text positions are tried as starts of rounds, under the token clock.
        policies: number of policies that are played.
    """

    depth: int
    every: bool
    measured_at: int
    positions: bool
    policies: int = 0

    @property
    def columns(self) -> int:
        """Length of a row."""
        return int(self.squares.stop) + self.policies * self._policy_columns

    @property
    def _policy_columns(self) -> int:
        return 4 + self.depth

    def policy(self, number: int) -> slice:
        """Of a policy: tokens, ms, rounds, and rounds at each depth, ``[4 + K]``."""
        first = self.squares.stop + number * self._policy_columns
        return slice(first, first + self._policy_columns)

    @property
    def policy_tokens(self) -> slice:
        """Tokens by policy."""
        return slice(self.squares.stop, None, self._policy_columns)

    @property
    def policy_time_ms(self) -> slice:
        """Time in ms by policy."""
        return slice(self.squares.stop + 1, None, self._policy_columns)

    @property
    def policy_rounds(self) -> slice:
        """Rounds by policy."""
        return slice(self.squares.stop + 2, None, self._policy_columns)

    @property
    def tokens(self) -> slice:
        """Tokens by depth, ``[K + 1]``."""
        return slice(0, self.depth + 1)

    @property
    def time_ms(self) -> slice:
        """Time in ms by depth, ``[K + 1]``."""
        return slice(self.depth + 1, 2 * (self.depth + 1))

    @property
    def rounds(self) -> slice:
        """Rounds by depth, ``[K + 1]``."""
        return slice(2 * (self.depth + 1), 3 * (self.depth + 1))

    def accepted(self, depth: int) -> slice:
        """Rounds that accepted drafts 1..j at ``depth``, by j, ``[depth]``."""
        first = accepted_column(self.depth, depth if self.every else self.depth, self.every)
        return slice(first, first + depth)

    @property
    def windows(self) -> slice:
        """Text positions tried as the start of a round; then those that accept 1..j; ``[1 + M]``.

        Empty under the round clock, which has no text positions.
        """
        first = window_column(self.depth, self.every)
        return slice(first, first + (1 + self.measured_at if self.positions else 0))

    @property
    def request_survival(self) -> slice:
        """The request's own share of rounds that accepted 1..j at depth M, ``[M]``."""
        first = self.windows.stop
        return slice(first, first + self.measured_at)

    @property
    def request_conditional(self) -> slice:
        """The request's own conditional rates, 0 where it never came so far, ``[M]``."""
        first = self.request_survival.stop
        return slice(first, first + self.measured_at)

    @property
    def reached_mask(self) -> slice:
        """1 where the request has such a conditional rate, ``[M]``."""
        first = self.request_conditional.stop
        return slice(first, first + self.measured_at)

    @property
    def squares(self) -> slice:
        """A^2, A N and N^2 for A accepted drafts in N rounds at depth M, ``[3]``."""
        first = self.reached_mask.stop
        return slice(first, first + 3)
