"""``[decision]``: what a decision between depths has to mind."""

from typing import Annotated

from pydantic import Field

from mtpsim.common.section import Spec


class Decision(Spec):
    """How a depth is chosen."""

    indifference: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.01, description="depths within this share of the best are all the same to you"
    )
