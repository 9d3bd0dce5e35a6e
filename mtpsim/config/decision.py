"""The ``[decision]`` section: thresholds of the advice and of the verdicts on steps."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from mtpsim.common.errors import FieldError
from mtpsim.common.section import Spec
from mtpsim.formula.closed_form import ESSENTIAL, NEGLIGIBLE


class Decision(Spec):
    """The ``[decision]`` section: how a depth is selected and a step of depth is judged."""

    indifference: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.01, description="relative difference in speedup below which depths count as equal"
    )
    essential: Annotated[float, Field(gt=0, le=100)] = Field(
        ESSENTIAL, description="relative gain from which a step of depth is `essential`"
    )
    negligible: Annotated[float, Field(ge=0, lt=1)] = Field(
        NEGLIGIBLE, description="relative gain or loss up to which a step of depth is `negligible`"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.negligible >= self.essential:
            raise FieldError(
                f"{self.negligible:g} is given; it must be below `essential`, {self.essential:g}",
                key="negligible",
            )
        return self
