"""Noise of a time, as a file states it: a name with its parameters, or measured samples.

Each compiles to a quantile table of mean 1; a component multiplies it by its mean time.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    ValidationInfo,
    model_validator,
)

from mtpsim.common.errors import FieldError, nearest
from mtpsim.common.section import NonNegative, Positive, Spec
from mtpsim.latency.distributions import (
    Law,
    exponential,
    gamma,
    lie_apart,
    lognormal,
    pareto,
    spike,
)
from mtpsim.latency.quantile_table import (
    CONSTANT,
    QuantileTable,
    samples_table,
    stepped_table,
    table_of,
)
from mtpsim.latency.samples import read_samples
from mtpsim.latency.times import Times


class NoiseSpec(Spec):
    """What every kind of noise offers; a component of the latency also gives its ``mean``."""

    mean: Times | None = Field(None, description="mean time in ms, where this is a component")

    @abstractmethod
    def table(self) -> QuantileTable:
        """The quantile table, of mean 1."""

    @abstractmethod
    def describe(self) -> str:
        """A few words for a person."""

    def law(self) -> Law | None:
        """The law of mean 1; None where it is constant."""
        return None

    def natural_mean(self) -> float | None:
        """Mean in ms where the spec has one of its own."""
        return None

    def warnings(self) -> list[str]:
        """What a reader of the results should know."""
        return []


class _Lawful(NoiseSpec):
    def table(self) -> QuantileTable:
        return _tabulated(type(self), self.model_dump_json())


@lru_cache(maxsize=16)
def _tabulated(kind: type[_Lawful], keys: str) -> QuantileTable:
    """One table of a megabyte for all points of a sweep that have the same noise."""
    law = kind.model_validate_json(keys).law()
    return CONSTANT if law is None else table_of(law, law.mean, law.sd)


class ConstantNoise(NoiseSpec):
    """No noise."""

    distribution: Literal["constant"]

    def table(self) -> QuantileTable:
        """Always 1."""
        return CONSTANT

    def describe(self) -> str:
        """``constant``."""
        return "constant"


class LognormalNoise(_Lawful):
    """Lognormal."""

    distribution: Literal["lognormal"]
    cv: NonNegative = Field(description="standard deviation over mean")

    def law(self) -> Law | None:
        """Lognormal law of mean 1."""
        return lognormal(self.cv) if self.cv else None

    def describe(self) -> str:
        """Name and cv."""
        return f"lognormal, cv {self.cv:g}"


class GammaNoise(_Lawful):
    """Gamma."""

    distribution: Literal["gamma"]
    cv: NonNegative = Field(description="standard deviation over mean")

    def law(self) -> Law | None:
        """Gamma law of mean 1."""
        return gamma(self.cv) if self.cv else None

    def describe(self) -> str:
        """Name and cv."""
        return f"gamma, cv {self.cv:g}"


class ExponentialNoise(_Lawful):
    """A fixed part and an exponential rest."""

    distribution: Literal["exponential"]
    offset: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="share of the mean that is fixed; cv = 1 - offset"
    )
    cv: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="standard deviation over mean, at most 1"
    )

    @model_validator(mode="after")
    def _one(self) -> ExponentialNoise:
        if self.offset is not None and self.cv is not None:
            raise ValueError("give `offset` or `cv` (= 1 - offset), and not both")
        return self

    def _fixed(self) -> float:
        return self.offset if self.offset is not None else 1 - (1 if self.cv is None else self.cv)

    def law(self) -> Law | None:
        """Shifted exponential law of mean 1."""
        return exponential(self._fixed()) if self._fixed() < 1 else None

    def describe(self) -> str:
        """Name and offset."""
        return f"exponential, {self._fixed():g} of the mean fixed"


class ParetoNoise(_Lawful):
    """Pareto: heavy-tailed."""

    distribution: Literal["pareto"]
    alpha: Positive | None = Field(None, description="tail index; over 1, over 2 for a variance")
    cv: Positive | None = Field(None, description="standard deviation over mean")

    @model_validator(mode="after")
    def _finite_mean(self) -> ParetoNoise:
        if (self.alpha is None) == (self.cv is None):
            raise ValueError("give either `alpha` (the tail index) or `cv`, and not both")
        if self._index() <= 1:
            raise FieldError(
                f"`alpha` is {self._index():g}: at 1 and below the mean is infinite, so there is "
                "no long-run speedup to estimate; it must be above 1",
                key="alpha",
            )
        return self

    def _index(self) -> float:
        if self.alpha is not None:
            return self.alpha
        return 1 + float(np.sqrt(1 + (self.cv or 1.0) ** -2))

    def law(self) -> Law:
        """Pareto law of mean 1."""
        return pareto(self._index())

    def describe(self) -> str:
        """Name and index."""
        return f"Pareto, tail index {self._index():g}"

    def warnings(self) -> list[str]:
        """Infinite variance."""
        return _infinite_variance(self.describe()) if self._index() <= 2 else []


class SpikeNoise(_Lawful):
    """Now and then a slow one: a mixture."""

    distribution: Literal["spike"]
    probability: Annotated[float, Field(gt=0, lt=1)] = Field(description="of a slow one")
    factor: Annotated[float, Field(gt=1)] = Field(description="how much slower it is")
    base: Noise | None = Field(None, description="noise of the others, times `factor` of the slow")

    def law(self) -> Law:
        """Law of the mixture, of mean 1."""
        base = self.base.law() if self.base else None
        return spike(base or lognormal(0.0), self.probability, self.factor)

    def table(self) -> QuantileTable:
        """The table; of single values where fast and slow lie apart."""
        base = self.base.law() if self.base else None
        if base is None or lie_apart(base, self.factor):
            sd = base.sd if base else 0.0
            return stepped_table(base, sd, self.probability, self.factor)
        return super().table()

    @model_validator(mode="after")
    def _base_has_a_law(self) -> SpikeNoise:
        if isinstance(self.base, SampledNoise | SpikeNoise):
            raise FieldError("`base` must be a named distribution other than spike", key="base")
        return self

    def describe(self) -> str:
        """Probability, factor and base."""
        base = f" of {self.base.describe()}" if self.base else ""
        return f"{self.factor:g} times slower with probability {self.probability:g}{base}"

    def warnings(self) -> list[str]:
        """Those of the base."""
        return self.base.warnings() if self.base else []


class ScipyNoise(_Lawful):
    """Any continuous law of scipy.stats that can't be negative."""

    distribution: Literal["scipy"]
    name: str = Field(description="of a continuous distribution of scipy.stats")
    parameters: dict[str, float] = Field(
        default_factory=dict, description="its shapes, `loc` and `scale` (ms)"
    )

    def _frozen(self) -> Any:
        from scipy import stats

        known = [n for n in dir(stats) if isinstance(getattr(stats, n), stats.rv_continuous)]
        if self.name not in known:
            hint = nearest(self.name, known)
            raise FieldError(f"scipy.stats has no continuous law {self.name!r}{hint}", key="name")
        family = getattr(stats, self.name)
        shapes = [s.strip() for s in (family.shapes or "").split(",") if s.strip()]
        allowed = [*shapes, "loc", "scale"]
        for key in self.parameters:
            if key not in allowed:
                raise FieldError(
                    f"{self.name} has {', '.join(allowed)}, not {key}", key="parameters"
                )
        missing = [s for s in shapes if s not in self.parameters]
        if missing:
            raise FieldError(f"{self.name} also needs {', '.join(missing)}", key="parameters")
        return family(**self.parameters)

    @model_validator(mode="after")
    def _possible_time(self) -> ScipyNoise:
        with np.errstate(all="ignore"):
            frozen = self._frozen()
            least, mean = float(frozen.ppf(0.0)), float(frozen.mean())
        if np.isnan(least):
            raise FieldError(
                f"{self.parameters} are outside what {self.name} takes", key="parameters"
            )
        if least < 0:
            raise ValueError(f"{self.name} reaches down to {least:g}: a time can't be negative")
        if not np.isfinite(mean):
            raise ValueError(
                f"the mean of {self.name} is infinite or undefined, so there is no long-run "
                "speedup to estimate"
            )
        return self

    def law(self) -> Law:
        """The law in its own unit."""
        frozen = self._frozen()
        with np.errstate(all="ignore"):
            sd = float(frozen.std())
        sd = sd if np.isfinite(sd) else np.inf
        return Law(frozen.ppf, frozen.isf, float(frozen.mean()), sd)

    def natural_mean(self) -> float:
        """The law's own mean."""
        return float(self.law().mean)

    def describe(self) -> str:
        """Name and parameters."""
        values = ", ".join(f"{key} {value:g}" for key, value in self.parameters.items())
        return f"scipy.stats.{self.name}" + (f" ({values})" if values else "")

    def warnings(self) -> list[str]:
        """Infinite variance."""
        return _infinite_variance(self.describe()) if np.isinf(self.law().sd) else []


