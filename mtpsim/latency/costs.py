"""Cost models whose parameters or measured steps stand in the experiment file."""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Probability
from mtpsim.common.text import counted
from mtpsim.latency.cost_model import CostModel, TokenCount, reading_text
from mtpsim.latency.experts import OVERLAP, add_experts, check_overlap, experts_hit, overlap_text
from mtpsim.latency.step_costs import StepCosts, new_costs
from mtpsim.latency.times import Milliseconds, Times

Count = Annotated[int, Field(ge=1, le=1_000_000)]
TableRow = Annotated[list[Milliseconds], Field(min_length=2)]


def _listed(values: Floats) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


class _Passes(CostModel):
    """Parameters that the parametric cost models share."""

    overhead: Milliseconds = Field(0.0, description="fixed ms per step (host, kernel launch)")
    per_token: Milliseconds = Field(description="ms per token of the pass")
    cached: TokenCount = Field(0.0, description="cached tokens per request (context length)")
    per_cached: Milliseconds = Field(0.0, description="ms per cached token of the batch")
    per_cached_token: Milliseconds = Field(
        0.0, description="ms per cached token and token of the pass, if each token reads the cache"
    )

    @model_validator(mode="after")
    def _takes_time(self) -> Self:
        if not self.step(1.0, np.zeros(1))[0] > 0:
            raise ValueError("a plain step takes 0 ms; at least one part of it must be positive")
        return self

    def _costs(self, draft: Floats, memory: Floats) -> StepCosts:
        """Step costs with the parts that the parametric models share."""
        return new_costs(draft, memory[None])._replace(
            overhead=self.overhead,
            per_cached=self.per_cached,
            per_cached_token=self.per_cached_token,
        )

    def _reading(self, batch: float, depth: Floats) -> Floats:
        """Time ``[n]`` in ms to read the cached tokens of the batch, at each depth."""
        each = self.per_cached + self.per_cached_token * (depth + 1)
        return np.asarray(each * self.cached * batch)

    def _reading_text(self) -> str:
        return reading_text(self.per_cached, self.per_cached_token, self.cached)


class Linear(_Passes):
    """Linear: ``overhead + base + per_token B (k + 1) + per_cached B cached``.

    Fits dense models in the memory-bound range, as measured on serving engines. Source: Liu et al.
    2024, SmartSpec, eq. 5 (pass time linear in its tokens and cached tokens).
    """

    model: Literal["linear"]
    base: Milliseconds = Field(0.0, description="ms per pass to read the weights")

    def step(self, batch: float, depth: Floats) -> Floats:
        """Time of a step at each depth, ``[n]`` ms."""
        fixed = self.overhead + self.base + self._reading(batch, depth)
        return fixed + self.per_token * batch * (depth + 1)

    def pass_costs(self, draft: Floats, tokens: Floats) -> StepCosts:
        """Costs of passes over ``tokens`` ``[T + 1]``, from the formula."""
        return self._costs(draft, self.base + self.per_token * tokens)

    def formula(self) -> str:
        """The time of a step as text."""
        text = f"{self.overhead + self.base:g} + {self.per_token:g} B (k + 1) ms"
        return text + self._reading_text()


class Roofline(_Passes):
    """Roofline: a pass is bound by memory or by compute, whichever takes longer.

    ``overhead + max(floor + per_cached B cached, per_token B (k + 1))``: drafted tokens cost
    nothing up to the ridge. Source: Williams, Waterman, Patterson 2009.
    """

    model: Literal["roofline"]
    floor: Milliseconds = Field(description="ms to read the weights, the least time of a pass")

    def step(self, batch: float, depth: Floats) -> Floats:
        """Time of a step at each depth, ``[n]`` ms."""
        memory = self.floor + self._reading(batch, depth)
        return self.overhead + np.maximum(memory, self.per_token * batch * (depth + 1))

    def pass_costs(self, draft: Floats, tokens: Floats) -> StepCosts:
        """Costs of passes over ``tokens`` ``[T + 1]``, from the formula."""
        costs = self._costs(draft, np.full(tokens.size, self.floor))
        return costs._replace(compute=self.per_token * tokens)

    def formula(self) -> str:
        """The time of a step as text."""
        ridge = f"; ridge at {self.floor / self.per_token:.4g} tokens" if self.per_token else ""
        return f"{self.overhead:g} + max({self.floor:g}, {self.per_token:g} B (k + 1)) ms" + ridge


