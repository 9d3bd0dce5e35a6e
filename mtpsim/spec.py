"""What every section of an experiment file is made of: strict, frozen, nothing unknown."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Spec(BaseModel):
    """A section of the experiment file; unknown keys, NaN and silent conversions are errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True
    )


Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Slowdown = Annotated[float, Field(ge=1e-3, le=1e3)]
NonNegative = Annotated[float, Field(ge=0)]
Depth = Annotated[int, Field(ge=1, le=64)]