class SampledNoise(NoiseSpec):
    """Measured values, resampled as they are."""

    samples: str = Field(description="file: one number a line, or CSV")
    column: str | None = Field(None, description="name of the CSV column")
    _path: Path = PrivateAttr()

    @model_validator(mode="after")
    def _readable(self, info: ValidationInfo) -> SampledNoise:
        folder = (info.context or {}).get("folder", Path())
        self._path = Path(folder, self.samples)
        self.values()
        return self

    @property
    def path(self) -> Path:
        """The file, found from the experiment's folder."""
        return self._path

    def values(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The measured values ``[n]``."""
        return read_samples(self._path, self.column)

    def table(self) -> QuantileTable:
        """The sorted samples, scaled to mean 1."""
        return samples_table(self.values())

    def natural_mean(self) -> float:
        """Mean of the samples."""
        return float(self.values().mean())

    def describe(self) -> str:
        """Number and file."""
        return f"{self.values().size} samples of {self.samples}"


def _infinite_variance(what: str) -> list[str]:
    return [
        f"the variance of the noise ({what}) is infinite: means converge slowly, and intervals "
        "are unreliable (they cover the truth less often than they say)"
    ]


KINDS = ["constant", "lognormal", "gamma", "exponential", "pareto", "spike", "scipy"]


def _kind(value: Any) -> str:
    given = value if isinstance(value, dict) else vars(value)
    return "samples" if "samples" in given else str(given.get("distribution"))


def _known_kind(value: Any) -> Any:
    """Refuse an unknown distribution in one sentence, before any kind is tried."""
    if isinstance(value, NoiseSpec):
        return value
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is given; noise is a table such as {EXAMPLE}")
    if "samples" in value and "distribution" in value:
        raise ValueError("give either `distribution` or `samples`, and not both")
    kind = value.get("distribution")
    if "samples" in value or kind in KINDS:
        return value
    if kind is None:
        message = "is missing (give it or `samples`)"
        raise FieldError(message, key="distribution", allowed=KINDS, kind="missing")
    message = f"unknown distribution {kind!r}"
    raise FieldError(message, key="distribution", given=kind, allowed=KINDS)


EXAMPLE = '{ distribution = "lognormal", cv = 0.1 }'
Noise = Annotated[
    Annotated[ConstantNoise, Tag("constant")]
    | Annotated[LognormalNoise, Tag("lognormal")]
    | Annotated[GammaNoise, Tag("gamma")]
    | Annotated[ExponentialNoise, Tag("exponential")]
    | Annotated[ParetoNoise, Tag("pareto")]
    | Annotated[SpikeNoise, Tag("spike")]
    | Annotated[ScipyNoise, Tag("scipy")]
    | Annotated[SampledNoise, Tag("samples")],
    Discriminator(_kind),
    BeforeValidator(_known_kind),
]