class Moe(_Passes):
    """Mixture of experts: a pass reads every expert that one of its tokens activates.

    n tokens that choose ``active`` of ``experts`` uniformly and independently activate
    ``experts (1 - (1 - active / experts)^n)`` experts in expectation, each ``per_expert`` ms to
    read. Drafts therefore cost most at medium batch sizes. Source: Huang et al. 2025, MoESD.
    Neighbouring tokens of a request choose similar experts: `expert_overlap` is the share of its
    experts that a token has in common with the one before it.
    """

    model: Literal["moe"]
    base: Milliseconds = Field(0.0, description="ms to read the weights shared by all tokens")
    per_expert: Milliseconds = Field(description="ms to read one expert, over all layers")
    experts: Count = Field(description="routed experts per layer")
    active: Count = Field(description="routed experts active per token")
    expert_overlap: Probability | None = Field(None, description=OVERLAP)

    @model_validator(mode="after")
    def _fewer_active(self) -> Self:
        if self.active > self.experts:
            raise FieldError(
                f"{self.active} of {self.experts} experts can't be active", key="active"
            )
        check_overlap(self.experts, self.active, self.expert_overlap)
        return self

    def hit(self, tokens: Floats, requests: float = 0.0) -> Floats:
        """Expected number of experts that a pass over ``tokens`` ``[n]`` reads, ``[n]``."""
        return experts_hit(self.experts, self.active, tokens, requests, self.expert_overlap)

    def step(self, batch: float, depth: Floats) -> Floats:
        """Time of a step at each depth, ``[n]`` ms."""
        tokens = batch * (depth + 1)
        fixed = self.overhead + self.base + self._reading(batch, depth)
        return fixed + self.per_expert * self.hit(tokens, batch) + self.per_token * tokens

    def pass_costs(self, draft: Floats, tokens: Floats) -> StepCosts:
        """Costs of passes over ``tokens`` ``[T + 1]``, from the formula."""
        costs = self._costs(draft, self.base + self.per_token * tokens)
        return add_experts(costs, self.per_expert, self.experts, self.active, self.expert_overlap)

    def formula(self) -> str:
        """The time of a step as text."""
        shared = overlap_text(self.expert_overlap)
        return (
            f"{self.overhead + self.base:g} + {self.per_expert:g} x experts hit (of "
            f"{self.experts}, {self.active} per token{shared}) + {self.per_token:g} B (k + 1) ms"
        )


class Table(CostModel):
    """Step times measured by batch size and depth, interpolated linearly between batch sizes."""

    model: Literal["table"]
    batches: list[Annotated[float, Field(ge=1, le=1e6)]] = Field(
        min_length=1, description="measured batch sizes, ascending"
    )
    verify: list[TableRow] = Field(
        description="one row per batch size: ms at depth 0 (the plain step), 1, 2, ... K"
    )
    draft: Times = Field(0.0, description="drafting, ms by depth; 0 if `verify` includes it")

    @model_validator(mode="after")
    def _rows_fit(self) -> Self:
        if any(a >= b for a, b in zip(self.batches, self.batches[1:], strict=False)):
            raise FieldError("`batches` must ascend without repetition", key="batches")
        if len(self.verify) != len(self.batches):
            raise FieldError(
                f"{len(self.verify)} rows for {len(self.batches)} batches; "
                "one row per batch is needed",
                key="verify",
            )
        if len({len(row) for row in self.verify}) > 1:
            raise FieldError("rows have different lengths; each needs depths 0 to K", key="verify")
        if any(time <= 0 for row in self.verify for time in row):
            raise FieldError("0 ms is given; it must be positive", key="verify")
        if not self.batches[0] <= self.batch <= self.batches[-1]:
            raise FieldError(
                f"{self.batch:g} is outside the measured range, {self.batches[0]:g} to "
                f"{self.batches[-1]:g}",
                key="batch",
            )
        return self

    def step(self, batch: float, depth: Floats) -> Floats:
        """Time of a step at each depth, ``[n]`` ms."""
        rows = np.array(self.verify)
        measured = np.array([np.interp(batch, self.batches, row) for row in rows.T])
        last = len(measured) - 1
        before, after = measured[1] - measured[0], measured[last] - measured[last - 1]
        beyond = np.minimum(depth, 0) * before + np.maximum(depth - last, 0) * after
        return np.asarray(np.interp(depth, np.arange(last + 1), measured) + beyond)

    def wrong_lengths(self, depth: int, drafted: Floats | None = None) -> dict[str, str]:
        """Lists of times whose length does not fit the depth."""
        wrong = super().wrong_lengths(depth, drafted)
        if drafted is not None:  # rows by tokens, interpolated and continued as lines
            return wrong
        if len(self.verify[0]) != depth + 1:
            wrong["verify"] = (
                f"rows of {counted(len(self.verify[0]), 'time')} are given, but the acceptance "
                f"model has depth {depth}: give {depth + 1}, for depths 0 to {depth}"
            )
        return wrong

    def formula(self) -> str:
        """The time of a step as text."""
        return f"measured at batches {', '.join(f'{b:g}' for b in self.batches)}"

    def describe(self) -> list[str]:
        """The section as text, one line per part."""
        row = self.step(self.batch, np.arange(len(self.verify[0]), dtype=float))
        return [
            f"batch of {self.batch:g}",
            f"step: {self.formula()}",
            f"depths 0 to {len(row) - 1}: {_listed(row)} ms",
            *self.describe_noise(),
        ]
