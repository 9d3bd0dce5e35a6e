"""The same depth in every round."""

from abc import abstractmethod
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.policy.base import Environment, PolicySpec, RoundContext, depth_mismatch


class ConstantDepth(PolicySpec):
    """A policy that never changes the depth."""

    learns_from = "nothing"

    @abstractmethod
    def depth_in(self, environment: Environment) -> int:
        """Depth of every round in this environment."""

    def parameters(self, environment: Environment) -> Floats:
        """The depth."""
        return np.array([self.depth_in(environment)], float)

    def exact_throughput(self, environment: Environment) -> float | None:
        """Exact tokens per ms."""
        optimal = environment.solve(0.0)
        return optimal.pace(np.full_like(optimal.oracle, self.depth_in(environment)))


class Fixed(ConstantDepth):
    """The same depth in every round."""

    rule: Literal["fixed"] = "fixed"
    depth: Annotated[int, Field(ge=0)] = Field(description="drafts per round; 0 is plain decoding")

    @property
    def label(self) -> str:
        """Its name, or the depth."""
        return self.name or f"depth {self.depth}"

    def depth_in(self, environment: Environment) -> int:
        """The depth of the file."""
        return self.depth

    def mismatch(self, depth: int, batch: float | None) -> str | None:
        """The depth must be within the model's."""
        return depth_mismatch("depth", self.depth, depth)


def choose(p: Floats, m: Floats, context: RoundContext, hints: Floats) -> int:
    """The constant depth."""
    return int(p[0])
