"""A depth by batch size, as users of vLLM and TensorRT-LLM can configure it.

Sources: vLLM, ``build_dynamic_sd_schedule_lookup`` in ``vllm/v1/spec_decode/dynamic/utils.py``,
commit 14b450c: batches between and beyond the rows have the depth of the row before. TensorRT-LLM,
``draft_len_schedule``: beyond the last batch nothing is drafted.
"""

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mtpsim.common.errors import FieldError
from mtpsim.policy.base import Environment, depth_mismatch
from mtpsim.policy.fixed import ConstantDepth, choose

__all__ = ["Schedule", "choose"]

Row = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=3, max_length=3)]


class Schedule(ConstantDepth):
    """The depth that a table gives for the batch of the cost model."""

    rule: Literal["schedule"] = "schedule"
    by_batch: Annotated[list[Row], Field(min_length=1)] = Field(
        description="rows [first batch, last batch, depth]"
    )
    elsewhere: Literal["off", "keep"] = Field(
        "off",
        description="batches in no row: off, depth 0 (TensorRT-LLM), or keep, the depth of the row "
        "before (vLLM)",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for first, last, _ in self.by_batch:
            if last < first:
                raise FieldError(
                    f"the last batch of a row is below its first: {first}, {last}", key="by_batch"
                )
        for before, after in pairwise(self.by_batch):
            if after[0] <= before[1]:
                raise FieldError(f"rows {before} and {after} overlap", key="by_batch")
        return self

    def depth_at(self, batch: float) -> int:
        """The depth for a batch."""
        before = [row for row in self.by_batch if row[0] <= batch]
        if not before or (self.elsewhere == "off" and batch >= before[-1][1] + 1):
            return 0
        return before[-1][2]

    def depth_in(self, environment: Environment) -> int:
        """The depth for the batch of the environment."""
        return self.depth_at(environment.batch or 1.0)

    def mismatch(self, depth: int, batch: float | None) -> str | None:
        """The latency needs a batch, and the model all depths of the table."""
        if batch is None:
            return 'a schedule needs a batch: latency.model = "linear" or another cost model'
        return depth_mismatch("by_batch", max(row[2] for row in self.by_batch), depth)
