"""What every ``[latency]`` section offers, whatever its times come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Spec
from mtpsim.latency.noise import Noise, NoiseSpec
from mtpsim.latency.quantile_table import CONSTANT, QuantileTable


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


class LatencySpec(Spec, ABC):
    """Mean times by depth, and one factor of noise on all of a round's time."""

    noise: Noise | None = Field(None, description="one factor on all of a round's time")
    persistence: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="of the noise from round to round (AR(1) of normal scores)"
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
            raise FieldError("`persistence` needs some noise that can persist", key="persistence")
        return self

    @abstractmethod
    def times(self, depth: int) -> tuple[Floats, Floats]:
        """Mean ms of verify and draft, each ``[depth + 1]``; entry 0 is the plain step, and 0.

        Raises:
            ValueError: a list has another length.

        """

    @abstractmethod
    def wrong_lengths(self, depth: int) -> dict[str, str]:
        """What is wrong with lists of times, by key, for an acceptance model of ``depth``."""

    @abstractmethod
    def describe(self) -> list[str]:
        """A line for each part."""

    def compile(self, depth: int) -> CompiledLatency:
        """Tables and times for an acceptance model of ``depth``.

        Raises:
            ValueError: a list of times has another length.

        """
        verify, draft = self.times(depth)
        one = self.noise.table() if self.noise else CONSTANT
        return CompiledLatency(verify, draft, True, one, one, one, 0.0, self.persistence)

    def noises(self) -> list[NoiseSpec]:
        """Every noise that the section states."""
        return [self.noise] if self.noise else []

    def warnings(self) -> list[str]:
        """What a reader of the results should know, each once."""
        return list(dict.fromkeys(text for noise in self.noises() for text in noise.warnings()))

    def describe_noise(self) -> list[str]:
        """Lines on what is noisy."""
        lines = []
        if self.noise:
            lines.append(f"noise: {self.noise.describe()}; one factor for all of a round")
        if self.persistence:
            lines.append(f"persistence from round to round: {self.persistence:g}")
        return lines
