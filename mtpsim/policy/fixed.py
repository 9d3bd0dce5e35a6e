"""One depth for every round."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.policy.base import Now, PolicySpec, Round, Setting, too_deep


class OneDepth(PolicySpec):
    """A policy that never changes the depth."""

    @abstractmethod
    def the_depth(self, setting: Setting) -> int:
        """The depth of every round."""

    def parameters(self, setting: Setting) -> Floats:
        """The depth."""
        return np.array([self.the_depth(setting)], float)

    def memory(self, setting: Setting) -> int:
        """None."""
        return 0

    def exact(self, setting: Setting) -> float | None:
        """Exact tokens a ms."""
        solved = setting.solve()
        return solved.pace(np.full_like(solved.oracle, self.the_depth(setting)))


class Fixed(OneDepth):
    """Always the same depth."""

    rule: Literal["fixed"] = "fixed"
    depth: Annotated[int, Field(ge=0)] = Field(description="drafts a round; 0 is off")

    @property
    def label(self) -> str:
        """The name, or the depth."""
        return self.name or f"depth {self.depth}"

    def the_depth(self, setting: Setting) -> int:
        """As the file says."""
        return self.depth

    def wrong(self, depth: int, batch: float | None) -> str | None:
        """A depth that the model doesn't have."""
        return too_deep("depth", self.depth, depth) if self.depth > depth else None


def start(p: Floats, m: Floats) -> None:
    """Nothing to remember."""


def choose(p: Floats, m: Floats, now: Now, hints: Floats) -> int:
    """The depth of the file."""
    return int(p[0])


def learn(p: Floats, m: Floats, round: Round) -> None:
    """Nothing to learn."""
