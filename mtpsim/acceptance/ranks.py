"""``ranks``: which of several candidates per position is accepted, for trees of drafts."""

from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.base import (
    AcceptanceChain,
    AcceptanceModel,
    Sojourn,
    compiled_once,
    stationary,
    step_after,
)
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Depth, NonNegative, Probability, Slowdown, Spec
from mtpsim.common.text import counted

Width = Annotated[int, Field(ge=1, le=64)]


class Candidates(Spec):
    """Rates of the candidates: a table, or a law of few numbers."""

    exclusive: ClassVar[tuple[tuple[str, ...], ...]] = (("rates", "first"), ("rates", "power"))
    rates: list[Annotated[list[Probability], Field(min_length=1, max_length=64)]] = Field(
        default_factory=list,
        max_length=64,
        description="one row per position: probability that the first, second, ... candidate is "
        "the accepted one",
    )
    first: Probability | list[Probability] | None = Field(
        None, description="instead of `rates`: rate of the first candidate, or a list by position"
    )
    power: NonNegative | None = Field(
        None,
        description="with `first`: none of w candidates is accepted with probability "
        "(1 - first) / w^power",
    )

    def check(self, depth: int | None, width: int) -> None:
        """Check the table of rates; ``depth`` and ``width`` as of :meth:`table`.

        Raises:
            FieldError: No rates, rows of different lengths, or rates that can't be.
        """
        if not self.rates and self.first is None:
            raise FieldError("give either `rates` (rows by position) or `first`", kind="missing")
        if len({len(row) for row in self.rates}) > 1:
            lengths = [len(row) for row in self.rates]
            raise FieldError(f"all rows must have the same length; given {lengths}", key="rates")
        if isinstance(self.first, float) != (depth is not None):
            raise FieldError(
                "`depth` is the number of positions of one `first`; a list states its own",
                key="depth",
            )
        for position, row in enumerate(self.table(depth, width), 1):
            key = "rates" if self.rates else "power"
            if row.sum() > 1 + 1e-9:
                raise FieldError(f"position {position} sums to {row.sum():.9g}, above 1", key=key)
            if (np.diff(row) > 1e-12).any():
                rank = int(np.argmax(np.diff(row) > 1e-12)) + 1
                raise FieldError(
                    f"candidate {rank + 1} of position {position} has rate {row[rank]:.3g}, above "
                    f"the candidate before it, {row[rank - 1]:.3g}; rates must fall with the rank",
                    key=key,
                )

    def table(self, depth: int | None, width: int) -> Floats:
        """Rates ``[K, W]`` by position and rank; ``depth`` and ``width`` are those of a law."""
        if self.rates:
            return np.array(self.rates, float)
        first = np.atleast_1d(np.array(self.first, float)).repeat(depth or 1)
        missed = np.arange(1.0, width + 1) ** -(self.power or 0.0)
        others = (1 - first)[:, None] * -np.diff(missed)
        return np.column_stack([first, others]) if self.power else first[:, None]


class RankState(Candidates):
    """A hidden state of the text."""

    sojourn: Sojourn = Field(description="mean duration of the state, in rounds")
    slowdown: Slowdown = Field(1.0, description="factor on the round time in the state")


class Ranks(AcceptanceModel, Candidates):
    """A position has several candidates, of which the target accepts at most one.

    Without a tree in [draft] the first candidate of each position is drafted. Rates are
    probabilities given that the parent was accepted; with `states` they depend on a hidden state
    that is constant within a round.
    """

    model: Literal["ranks"]
    exclusive: ClassVar[tuple[tuple[str, ...], ...]] = (
        *Candidates.exclusive,
        ("states", "rates"),
        ("states", "first"),
    )
    depth: Depth | None = Field(None, description="number of positions with this one `first`")
    width: Width = Field(16, description="number of candidates per position of the law")
    states: list[RankState] = Field(
        default_factory=list,
        max_length=64,
        description="instead of own rates: hidden states, each with its rates",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.states) == 1:
            raise FieldError("one state is given; give two or more, or none", key="states")
        for part in self._parts():
            part.check(self.depth, self.width)
        depths = [len(part.table(self.depth, self.width)) for part in self._parts()]
        if len(set(depths)) > 1:
            raise FieldError(f"all states must have the same depth; given {depths}", key="states")
        return self

    def _parts(self) -> list[Candidates]:
        return [*self.states] or [self]

    def _tables(self) -> Floats:
        """Rates ``[S, K, W]``."""
        return padded([part.table(self.depth, self.width)[None] for part in self._parts()])

    def input_rates(self) -> Floats | None:
        """Rates ``[K]`` of the first candidates; None with hidden states."""
        return None if self.states else np.asarray(self._tables()[0, :, 0])

    @compiled_once
    def chain(self) -> AcceptanceChain:
        """The states with the rates of the first candidates, and those of all candidates."""
        tables = self._tables()
        step = step_after([state.sojourn for state in self.states])
        return AcceptanceChain(
            start=stationary(step),
            step=step[None],
            accept=np.ascontiguousarray(tables[:, :, 0]),
            clock="round",
            slowdown=np.array([state.slowdown for state in self.states] or [1.0]),
            candidates=tables,
        )

    def describe(self) -> list[str]:
        """The candidates as text, one line per state."""
        tables = self._tables()
        head = f"{counted(tables.shape[2], 'candidate')} per position"
        rows = [", ".join(f"{rate:.3g}" for rate in table[0, :4]) for table in tables]
        names = [f"state {n}, " * bool(self.states) for n in range(len(rows))]
        return [head, *(f"{n}first position: {row}" for n, row in zip(names, rows, strict=True))]


def padded(tables: list[Floats]) -> Floats:
    """Tables ``[S, K, W]`` one after another; missing candidates are never accepted."""
    widest = max(table.shape[2] for table in tables)
    return np.concatenate([np.pad(t, ((0, 0), (0, 0), (0, widest - t.shape[2]))) for t in tables])
