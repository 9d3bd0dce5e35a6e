"""A depth by batch size, as vLLM and TensorRT-LLM take it from their users."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mtpsim.policy.base import Setting, too_deep
from mtpsim.policy.fixed import OneDepth, choose, learn, start

__all__ = ["Schedule", "choose", "learn", "start"]

Row = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=3, max_length=3)]


class Schedule(OneDepth):
    """The depth that a table has for the batch of the cost model."""

    rule: Literal["schedule"] = "schedule"
    by_batch: Annotated[list[Row], Field(min_length=1)] = Field(
        description="rows of first batch, last batch, depth; off where no row fits"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Schedule:
        for first, last, _ in self.by_batch:
            if last < first:
                raise ValueError(f"`by_batch`: a row goes from {first} down to {last}")
        for before, after in pairwise(self.by_batch):
            if after[0] <= before[1]:
                raise ValueError(f"`by_batch`: row {after} begins within row {before}")
        return self

    def depth_at(self, batch: float) -> int:
        """The depth for a batch."""
        fits = (depth for first, last, depth in self.by_batch if first <= batch < last + 1)
        return next(fits, 0)

    def the_depth(self, setting: Setting) -> int:
        """The depth for the setting's batch."""
        return self.depth_at(setting.batch or 1.0)

    def wrong(self, depth: int, batch: float | None) -> str | None:
        """No batch to look up, or a depth that the model doesn't have."""
        if batch is None:
            return 'a schedule needs a batch: latency.model = "linear" or another cost model'
        deepest = max(row[2] for row in self.by_batch)
        return too_deep("by_batch", deepest, depth) if deepest > depth else None
