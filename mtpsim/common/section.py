"""What every section of an experiment file is made of: strict, frozen, nothing unknown."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mtpsim.common.errors import nearest


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


def named(names: list[str], default: str | None = None, key: str = "model") -> BeforeValidator:
    """Refuse a table whose ``key`` is none of ``names``, with the nearest one.

    Args:
        names: allowed.
        default: what a table without the key stands for; None where it must be given.
        key: of the table.

    """

    def check(value: Any) -> Any:
        name = value.get(key, default) if isinstance(value, dict) else None
        if not isinstance(value, dict) or (isinstance(name, str) and name in names):
            return value
        given = f"`{key}` is {name!r}" if name is not None else f"`{key}` is missing"
        hint = nearest(str(name), names)
        raise ValueError(f"{given}; it must be one of {', '.join(names)}{hint}")

    return BeforeValidator(check)
