"""The ``[latency]`` section: how long a plain step, a verify and a draft take, and their noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from mtpsim.latency.noise import Noise, NoiseSpec
from mtpsim.latency.table import CONSTANT, QuantileTable
from mtpsim.latency.times import Slope, Times, by_depth, describe
from mtpsim.spec import Spec

Floats = npt.NDArray[np.float64]
COMPONENTS = ("target", "verify", "draft")


def _form(value: Any) -> str:
    noisy = isinstance(value, NoiseSpec) or (
        isinstance(value, dict) and not {"per_token"} & value.keys()
    )
    return "noise" if noisy else "times"


Component = Annotated[
    Annotated[Times, Tag("times")] | Annotated[Noise, Tag("noise")], Discriminator(_form)
]


def mean_of(component: Component) -> Times | None:
    """The mean times of a component; None where noise has no mean at all."""
    if isinstance(component, NoiseSpec):
        return component.mean if component.mean is not None else component.natural_mean()
    return component


def _describe(component: Component) -> str:
    times = describe(mean_of(component) or 0.0)
    return f"{times}; {component.describe()}" if isinstance(component, NoiseSpec) else times


@dataclass(frozen=True)
class CompiledLatency:
    """Mean times by depth and noise tables of mean 1.

    Attributes:
        verify: ``[K + 1]`` ms; entry 0 is a plain decoding step of the target.
        draft: ``[K + 1]`` ms; entry 0 is 0.
        shared: one factor multiplies all of a round; the three tables are then the same.
        target_noise: of the plain step; it reads the same words as the verify.
        verify_noise: of the verify.
        draft_noise: of the draft.
        correlation: of verify and draft within a round, between their normal scores.
        persistence: of each from round to round: AR(1) of its normal scores.

    """

    verify: Floats
    draft: Floats
    shared: bool
    target_noise: QuantileTable
    verify_noise: QuantileTable
    draft_noise: QuantileTable
    correlation: float = 0.0
    persistence: float = 0.0

    @property
    def target(self) -> float:
        """Mean time in ms of a plain step."""
        return float(self.verify[0])

    @property
    def round_time(self) -> Floats:
        """``[K + 1]`` mean time of a round in ms."""
        return self.verify + self.draft

    def sample_round_times(self, depth: int, count: int, seed: int) -> Floats:
        """``[count]`` round times in ms at ``depth``: single rounds, for pictures."""
        from scipy.special import ndtr

        scores = np.random.default_rng(seed).standard_normal((2, count))
        rest = np.sqrt(1 - self.correlation**2)
        scores[1] = self.correlation * scores[0] + rest * scores[1]
        u = ndtr(scores)
        if depth == 0:
            return self.target * self.target_noise.quantile(u[0])
        check = self.verify_noise.quantile(u[0])
        propose = check if self.shared else self.draft_noise.quantile(u[1])
        return np.asarray(self.verify[depth] * check + self.draft[depth] * propose)


class Latency(Spec):
    """Times in milliseconds."""

    target: Component = Field(description="a plain decoding step of the target model")
    verify: Component = Field(description="the target's pass over the drafts, by depth")
    draft: Component = Field(description="drafting, by depth")
    noise: Noise | None = Field(None, description="one factor on all of a round's time")
    correlation: Annotated[float, Field(ge=-1, le=1)] = Field(
        0.0, description="of verify and draft noise within a round (Gaussian copula)"
    )
    persistence: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="of the noise from round to round (AR(1) of normal scores)"
    )

    @field_validator("target", "verify", "draft")
    @classmethod
    def _time_known(cls, value: Component, info: ValidationInfo) -> Component:
        times = mean_of(value)
        if times is None:
            raise ValueError("`mean` is missing: the mean time in ms (a number, a list by depth)")
        if info.field_name == "target" and isinstance(times, list | Slope):
            raise ValueError("must be one number: a plain step drafts nothing, at any depth")
        least = times.base + times.per_token if isinstance(times, Slope) else times
        for number in least if isinstance(least, list) else [least]:
            if number <= 0 and info.field_name != "draft":
                raise ValueError(f"{number:g} ms is given; it must be positive")
        return value

    @field_validator("noise")
    @classmethod
    def _no_mean(cls, value: NoiseSpec | None) -> NoiseSpec | None:
        if value is not None and value.mean is not None:
            raise ValueError(
                "`mean` belongs to target, verify and draft; noise is a factor of mean 1"
            )
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Latency:
        own = [name for name in COMPONENTS if isinstance(getattr(self, name), NoiseSpec)]
        if self.noise is not None and own:
            raise ValueError(
                f"`noise` is one factor for all of a round, but {' and '.join(own)} also has noise "
                "of its own; give one or the other"
            )
        if self.correlation and not {"verify", "draft"} <= set(own):
            raise ValueError(
                "`correlation` is between the noise of `verify` and of `draft`; both need their own"
            )
        if self.persistence and not (self.noise or own):
            raise ValueError("`persistence` needs some noise that can persist")
        return self

    def wrong_lengths(self, depth: int) -> dict[str, str]:
        """What is wrong with lists of times, by key, for an acceptance model of ``depth``."""
        wrong = {}
        for name in ("verify", "draft"):
            try:
                by_depth(mean_of(getattr(self, name)) or 0.0, depth)
            except ValueError as error:
                wrong[name] = str(error)
        return wrong

    def times(self, depth: int) -> tuple[Floats, Floats]:
        """Mean ms of verify and draft, each ``[depth + 1]``; entry 0 is the plain step, and 0.

        Raises:
            ValueError: a list has another length.

        """
        target, verify, draft = (mean_of(getattr(self, name)) or 0.0 for name in COMPONENTS)
        return (
            np.append(by_depth(target, 1), by_depth(verify, depth)),
            np.append(0.0, by_depth(draft, depth)),
        )

    def compile(self, depth: int) -> CompiledLatency:
        """Tables and times for an acceptance model of ``depth``.

        Raises:
            ValueError: a list of times has another length.

        """
        verify, draft = self.times(depth)
        if self.noise is not None:
            one = self.noise.table()
            target_noise, verify_noise, draft_noise = one, one, one
        else:
            parts = (self.target, self.verify, self.draft)
            target_noise, verify_noise, draft_noise = (self._table(part) for part in parts)
        return CompiledLatency(
            verify,
            draft,
            self.noise is not None,
            target_noise,
            verify_noise,
            draft_noise,
            self.correlation,
            self.persistence,
        )

    @staticmethod
    def _table(component: Component) -> QuantileTable:
        return component.table() if isinstance(component, NoiseSpec) else CONSTANT

    def noises(self) -> list[NoiseSpec]:
        """Every noise that the section states."""
        parts = [self.noise, self.target, self.verify, self.draft]
        return [part for part in parts if isinstance(part, NoiseSpec)]

    def warnings(self) -> list[str]:
        """What a reader of the results should know, each once."""
        return list(dict.fromkeys(text for noise in self.noises() for text in noise.warnings()))

    def describe(self) -> list[str]:
        """A line for each part."""
        lines = [f"{name}: {_describe(getattr(self, name))}" for name in COMPONENTS]
        if self.noise:
            lines.append(f"noise: {self.noise.describe()}; one factor for all of a round")
        if self.correlation:
            lines.append(f"correlation of verify and draft: {self.correlation:g}")
        if self.persistence:
            lines.append(f"persistence from round to round: {self.persistence:g}")
        return lines
