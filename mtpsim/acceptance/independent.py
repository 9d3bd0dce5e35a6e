"""``independent``: rounds are independent, with one acceptance rate per position."""

from dataclasses import replace
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.acceptance.base import (
    AcceptanceChain,
    Clock,
    RatesModel,
    compiled_once,
    independent_rounds,
)
from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Depth
from mtpsim.formula.accept_lengths import constant_rate, rates_through
from mtpsim.formula.closed_form import conditional_from, survival

AcceptLength = Annotated[float, Field(ge=1, le=65)]


class Independent(RatesModel):
    """One acceptance rate per draft position, the same in every round.

    Give `rates`; one `rate` for all positions; or measured values of `accept_length`.
    """

    model: Literal["independent"]
    rates_are: Literal["conditional", "survival", "marginal", "pooled"] = Field(
        "conditional", description="definition of the rates"
    )
    accept_length: AcceptLength | list[AcceptLength] | None = Field(
        None, description="instead of rates: tokens per round at depths 1..K, or at `measured_at`"
    )
    measured_at: Depth | list[Depth] | None = Field(
        None, description="depth of a pooled rate, or depths of `accept_length`"
    )
    clock: Clock = Field("round", description="no effect on the results of this model")

    @model_validator(mode="after")
    def _one_way_to_give_rates(self) -> Self:
        given = (bool(self.rates), self.rate is not None, self.accept_length is not None)
        if sum(given) != 1:
            raise FieldError(
                "give one of `rates` (a list), `rate` with `depth`, and `accept_length`"
            )
        if self.rates_are == "pooled" and self.rate is None:
            raise FieldError("a pooled rate is one number: give `rate`", key="rates_are")
        one_number = self.rate is not None or isinstance(self.accept_length, float)
        needs_depth = self.rate is not None and self.rates_are != "pooled"
        if needs_depth and self.depth is None:
            raise FieldError("`rate` and `depth` must be given together", key="rate")
        if self.depth is not None and not one_number:
            raise FieldError("is for one number; a list states its depths", key="depth")
        self._check_measured_at(one_number=one_number, needed=one_number and not needs_depth)
        return self

    def _check_measured_at(self, *, one_number: bool, needed: bool) -> None:
        depths, lengths = self.measured_at, self.accept_length
        if depths is None and needed:
            what = "accept length" if self.rate is None else "pooled rate"
            raise FieldError(
                f"is missing: the number of drafts per round at which the {what} was measured",
                key="measured_at",
                kind="missing",
            )
        if depths is None:
            return
        if not needed and lengths is None:
            raise FieldError("is for a pooled rate or for `accept_length`", key="measured_at")
        if one_number != isinstance(depths, int):
            raise FieldError(
                f"must be {'one depth' if one_number else 'a list of depths'}", key="measured_at"
            )
        if (
            isinstance(depths, list)
            and isinstance(lengths, list)
            and (len(depths) != len(lengths) or depths != sorted(set(depths)))
        ):
            raise FieldError(
                f"must be {len(lengths)} ascending depths, one per accept length", key="measured_at"
            )

    @model_validator(mode="after")
    def _rates_convert(self) -> Self:
        self.input_rates()
        return self

    def input_rates(self) -> Floats:
        """Conditional rates ``[K]``."""
        if self.accept_length is not None:
            lengths = self._length_by_depth()
            _check_lengths(lengths)
            rates = rates_through(lengths)
            return np.full(self.depth, rates[0]) if self.depth else rates
        if self.rates_are == "pooled":
            measured = self.measured_at
            assert isinstance(measured, int)
            assert self.rate is not None
            return np.full(self.depth or measured, constant_rate(self.rate * measured, measured))
        return conditional_from(self.rates_by_position(), self.rates_are)

    def _length_by_depth(self) -> dict[int, float]:
        lengths = self.accept_length if isinstance(self.accept_length, list) else []
        if isinstance(self.accept_length, float):
            lengths = [self.accept_length]
        depths = self.measured_at or list(range(1, len(lengths) + 1))
        return dict(zip(np.atleast_1d(depths).tolist(), lengths, strict=True))

    @compiled_once
    def chain(self) -> AcceptanceChain:
        """One state with these rates."""
        return replace(independent_rounds(self.input_rates()), clock=self.clock)


def _check_lengths(lengths: dict[int, float]) -> None:
    """Check that some rates give accept lengths by depth."""
    before, least, reached = 0, 1.0, 1.0
    for depth, length in lengths.items():
        most = least + reached * (depth - before)
        if not least <= length <= most + 1e-12:
            place = f"{least:g} at depth {before}" if before else "1 without drafts"
            raise FieldError(
                f"{length:g} at depth {depth} is given, but after {place} it must be from "
                f"{least:.4g} to {most:.4g}: draft {depth} is accepted at most as often as those "
                "before it",
                key="accept_length",
            )
        rates = rates_through({k: value for k, value in lengths.items() if k <= depth})
        before, least, reached = depth, length, float(survival(rates)[-1])
