"""The base class of every section of an experiment file: strict and immutable."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from mtpsim.common.errors import FieldError


class Spec(BaseModel):
    """A section of the experiment file; unknown keys, NaN and type conversions are errors.

    Attributes:
        exclusive (tuple): Groups of keys of which only one can be given.
    """

    exclusive: ClassVar[tuple[tuple[str, ...], ...]] = ()

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True
    )

    @classmethod
    def conflicts(cls, given: Mapping[str, Any]) -> Iterator[FieldError]:
        """An error for each group of :attr:`exclusive` of which several keys are given."""
        for group in cls.exclusive:
            keys = [
                key for key in group if given.get(key) not in (None, []) and given[key] is not False
            ]
            if len(keys) > 1:
                yield FieldError(f"give only one of {', '.join(keys)}", key=keys[0])

    @model_validator(mode="after")
    def _refuse_conflicts(self) -> Self:
        for error in self.conflicts(vars(self)):
            raise error
        return self


Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Slowdown = Annotated[float, Field(ge=1e-3, le=1e3)]
NonNegative = Annotated[float, Field(ge=0)]
Depth = Annotated[int, Field(ge=1, le=64)]


def named(names: list[str], default: str | None = None, key: str = "model") -> BeforeValidator:
    """Build a validator that refuses a table whose ``key`` is not one of ``names``.

    Args:
        names (list[str]): Allowed values of the key.
        default (str | None): Value if the key is absent; None if it is required.
        key (str): Key that selects the class of the table.
    """

    def check(value: Any) -> Any:
        name = value.get(key, default) if isinstance(value, dict) else None
        if not isinstance(value, dict) or (isinstance(name, str) and name in names):
            return value
        if name is None:
            raise FieldError("is missing", key=key, allowed=names, kind="missing")
        raise FieldError(f"unknown {key} {name!r}", key=key, given=name, allowed=names)

    return BeforeValidator(check)
