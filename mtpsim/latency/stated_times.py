"""The ``[latency]`` section: mean times of plain step, verify and draft, and their noise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator, model_validator

from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Spec
from mtpsim.latency.noise import Noise, NoiseSpec
from mtpsim.latency.quantile_table import CONSTANT, QuantileTable
from mtpsim.latency.times import Slope, Times, by_depth, describe

COMPONENTS = ("target", "verify", "draft")


@dataclass(frozen=True)
class CompiledLatency:
    """Mean times by depth, and noise factors of mean 1 as quantile tables.

    Attributes:
        verify (Floats): ``[K + 1]`` mean verify time in ms; entry 0 is the plain decoding step of
            the target.
        draft (Floats): ``[K + 1]`` mean draft time in ms; entry 0 is 0.
        shared (bool): Whether one factor multiplies the whole round time; the three tables are
            then the same.
        target_noise (QuantileTable): Factor on the plain step; it uses the random words of the
            verify.
        verify_noise (QuantileTable): Factor on the verify time.
        draft_noise (QuantileTable): Factor on the draft time.
        correlation (float): Correlation of the normal scores of verify and draft noise within a
            round, in [-1, 1].
        persistence (float): Correlation of the normal scores of successive rounds (AR(1)), in
            [0, 1).
        overhead_off (float): Share by which a round without drafts takes longer in an engine that
            has speculation enabled.
    """

    verify: Floats
    draft: Floats
    shared: bool
    target_noise: QuantileTable
    verify_noise: QuantileTable
    draft_noise: QuantileTable
    correlation: float = 0.0
    persistence: float = 0.0
    overhead_off: float = 0.0

    @property
    def target(self) -> float:
        """Mean time of a plain decoding step in ms."""
        return float(self.verify[0])

    @property
    def round_time(self) -> Floats:
        """``[K + 1]`` mean time of a round in ms by depth."""
        return self.verify + self.draft

    @property
    def policy_verify(self) -> Floats:
        """``[K + 1]`` mean verify time in ms of an engine whose policy may draft nothing."""
        return np.append(self.verify[0] * (1 + self.overhead_off), self.verify[1:])


class LatencySpec(Spec, ABC):
    """Mean times by depth, and one noise factor on the whole round time.

    Subclasses state where the times come from: :class:`Latency` or a cost model.
    """

    if TYPE_CHECKING:
        model: str

    noise: Noise | None = Field(None, description="one factor on the whole round time")
    persistence: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="correlation of the noise of successive rounds (AR(1) of normal scores)"
    )
    overhead_off: Annotated[float, Field(ge=0, le=100)] = Field(
        0.0,
        description="share by which a step without drafts takes longer if speculation is enabled",
    )

    @field_validator("noise")
    @classmethod
    def _no_mean(cls, value: NoiseSpec | None) -> NoiseSpec | None:
        if value is not None and value.mean is not None:
            raise FieldError(
                "`mean` belongs to target, verify and draft; noise is a factor of mean 1",
                key="mean",
            )
        return value

    @model_validator(mode="after")
    def _something_persists(self) -> Self:
        if self.persistence and not self.noises():
            raise FieldError(
                "`persistence` needs noise: give `noise` or noise of a component", key="persistence"
            )
        return self

    @abstractmethod
    def times(self, depth: int, drafted: Floats | None = None) -> tuple[Floats, Floats]:
        """Mean verify and draft times in ms for depths 0 to ``depth``, each ``[depth + 1]``.

        Args:
            depth (int): Greatest depth: draft passes of a round.
            drafted (Floats | None): ``[depth + 1]`` drafted tokens of a round by depth, where a
                tree has several per pass; None: one per pass.

        Raises:
            ValueError: A list of times has another length.
        """

    @abstractmethod
    def wrong_lengths(self, depth: int, drafted: Floats | None = None) -> dict[str, str]:
        """Error messages by key for lists of times whose length does not fit the depth."""

    def usual_depth(self, depth: int) -> int:
        """Greatest depth, up to ``depth``, whose times should be near those of a plain step."""
        return depth

    def depth_warnings(self, depth: int) -> list[str]:
        """Warnings about depths 0 to ``depth``, one sentence each."""
        return []

    def load_warnings(self, max_tokens: int) -> list[str]:
        """Warnings about a server whose passes have up to ``max_tokens``, one sentence each."""
        return []

    @abstractmethod
    def describe(self) -> list[str]:
        """The section as text, one line per part."""

    @abstractmethod
    def draft_time(self, passes: int) -> float:
        """Mean time in ms of a round's drafts in so many passes.

        Raises:
            ValueError: Times are a list of another length.
        """

    def round_times(
        self, depth: int, drafted: Floats | None = None, block: int | None = None
    ) -> tuple[Floats, Floats]:
        """:meth:`times` of a drafter that pays for ``block`` drafts at every depth from 1 on."""
        verify, draft = self.times(depth, drafted)
        if block:
            draft[1:] = self.draft_time(block)
        return verify, draft

    def compile(
        self, depth: int, drafted: Floats | None = None, block: int | None = None
    ) -> CompiledLatency:
        """Compile mean times and noise tables.

        Args:
            depth (int): Greatest depth K of the acceptance model.
            drafted (Floats | None): ``[K + 1]`` drafted tokens of a round, as of :meth:`times`.
            block (int | None): Drafts that are paid for at every depth, as of :meth:`round_times`.

        Returns:
            CompiledLatency: Times and tables for depths 0 to K.

        Raises:
            ValueError: A list of times has another length, or a distribution can't be tabulated.
        """
        verify, draft = self.round_times(depth, drafted, block)
        one = self.noise.table() if self.noise else CONSTANT
        return CompiledLatency(
            verify=verify,
            draft=draft,
            shared=True,
            target_noise=one,
            verify_noise=one,
            draft_noise=one,
            persistence=self.persistence,
            overhead_off=self.overhead_off,
        )

    def noises(self) -> list[NoiseSpec]:
        """Every noise stated in the section."""
        return [self.noise] if self.noise else []

    def warnings(self) -> list[str]:
        """Warnings for a reader of the results, without repetition."""
        return list(dict.fromkeys(text for noise in self.noises() for text in noise.warnings()))

    def describe_noise(self) -> list[str]:
        """Depth 0 where speculation is enabled, and the noise as text, one line per part."""
        lines = []
        if self.overhead_off:
            lines.append(
                f"a plain step takes {100 * self.overhead_off:g} % longer where a policy drafts "
                "nothing"
            )
        if self.noise:
            lines.append(f"noise: {self.noise.describe()}; one factor for the whole round")
        if self.persistence:
            lines.append(f"persistence from round to round: {self.persistence:g}")
        return lines


def _form(value: Any) -> str:
    noisy = isinstance(value, NoiseSpec) or (
        isinstance(value, dict) and not {"per_token"} & value.keys()
    )
    return "noise" if noisy else "times"


Component = Annotated[
    Annotated[Times, Tag("times")] | Annotated[Noise, Tag("noise")], Discriminator(_form)
]


def _mean_of(component: Component) -> Times | None:
    """Mean times of a component; None for noise without a mean."""
    if isinstance(component, NoiseSpec):
        return component.mean if component.mean is not None else component.natural_mean()
    return component


def _table_of(component: Component) -> QuantileTable:
    return component.table() if isinstance(component, NoiseSpec) else CONSTANT


def _describe(component: Component) -> str:
    times = describe(_mean_of(component) or 0.0)
    return f"{times}; {component.describe()}" if isinstance(component, NoiseSpec) else times


class Latency(LatencySpec):
    """Measured times in milliseconds."""

    model: Literal["times"] = "times"
    target: Component = Field(description="plain decoding step of the target model, ms")
    verify: Component = Field(description="the target's pass over the drafts, ms by depth")
    draft: Component = Field(description="drafting, ms by depth")
    correlation: Annotated[float, Field(ge=-1, le=1)] = Field(
        0.0, description="correlation of verify and draft noise within a round (Gaussian copula)"
    )

    @field_validator("target", "verify", "draft")
    @classmethod
    def _time_known(cls, value: Component, info: ValidationInfo) -> Component:
        times = _mean_of(value)
        if times is None:
            raise FieldError(
                "`mean` is missing: the mean time in ms (a number, or a list by depth)", key="mean"
            )
        if info.field_name == "target" and isinstance(times, list | Slope):
            raise ValueError("must be one number: a plain step has no drafts, at any depth")
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
                f"`noise` is one factor for the whole round, but {' and '.join(own)} also has "
                "noise of its own; give one or the other",
                key="noise",
            )
        if self.correlation and not {"verify", "draft"} <= set(own):
            raise FieldError(
                "correlates the noise of `verify` and `draft`; both need their own",
                key="correlation",
            )
        return self

    def wrong_lengths(self, depth: int, drafted: Floats | None = None) -> dict[str, str]:
        """Lists of times whose length does not fit the depth."""
        wrong = {}
        for name in ("verify", "draft"):
            try:
                by_depth(_mean_of(getattr(self, name)) or 0.0, depth)
            except ValueError as error:
                wrong[name] = str(error)
        return wrong

    def times(self, depth: int, drafted: Floats | None = None) -> tuple[Floats, Floats]:
        """Mean times for depths 0 to ``depth``."""
        target, verify, draft = (_mean_of(getattr(self, name)) or 0.0 for name in COMPONENTS)
        return (
            np.append(by_depth(target, 1), by_depth(verify, depth, drafted)),
            np.append(0.0, by_depth(draft, depth)),
        )

    def draft_time(self, passes: int) -> float:
        """Mean time in ms of a round's drafts in so many passes."""
        return float(by_depth(_mean_of(self.draft) or 0.0, passes)[-1])

    def compile(
        self, depth: int, drafted: Floats | None = None, block: int | None = None
    ) -> CompiledLatency:
        """Compile mean times and noise tables."""
        if self.noise is not None:
            return super().compile(depth, drafted, block)
        verify, draft = self.round_times(depth, drafted, block)
        return CompiledLatency(
            verify=verify,
            draft=draft,
            shared=False,
            target_noise=_table_of(self.target),
            verify_noise=_table_of(self.verify),
            draft_noise=_table_of(self.draft),
            correlation=self.correlation,
            persistence=self.persistence,
            overhead_off=self.overhead_off,
        )

    def noises(self) -> list[NoiseSpec]:
        """Every noise stated in the section."""
        parts = [self.noise, self.target, self.verify, self.draft]
        return [part for part in parts if isinstance(part, NoiseSpec)]

    def describe(self) -> list[str]:
        """The section as text, one line per part."""
        lines = [f"{name}: {_describe(getattr(self, name))}" for name in COMPONENTS]
        if self.correlation:
            lines.append(f"correlation of verify and draft: {self.correlation:g}")
        return lines + self.describe_noise()
