"""The noise distributions, and measured samples."""

from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError, nearest
from mtpsim.common.section import Positive
from mtpsim.latency.noise import Base, NoiseSpec
from mtpsim.latency.quantile_table import (
    CONSTANT,
    TABULATED,
    Distribution,
    QuantileTable,
    are_separate,
    exponential,
    gamma,
    lognormal,
    pareto,
    samples_table,
    spike,
    stepped_table,
    table_of,
)
from mtpsim.latency.samples import read_samples

CV = "standard deviation over mean"
MOST_SECONDS = 300  # to tabulate a distribution of scipy
SMALL = 1e-9  # a smaller cv is rounding
Cv = Annotated[float, Field(ge=0, le=1e6)]


class _NamedNoise(NoiseSpec):
    """Noise with a named distribution, whose table is cached."""

    text: ClassVar[str]

    def table(self) -> QuantileTable:
        return _table_of_keys(type(self), self.model_dump_json())

    def describe(self) -> str:
        return self.text.format(self=self)

    def _infinite_variance(self) -> bool:
        return False

    def warnings(self) -> list[str]:
        if not self._infinite_variance():
            return []
        return [
            f"the noise ({self.describe()}) has infinite variance: means converge slowly, and "
            "intervals cover the true value less often than stated"
        ]


@lru_cache(maxsize=16)
def _table_of_keys(kind: type[_NamedNoise], keys: str) -> QuantileTable:
    """One table of a megabyte for all points of a sweep that have the same noise."""
    distribution = kind.model_validate_json(keys)._distribution()
    return CONSTANT if distribution is None else table_of(distribution)


class ConstantNoise(_NamedNoise):
    """No noise."""

    distribution: Literal["constant"]
    text = "constant"


class LognormalNoise(_NamedNoise):
    """Lognormal."""

    distribution: Literal["lognormal"]
    cv: Cv = Field(description=CV)
    text = "lognormal, cv {self.cv:g}"

    def _distribution(self) -> Distribution | None:
        return lognormal(self.cv) if self.cv > SMALL else None


class GammaNoise(_NamedNoise):
    """Gamma."""

    distribution: Literal["gamma"]
    cv: Cv = Field(description=CV)
    text = "gamma, cv {self.cv:g}"

    def _distribution(self) -> Distribution | None:
        return gamma(self.cv) if self.cv > SMALL else None


class ExponentialNoise(_NamedNoise):
    """Shifted exponential: a fixed part and an exponential part."""

    distribution: Literal["exponential"]
    offset: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="fixed share of the mean; cv = 1 - offset"
    )
    cv: Annotated[float, Field(ge=0, le=1)] | None = Field(None, description=f"{CV}, at most 1")
    text = "exponential, {self.fixed_share:g} of the mean fixed"

    @model_validator(mode="after")
    def _one(self) -> ExponentialNoise:
        if self.offset is not None and self.cv is not None:
            raise ValueError("give `offset` or `cv` (= 1 - offset), and not both")
        return self

    @property
    def fixed_share(self) -> float:
        """Fixed share of the mean, in [0, 1]."""
        return self.offset if self.offset is not None else 1 - (1 if self.cv is None else self.cv)

    def _distribution(self) -> Distribution | None:
        return exponential(self.fixed_share) if self.fixed_share < 1 else None


class ParetoNoise(_NamedNoise):
    """Pareto: heavy-tailed."""

    distribution: Literal["pareto"]
    alpha: Positive | None = Field(
        None, description="tail index: above 1 (finite mean), above 2 for a finite variance"
    )
    cv: Annotated[float, Field(ge=SMALL, le=1e6)] | None = Field(None, description=CV)
    text = "Pareto, tail index {self.index:g}"

    @model_validator(mode="after")
    def _finite_mean(self) -> ParetoNoise:
        if (self.alpha is None) == (self.cv is None):
            raise ValueError("give either `alpha` (the tail index) or `cv`, and not both")
        if self.index <= 1:
            raise FieldError(
                f"`alpha` is {self.index:g}: at 1 and below the mean is infinite, so there is "
                "no long-run speedup to estimate; it must be above 1",
                key="alpha",
            )
        return self

    @property
    def index(self) -> float:
        """Tail index."""
        if self.alpha is not None:
            return self.alpha
        return 1 + float(np.sqrt(1 + (self.cv or 1.0) ** -2))

    def _distribution(self) -> Distribution:
        return pareto(self.index)

    def _infinite_variance(self) -> bool:
        return self.index <= 2


