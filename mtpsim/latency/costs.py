"""Cost models: what a step costs, given how many requests decode together and how deep they draft.

A verify at depth k is one pass of the target over ``batch x (k + 1)`` tokens; a plain step is the
same at depth 0. So one line or curve gives all times, and a sweep over ``latency.batch`` shows from
which load on drafting does not pay.
"""

from abc import abstractmethod
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.latency.base import LatencySpec
from mtpsim.latency.times import Milliseconds, Times, by_depth, describe

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Share = Annotated[float, Field(ge=0, le=1e9)]


class CostModel(LatencySpec):
    """A batch of requests that decode together; a subclass says what a pass costs."""

    batch: Annotated[float, Field(ge=1, le=1e6)] = Field(
        1.0, description="requests that decode together"
    )
    draft: Times = Field(description="drafting by depth, ms")
    draft_per_request: Milliseconds = Field(
        0.0, description="ms a drafted token adds for each request of the batch"
    )

    @abstractmethod
    def step(self, batch: float, depth: Floats) -> Floats:
        """Ms of a step of the target at each depth ``[n]``; depth 0 is a plain step."""

    def times(self, depth: int) -> tuple[Floats, Floats]:
        """Mean ms of verify and draft, each ``[depth + 1]``."""
        depths = np.arange(depth + 1.0)
        draft = by_depth(self.draft, depth) + self.draft_per_request * self.batch * depths[1:]
        return self.step(self.batch, depths), np.append(0.0, draft)

    def at_batch(self, batch: float, depth: int) -> tuple[Floats, Floats]:
        """:meth:`times` at another batch."""
        return self.model_copy(update={"batch": batch}).times(depth)

    def wrong_lengths(self, depth: int) -> dict[str, str]:
        """What is wrong with lists of times, by key."""
        try:
            by_depth(self.draft, depth)
        except ValueError as error:
            return {"draft": str(error)}
        return {}

    @abstractmethod
    def formula(self) -> str:
        """What a step costs, in words."""

    def describe(self) -> list[str]:
        """A line for each part."""
        verify, draft = self.times(3 if not isinstance(self.draft, list) else len(self.draft))
        drafting = describe(self.draft)
        if self.draft_per_request:
            drafting += f" + {self.draft_per_request:g} ms a draft and request"
        return [
            f"batch of {self.batch:g}",
            f"step: {self.formula()}",
            f"draft: {drafting}",
            f"plain step {verify[0]:.4g} ms; rounds {_listed(verify[1:] + draft[1:])} ms",
            *self.describe_noise(),
        ]


def _listed(values: Floats) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


class _Passes(CostModel):
    """Cost models with parameters, which have these in common."""

    overhead: Milliseconds = Field(0.0, description="ms a step that no size changes (host, launch)")
    per_token: Milliseconds = Field(description="ms a token of the pass")
    cached: Share = Field(0.0, description="cached tokens a request, its context")
    per_cached: Milliseconds = Field(0.0, description="ms a cached token of the batch")

    @model_validator(mode="after")
    def _takes_time(self) -> "_Passes":
        if not self.step(1.0, np.zeros(1))[0] > 0:
            raise ValueError("a plain step takes 0 ms; some part of it must be above 0")
        return self

    def _reading(self, batch: float) -> float:
        """Ms to read the cached tokens of the batch."""
        return self.per_cached * self.cached * batch


class Linear(_Passes):
    """A line: ``overhead + base + per_token B (k + 1) + per_cached B cached``.

    Well within the memory-bound range of a dense model, as fits of serving engines show (linear
    cost of a pass in its tokens and cached tokens: Liu et al. 2024, SmartSpec, eq. 5).
    """

    model: Literal["linear"]
    base: Milliseconds = Field(0.0, description="ms of a pass that reads the weights")

    def step(self, batch: float, depth: Floats) -> Floats:
        """Ms of a step at each depth ``[n]``."""
        fixed = self.overhead + self.base + self._reading(batch)
        return fixed + self.per_token * batch * (depth + 1)

    def formula(self) -> str:
        """What a step costs, in words."""
        text = f"{self.overhead + self.base:g} + {self.per_token:g} B (k + 1) ms"
        return text + f" + {self.per_cached:g} ms x {self.cached:g} cached x B" * bool(self.cached)


class Roofline(_Passes):
    """The roofline: a pass is bound by memory or by compute, whichever takes longer.

    ``overhead + max(floor + per_cached B cached, per_token B (k + 1))``: drafts are free until the
    ridge (Williams, Waterman, Patterson 2009).
    """

    model: Literal["roofline"]
    floor: Milliseconds = Field(description="ms to read the weights: a pass takes no less")

    def step(self, batch: float, depth: Floats) -> Floats:
        """Ms of a step at each depth ``[n]``."""
        memory = self.floor + self._reading(batch)
        return self.overhead + np.maximum(memory, self.per_token * batch * (depth + 1))

    def formula(self) -> str:
        """What a step costs, in words."""
        ridge = f"; ridge at {self.floor / self.per_token:.4g} tokens" if self.per_token else ""
        return f"{self.overhead:g} + max({self.floor:g}, {self.per_token:g} B (k + 1)) ms" + ridge


class Moe(_Passes):
    """A mixture of experts: a pass reads those experts that any of its tokens needs.

    n tokens that choose ``active`` of ``experts`` evenly and independently need
    ``experts (1 - (1 - active / experts)^n)`` of them in expectation, each ``per_expert`` ms to
    read. So drafts cost most at middling batches (Huang et al. 2025, MoESD).
    """

    model: Literal["moe"]
    base: Milliseconds = Field(0.0, description="ms to read what every token needs")
    per_expert: Milliseconds = Field(description="ms to read one expert, over all layers")
    experts: Count = Field(description="routed experts of a layer")
    active: Count = Field(description="routed experts that a token uses")

    @model_validator(mode="after")
    def _fewer_active(self) -> "Moe":
        if self.active > self.experts:
            raise FieldError(
                f"{self.active} of {self.experts} experts can't be active", key="active"
            )
        return self

    def hit(self, tokens: Floats) -> Floats:
        """Expected number of experts that ``tokens`` need."""
        missed = (1 - self.active / self.experts) ** tokens
        return np.asarray(self.experts * (1 - missed))

    def step(self, batch: float, depth: Floats) -> Floats:
        """Ms of a step at each depth ``[n]``."""
        tokens = batch * (depth + 1)
        fixed = self.overhead + self.base + self._reading(batch)
        return fixed + self.per_expert * self.hit(tokens) + self.per_token * tokens

    def formula(self) -> str:
        """What a step costs, in words."""
        return (
            f"{self.overhead + self.base:g} + {self.per_expert:g} x experts hit (of "
            f"{self.experts}, {self.active} a token) + {self.per_token:g} B (k + 1) ms"
        )
