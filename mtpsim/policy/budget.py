"""One budget of draft tokens per step, shared by the requests of a server: adaptive verification.

Sources: vLLM, ``AdaptiveVerificationManager.get_num_tokens`` in
``vllm/v1/worker/gpu/spec_decode/adaptive_verification.py``, commit 057929c (pull request 47808):
every request is drafted to the greatest depth, all drafts are ranked by survival, the running
product of their confidences, and the budget maximises expected tokens over the time of the step.
DSpark (arXiv 2607.05147): drafts are admitted in this order while the expected tokens per second
rise; the budget comes from confidences of earlier steps. xLLM, pull request 2231: each request
cuts its own drafts.

The kernel is ``mtpsim.kernels.server_budget``.
"""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.policy.base import Environment, PolicySpec

GLOBAL, EARLY, EACH, ORACLE = range(4)  # searches
SEARCH, STALE, KEEP = range(3)  # in p


class SharedBudget(PolicySpec):
    """A rule that decides for each request of a server how many of its drafts are verified."""

    shares_budget = True

    def mismatch(self, depth: int, batch: float | None) -> str | None:
        """Single requests share nothing."""
        return (
            f"the rule {self.rule_name()!r} shares the drafts of a step between the requests of a "
            "server: list it in serving.policies"
        )

    def server_mismatch(self, depth: int) -> str | None:
        """Every depth suits it."""
        return None


class Budget(SharedBudget):
    """Verifies the drafts whose confidence promises the most tokens per ms of the step."""

    reads_confidence = True
    rule: Literal["budget"] = "budget"
    search: Literal["global", "early"] = Field(
        "global",
        description="global: the budget of most expected tokens per ms (vLLM); early: drafts are "
        "admitted until one does not raise the expected tokens per ms (DSpark)",
    )
    stale: Annotated[int, Field(ge=0, le=16)] = Field(
        1,
        description="steps by which the confidences that set the budget are old; with 0 the budget "
        "depends on the drafts that it judges, and an engine would not be lossless",
    )
    per_request: bool = Field(
        False,
        description="no shared budget: each request verifies as many of its own drafts as pay for "
        "the mean time of one more token",
    )
    smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        description="weight of the earlier confidences of a request in their moving average (0: "
        "none; vLLM's first version: 0.8)",
    )

    @model_validator(mode="after")
    def _own_or_shared(self) -> Self:
        shared = {"search", "stale"} & self.model_fields_set
        if self.per_request and shared:
            raise FieldError(
                "a request that decides by itself has no shared budget: give `per_request` or "
                + " and ".join(f"`{key}`" for key in sorted(shared)),
                key="per_request",
            )
        return self

    @property
    def bound(self) -> bool:
        """A budget that depends on the drafts that it judges is not lossless."""
        return not self.per_request and self.stale == 0

    @property
    def unused(self) -> set[str]:
        """Keys that have no effect."""
        return {"search", "stale"} if self.per_request else set()

    def parameters(self, environment: Environment) -> Floats:
        """SEARCH .. KEEP."""
        search = EACH if self.per_request else EARLY if self.search == "early" else GLOBAL
        return np.array([search, 0 if self.per_request else self.stale, self.smoothing], float)


class OracleBudget(SharedBudget):
    """Upper bound of every budget: verifies only drafts that will be accepted."""

    knows = "the outcome of each draft"
    rule: Literal["oracle_budget"] = "oracle_budget"

    def parameters(self, environment: Environment) -> Floats:
        """SEARCH .. KEEP."""
        return np.array([ORACLE, 0, 0], float)
