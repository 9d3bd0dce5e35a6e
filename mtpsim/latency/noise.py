"""Noise of a time, as an experiment file states it: a named distribution, or measured samples.

Each noise compiles to a quantile table of mean 1, a factor on the mean time.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from mtpsim.common.errors import FieldError
from mtpsim.common.section import Imported, Named, Spec
from mtpsim.latency.quantile_table import Distribution, QuantileTable
from mtpsim.latency.times import Times


class NoiseSpec(Spec):
    """Noise of a time: a distribution, scaled to mean 1.

    As a component of the latency (``target``, ``verify``, ``draft``) it also has the mean time.
    """

    mean: Times | None = Field(None, description="mean time in ms, if this is a component")

    @abstractmethod
    def table(self) -> QuantileTable:
        """Compile to a quantile table of mean 1.

        Raises:
            ValueError: The distribution can't be tabulated.
        """

    @abstractmethod
    def describe(self) -> str:
        """Distribution and parameters as text, such as ``gamma, cv 0.1``."""

    def _distribution(self) -> Distribution | None:
        return None  # constant or sampled

    def natural_mean(self) -> float | None:
        """Mean in ms, if the noise has one without ``mean``; else None."""
        return None

    def warnings(self) -> list[str]:
        """Warnings for a reader of the results."""
        return []


EXAMPLE = '{ distribution = "lognormal", cv = 0.1 }'
KINDS = ["constant", "lognormal", "gamma", "exponential", "pareto", "spike", "scipy"]
_PLACES = {name: f"noise_kinds.{name.capitalize()}Noise" for name in KINDS}
_PLACES["samples"] = "noise_kinds.SampledNoise"


def _kind(value: Any) -> str:
    given = value if isinstance(value, dict) else vars(value)
    return "samples" if "samples" in given else str(given.get("distribution"))


def _known_kind(value: Any) -> Any:
    """Refuse an unknown distribution with one message, before any kind is validated."""
    if isinstance(value, NoiseSpec):
        return value
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is given; noise is a table such as {EXAMPLE}")
    if "samples" in value and "distribution" in value:
        raise FieldError("give either `distribution` or `samples`")
    kind = value.get("distribution")
    if "samples" in value or kind in KINDS:
        return value
    if kind is None:
        message = "is missing (give it or `samples`)"
        raise FieldError(message, key="distribution", allowed=KINDS, kind="missing")
    message = f"unknown distribution {kind!r}"
    raise FieldError(message, key="distribution", given=kind, allowed=KINDS)


def _not_mixed(value: Any) -> Any:
    if _kind(value) in ("spike", "samples"):
        raise ValueError("`base` must be a named distribution other than spike")
    return value


class _NamedNoise(Named):
    """A table with ``samples`` is that of a file; any other has its ``distribution``."""

    by_key = False

    def __init__(self, places: Mapping[str, str]) -> None:
        super().__init__(Imported("mtpsim.latency", places), key="distribution")

    def _name(self, value: Any) -> str:
        return _kind(value)


Noise = Annotated[NoiseSpec, _NamedNoise(_PLACES), BeforeValidator(_known_kind)]
Base = Annotated[
    NoiseSpec,
    _NamedNoise({k: v for k, v in _PLACES.items() if k not in ("spike", "samples")}),
    BeforeValidator(_not_mixed),
    BeforeValidator(_known_kind),
]
