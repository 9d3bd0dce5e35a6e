"""The row of totals that a request leaves: which column holds what."""

from __future__ import annotations

from dataclasses import dataclass

from mtpsim.kernels.arrays import accepted_column, window_column


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
