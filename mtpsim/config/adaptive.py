"""The ``[adaptive]`` section: policies to be compared, and what the engine makes them pay."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mtpsim.common.section import NonNegative, Probability, Spec
from mtpsim.policy import Policy


class Adaptive(Spec):
    """Policies that choose the depth of each round, on the same text as the fixed depths."""

    policies: Annotated[list[Policy], Field(min_length=1, max_length=40)] = Field(
        description="names of rules, or tables with `rule` and its parameters"
    )
    switch_cost: NonNegative = Field(0.0, description="ms of each round at another depth")
    catch_up: NonNegative = Field(
        0.0, description="ms of the first round that drafts after depth 0: its cache has gaps"
    )
    stale: Probability = Field(
        0.0, description="chance that the first draft after depth 0 is rejected for that alone"
    )
    feedback: Literal["drafted", "full"] = Field(
        "drafted", description="what a round shows: its own drafts, or those of the greatest depth"
    )
    auc: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        0.8,
        description="quality of the draft's confidence: the chance that an accepted draft was "
        "given a higher one than a rejected draft",
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Adaptive:
        for policy in self.policies:
            if policy.label == "oracle" and policy.kind() != "oracle":
                raise ValueError("`policies`: the name 'oracle' belongs to the bound; give another")
        for label, count in Counter(policy.label for policy in self.policies).items():
            if count > 1:
                raise ValueError(
                    f"`policies`: {count} of them are called {label!r}; give each a `name`"
                )
        return self
