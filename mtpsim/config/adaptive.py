"""The ``[adaptive]`` section: policies to compare, and what a change of depth costs."""

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mtpsim.common.errors import FieldError
from mtpsim.config.depth_changes import DepthChanges
from mtpsim.policy import Policy
from mtpsim.policy.confidence import AUC, Auc, Confidence


class Adaptive(DepthChanges):
    """Policies that choose the depth of each round, on the same text as the fixed depths."""

    exclusive = (("auc", "confidence"),)
    policies: Annotated[list[Policy], Field(min_length=1, max_length=40)] = Field(
        description="names of rules, or tables with `rule` and its parameters"
    )
    feedback: Literal["drafted", "full"] = Field(
        "drafted",
        description="what a policy learns from a round: the outcome of its own drafts, or of "
        "drafts at the greatest depth",
    )
    auc: Auc | None = Field(
        None,
        description="quality of the draft's confidence (area under the ROC curve): probability "
        "that an accepted draft has a higher confidence than a rejected one (default: "
        f"{AUC:g}; for recorded requests the confidences of the log)",
    )
    confidence: Confidence | None = Field(
        None, description="law of the draft's confidence by outcome, instead of `auc`"
    )

    @property
    def states_confidence(self) -> bool:
        """Whether it says how confidences are drawn, in place of recorded ones."""
        return self.auc is not None or self.confidence is not None

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        for policy in self.policies:
            if policy.label == "oracle" and policy.rule_name() != "oracle":
                raise FieldError("the name 'oracle' is reserved for its rule", key="policies")
        for label, count in Counter(policy.label for policy in self.policies).items():
            if count > 1:
                raise FieldError(
                    f"{count} policies have the label {label!r}; give each a `name`", key="policies"
                )
        return self
