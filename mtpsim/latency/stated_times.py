"""The ``[latency]`` section: how long a plain step, a verify and a draft take, and their noise."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.latency.base import CompiledLatency, LatencySpec
from mtpsim.latency.noise import Noise, NoiseSpec
from mtpsim.latency.quantile_table import CONSTANT, QuantileTable
from mtpsim.latency.times import Slope, Times, by_depth, describe

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


class Latency(LatencySpec):
    """Times in milliseconds, as they were measured."""

    model: Literal["times"] = "times"
    target: Component = Field(description="a plain decoding step of the target model")
    verify: Component = Field(description="the target's pass over the drafts, by depth")
    draft: Component = Field(description="drafting, by depth")
    correlation: Annotated[float, Field(ge=-1, le=1)] = Field(
        0.0, description="of verify and draft noise within a round (Gaussian copula)"
    )

    @field_validator("target", "verify", "draft")
    @classmethod
    def _time_known(cls, value: Component, info: ValidationInfo) -> Component:
        times = mean_of(value)
        if times is None:
            raise FieldError(
                "`mean` is missing: the mean time in ms (a number, a list by depth)", key="mean"
            )
        if info.field_name == "target" and isinstance(times, list | Slope):
            raise ValueError("must be one number: a plain step drafts nothing, at any depth")
        least = times.base + times.per_token if isinstance(times, Slope) else times
        for number in least if isinstance(least, list) else [least]:
            if number <= 0 and info.field_name != "draft":
                raise ValueError(f"{number:g} ms is given; it must be positive")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Latency:
        own = [name for name in COMPONENTS if isinstance(getattr(self, name), NoiseSpec)]
        if self.noise is not None and own:
            raise FieldError(
                f"`noise` is one factor for all of a round, but {' and '.join(own)} also has noise "
                "of its own; give one or the other",
                key="noise",
            )
        if self.correlation and not {"verify", "draft"} <= set(own):
            raise FieldError(
                "correlates the noise of `verify` and of `draft`; both must have their own",
                key="correlation",
            )
        return self

    def wrong_lengths(self, depth: int) -> dict[str, str]:
        """What is wrong with lists of times, by key."""
        wrong = {}
        for name in ("verify", "draft"):
            try:
                by_depth(mean_of(getattr(self, name)) or 0.0, depth)
            except ValueError as error:
                wrong[name] = str(error)
        return wrong

    def times(self, depth: int) -> tuple[Floats, Floats]:
        """Mean ms of verify and draft, each ``[depth + 1]``."""
        target, verify, draft = (mean_of(getattr(self, name)) or 0.0 for name in COMPONENTS)
        return (
            np.append(by_depth(target, 1), by_depth(verify, depth)),
            np.append(0.0, by_depth(draft, depth)),
        )

    def compile(self, depth: int) -> CompiledLatency:
        """Tables and times for an acceptance model of ``depth``."""
        if self.noise is not None:
            return super().compile(depth)
        verify, draft = self.times(depth)
        parts = (self.target, self.verify, self.draft)
        target_noise, verify_noise, draft_noise = (self._table(part) for part in parts)
        return CompiledLatency(
            verify,
            draft,
            False,
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

    def describe(self) -> list[str]:
        """A line for each part."""
        lines = [f"{name}: {_describe(getattr(self, name))}" for name in COMPONENTS]
        if self.correlation:
            lines.append(f"correlation of verify and draft: {self.correlation:g}")
        return lines + self.describe_noise()
