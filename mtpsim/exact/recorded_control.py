"""Optimal depths on recorded text positions: bounds for policies that replay a recording.

The oracle knows the whole recording, and takes the depths of least expected time by dynamic
programming over the positions of each request, from its end. The clairvoyant knows what the next
round would accept, and drafts just that, up to the best cap.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mtpsim.acceptance import Recording
from mtpsim.acceptance.recording import play
from mtpsim.common.arrays import Floats
from mtpsim.exact.switching import IDLE, USUAL, Rows, Switching

Ints = npt.NDArray[np.intp]

LARGEST = 1 << 24  # entries of the oracle's table
CHUNK = 4096  # recorded requests played at once


@dataclass(frozen=True, kw_only=True)
class RecordedControl(Switching):
    """Control of recorded text positions, and what it costs.

    Attributes:
        recording (Recording): Recorded requests, by position.
        times (Floats): ``[K + 1]`` mean time of a round in ms by depth.
        rounds (int): Rounds per request, or 0.
        tokens (int): Tokens per request, or 0; both 0: each request has its recorded length.
    """

    recording: Recording
    times: Floats
    rounds: int = 0
    tokens: int = 0

    @property
    def _depths(self) -> int:
        return len(self.times)

    @cached_property
    def _rows(self) -> Rows:
        """What is known of the rounds before."""
        return self.rows(self._depths - 1)

    @cached_property
    def _costs(self) -> Floats:
        """``[rows, K + 1]`` ms of a round by row and depth."""
        return np.asarray(self.times + self._rows.extra)

    @cached_property
    def _lengths(self) -> npt.NDArray[np.int64]:
        """``[R]`` tokens of each request."""
        lengths = self.recording.lengths
        return np.full_like(lengths, self.tokens) if self.tokens else lengths

    @cached_property
    def _solved(self) -> tuple[npt.NDArray[np.int8], Floats]:
        """Best depths ``[rows, E]`` by entry, and ms ``[R]`` of each request."""
        if self.rounds:
            raise ValueError(
                "the best depths of recorded requests need an end in the text: give `tokens` or "
                "as_recorded = true, not `rounds`"
            )
        entries = int(self._lengths.sum()) * len(self._costs)
        if entries > LARGEST:
            raise ValueError(
                f"the best depths of recorded requests can't be solved: {entries:,} positions are "
                f"too many (at most {LARGEST:,})"
            )
        order = np.argsort(-self._lengths, kind="stable")
        first, length = self.recording.offsets[:-1][order], self.recording.lengths[order]
        begin = np.concatenate([[0], np.cumsum(self._lengths)])[:-1][order]
        left = self._lengths[order]
        best = np.zeros((len(self._costs), int(self._lengths.sum())), np.int8)
        time = np.zeros(left.size)
        after = np.zeros((self._depths, left.size, len(self._costs)))  # 1, 2, .. positions on
        for rest in range(1, int(left.max()) + 1):
            live = int(np.searchsorted(-left, -rest, side="right"))
            at = left[:live] - rest
            accepted = self.recording.accepted[first[:live] + at % length[:live]]
            each = self._by_depth(accepted, after[:, :live])
            best[:, begin[:live] + at] = each.argmin(-1).T
            now = np.zeros(after.shape[1:])
            now[:live] = each.min(-1)
            after = np.concatenate([now[None], after[:-1]])
            time[left == rest] = now[left == rest, 0]
        return best, time

    def _by_depth(self, accepted: npt.NDArray[np.int32], after: Floats) -> Floats:
        """Expected ms to the end ``[n, rows, K + 1]``, given those 1.. positions on."""
        number, depth = np.arange(accepted.size)[:, None], np.arange(self._depths)
        hits, rows = np.minimum(accepted[:, None], depth), self._rows.after
        each = after[hits, number, rows[USUAL]][:, None] + self._costs
        if self.resumed:
            lossy = np.flatnonzero(self._rows.drafts)
            left = self._resumed(after)[hits, number, rows[IDLE]]
            each[:, lossy] = left[:, None] + self._costs[lossy]
        if self.stale:
            none = after[0][:, rows[IDLE]] + self._costs[1]
            mixed = self.stale * none + (1 - self.stale) * each[:, 1]
            each[:, 1, 1:] = mixed[:, 1:]
        return np.asarray(each)

    def _resumed(self, after: Floats) -> Floats:
        """Expected ms ``[K + 1, n, rows]`` after as many hits, each of which may be lost."""
        kept, found = 1.0, after.copy()
        lost = np.zeros(after.shape[1:])
        for hits in range(self._depths):
            found[hits] = lost + kept * after[hits]
            lost += kept * self.resumed * after[hits]
            kept *= 1 - self.resumed
        return found

    @property
    def oracle(self) -> npt.NDArray[np.int8]:
        """``[R, E]`` depths of least expected time by row and entry; R is at least K + 2.

        Raises:
            ValueError: Requests end after a number of rounds, or there are too many positions.
        """
        best = self._solved[0]
        return np.broadcast_to(best, (max(len(best), self._depths + 1), best.shape[1]))

    @cached_property
    def cap(self) -> Ints:
        """``[K + 2, 1]`` the best cap of the clairvoyant, the same after every depth."""
        best = np.argmax([self._capped(cap) for cap in range(self._depths)])
        return np.broadcast_to(np.array([[best]]), (self._depths + 1, 1))

    def _capped(self, cap: int) -> float:
        """Tokens per ms of the clairvoyant, which plays the rounds of depth ``cap``.

        Stale and resumed drafts are left out.
        """
        tokens = time = 0.0
        horizon = {"rounds": self.rounds, "tokens": self.tokens}
        for at in range(0, self.recording.requests, CHUNK):
            some = slice(at, at + CHUNK)
            played = play(self.recording, some, cap, **horizon)
            live = played >= 0
            made = (played + 1).sum(1)
            whole = self.rounds or (self.recording.whole and not self.tokens)
            tokens += float(made.sum() if whole else self._lengths[some].sum())
            before = np.concatenate([np.full_like(played[:, :1], -1), played[:, :-1]], axis=1)
            row = np.zeros_like(before) if self.free else before + 1
            time += float(self._costs[row[live], played[live]].sum())
        return tokens / time

    def pace(self, choice: Ints, clairvoyant: bool = False) -> float:
        """Exact tokens per ms of the oracle, or of the clairvoyant with its cap.

        Args:
            choice (Ints): :attr:`oracle`, or a cap ``[K + 2, 1]``.
            clairvoyant (bool): Whether the choice is a cap.

        Returns:
            float: Expected tokens over expected ms of a request, each request equally likely.
        """
        if clairvoyant:
            return self._capped(int(choice[0, 0]))
        return float(self._lengths.sum() / self._solved[1].sum())