class SpikeNoise(_NamedNoise):
    """Occasional slow rounds: a mixture of a distribution and a multiple of it."""

    distribution: Literal["spike"]
    probability: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="probability of a slow round"
    )
    factor: Annotated[float, Field(gt=1, le=1e6)] = Field(
        description="ratio of the time of a slow round to that of a fast round"
    )
    base: Base | None = Field(None, description="noise of fast rounds; slow: `factor` times it")

    def _distribution(self) -> Distribution:
        base = self.base._distribution() if self.base else None
        return spike(base or lognormal(0.0), self.probability, self.factor)

    def table(self) -> QuantileTable:
        """Compile to a quantile table; of single values if fast and slow rounds are separate."""
        base = self.base._distribution() if self.base else None
        if are_separate(base, self.factor):
            return stepped_table(base, self.probability, self.factor)
        return super().table()

    def describe(self) -> str:
        """Probability, factor and base as text."""
        base = f" of {self.base.describe()}" if self.base else ""
        return f"{self.factor:g} times slower with probability {self.probability:g}{base}"

    def warnings(self) -> list[str]:
        """Warnings of the base."""
        return self.base.warnings() if self.base else []


class ScipyNoise(_NamedNoise):
    """Any continuous distribution of scipy.stats without negative values."""

    distribution: Literal["scipy"]
    name: str = Field(description="continuous distribution of scipy.stats")
    parameters: dict[str, float] = Field(
        default_factory=dict, description="its shape parameters, `loc` and `scale` (ms)"
    )

    def _frozen(self) -> Any:
        from scipy import stats

        known = [n for n in dir(stats) if isinstance(getattr(stats, n), stats.rv_continuous)]
        if self.name not in known:
            hint = nearest(self.name, known)
            raise FieldError(
                f"scipy.stats has no continuous distribution {self.name!r}{hint}", key="name"
            )
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
            seconds = _seconds_to_tabulate(self.name, tuple(sorted(self.parameters.items())))
        if np.isnan(least):
            raise FieldError(f"{self.parameters} are not valid for {self.name}", key="parameters")
        if least < 0:
            raise ValueError(f"{self.name} has values down to {least:g}: a time can't be negative")
        if not np.isfinite(mean):
            raise ValueError(
                f"the mean of {self.name} is infinite or undefined, so there is no long-run "
                "speedup to estimate"
            )
        if seconds > MOST_SECONDS:
            raise FieldError(
                f"the quantiles of {self.name} would take about {seconds:,.0f} s to tabulate; at "
                f"most {MOST_SECONDS} s are allowed: give `samples`, a file of its values, instead",
                key="name",
            )
        return self

    def _distribution(self) -> Distribution:
        frozen = self._frozen()
        with np.errstate(all="ignore"):
            sd = float(frozen.std())
        sd = sd if np.isfinite(sd) else np.inf
        return Distribution(frozen.ppf, frozen.isf, float(frozen.mean()), sd)

    def _infinite_variance(self) -> bool:
        return bool(np.isinf(self._distribution().sd))

    def natural_mean(self) -> float:
        """Mean in ms."""
        return float(self._distribution().mean)

    def describe(self) -> str:
        """Name and parameters as text."""
        values = ", ".join(f"{key} {value:g}" for key, value in self.parameters.items())
        return f"scipy.stats.{self.name}" + (f" ({values})" if values else "")


@lru_cache(maxsize=16)
def _seconds_to_tabulate(name: str, parameters: tuple[tuple[str, float], ...]) -> float:
    """Time of a table; scipy inverts some distributions, or integrates them, point by point."""
    from scipy import stats

    ppf = getattr(stats, name)(**dict(parameters)).ppf
    ppf(0.5)  # the first call may import
    start = time.perf_counter()
    ppf(np.linspace(0.1, 0.9, 8))
    return (time.perf_counter() - start) / 8 * TABULATED


class SampledNoise(NoiseSpec):
    """Measured values, resampled exactly."""

    samples: str = Field(description="file: one number per line, or CSV")
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
        """The file, relative to the folder of the experiment file."""
        return self._path

    def values(self) -> Floats:
        """The measured values ``[n]``, in ms."""
        return read_samples(self._path, self.column)

    def table(self) -> QuantileTable:
        """The sorted samples, scaled to mean 1."""
        return samples_table(self.values())

    def natural_mean(self) -> float:
        """Mean of the samples in ms."""
        return float(self.values().mean())

    def describe(self) -> str:
        """Number of samples and file as text."""
        return f"{self.values().size} samples of {self.samples}"
