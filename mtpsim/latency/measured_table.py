"""Times measured by batch and depth, with straight lines between the batches."""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.text import counted
from mtpsim.latency.costs import CostModel
from mtpsim.latency.times import Milliseconds, Times

Row = Annotated[list[Milliseconds], Field(min_length=2)]


class Table(CostModel):
    """Step times by batch and depth; between two measured batches, the line through them."""

    model: Literal["table"]
    batches: list[Annotated[float, Field(ge=1, le=1e6)]] = Field(
        min_length=1, description="batches that were measured, ascending"
    )
    verify: list[Row] = Field(
        description="a row a batch: ms at depth 0 (the plain step), 1, 2, ... K"
    )
    draft: Times = Field(0.0, description="drafting by depth, ms; 0 where `verify` has it in it")

    @model_validator(mode="after")
    def _rows_fit(self) -> Self:
        if any(a >= b for a, b in zip(self.batches, self.batches[1:], strict=False)):
            raise FieldError("`batches` must ascend, each once", key="batches")
        if len(self.verify) != len(self.batches):
            raise FieldError(
                f"{len(self.verify)} rows for {len(self.batches)} batches; one each", key="verify"
            )
        if len({len(row) for row in self.verify}) > 1:
            raise FieldError("rows have different lengths; each has depths 0 to K", key="verify")
        if any(time <= 0 for row in self.verify for time in row):
            raise FieldError("0 ms is given; it must be positive", key="verify")
        if not self.batches[0] <= self.batch <= self.batches[-1]:
            raise FieldError(
                f"{self.batch:g} is outside of what was measured, {self.batches[0]:g} to "
                f"{self.batches[-1]:g}",
                key="batch",
            )
        return self

    def step(self, batch: float, depth: Floats) -> Floats:
        """Ms of a step at each depth ``[n]``."""
        rows = np.array(self.verify)
        return np.array([np.interp(batch, self.batches, rows[:, int(k)]) for k in depth])

    def wrong_lengths(self, depth: int) -> dict[str, str]:
        """What is wrong with lists of times, by key."""
        wrong = super().wrong_lengths(depth)
        if len(self.verify[0]) != depth + 1:
            wrong["verify"] = (
                f"rows of {counted(len(self.verify[0]), 'time')} are given, but the acceptance "
                f"model has depth {depth}: give {depth + 1}, for depths 0 to {depth}"
            )
        return wrong

    def formula(self) -> str:
        """What a step costs, in words."""
        return f"measured at batches {', '.join(f'{b:g}' for b in self.batches)}"

    def describe(self) -> list[str]:
        """A line for each part."""
        row = self.step(self.batch, np.arange(len(self.verify[0]), dtype=float))
        times = ", ".join(f"{time:.4g}" for time in row)
        return [
            f"batch of {self.batch:g}",
            f"step: {self.formula()}",
            f"depths 0 to {len(row) - 1}: {times} ms",
            *self.describe_noise(),
        ]
