"""What a policy is: parameters of the file, a row of memory, and a rule of three small functions.

The functions ``start``, ``choose`` and ``learn`` of a policy's own file are plain Python on floats
and arrays, so that they can be read and tried by hand; the kernel compiles the very same ones.
``p`` holds the policy's parameters, ``m`` its memory within one request.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Annotated, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.common.section import Spec

Ints = npt.NDArray[np.intp]


class Now(NamedTuple):
    """What can be known before a round; a policy looks only at what it says it knows."""

    state: int  # hidden state in which the round begins
    previous: int  # depth of the round before, -1 before the first
    full: int  # drafts that would be accepted at the greatest depth


class Round(NamedTuple):
    """What a round has shown."""

    depth: int  # drafts verified
    accepted: int  # of them
    seen: int  # drafts whose fate is known: `depth`, or K with full feedback
    reached: int  # of them, accepted in a row
    time: float  # ms


class Rule(NamedTuple):
    """The three functions of a policy's file."""

    start: Callable[[Floats, Floats], None]  # p, m: set the memory at the start of a request
    # p, m, now, hints [K]: depth of the next round. The hints are the draft's probabilities that
    # it is accepted, by position, or standard normal random numbers: as the policy wants.
    choose: Callable[[Floats, Floats, Now, Floats], int]
    learn: Callable[[Floats, Floats, Round], None]  # p, m, round: remember what it has shown


class Solved(Protocol):
    """What bounds need of the chain's optimal control (mtpsim/exact/oracle_mdp.py)."""

    @property
    def start(self) -> Floats:
        """``[S]`` law of a request's first state."""

    @property
    def oracle(self) -> Ints:
        """``[K + 2, S]`` best depth by depth before + 1 and state."""

    @property
    def cap(self) -> Ints:
        """``[K + 2, S]`` best cap for who drafts just what will be accepted."""

    @property
    def values(self) -> Floats:
        """``[K + 2, S, K + 1]`` value of each depth."""

    @property
    def by_belief(self) -> Ints | None:
        """``[K + 2, G]`` best depth by belief in the second of two states; else None."""

    @property
    def laws(self) -> Floats:
        """``[2, K + 1, K + 1, S, S]`` law of a round, of a fresh and of a rested draft."""

    def pace(self, choice: Ints, clairvoyant: bool = False) -> float:
        """Exact tokens a ms of a choice of depths, or of caps."""


@dataclass(frozen=True)
class Setting:
    """Where policies run.

    Attributes:
        times: ``[K + 1]`` mean ms of a round by depth; entry 0 is a plain step.
        rates: ``[K]`` conditional rates, pooled over rounds at the greatest depth.
        batch: requests that decode together; None where the latency has none.
        solve: the chain's optimal control; for bounds only, since it takes a while.

    """

    times: Floats
    rates: Floats
    batch: float | None = None
    solve: Callable[[], Solved] = field(default=lambda: _no_chain(), repr=False)

    @property
    def depth(self) -> int:
        """Greatest depth K."""
        return len(self.times) - 1


def _no_chain() -> Solved:
    raise TypeError("recorded requests have no chain to solve")


class PolicySpec(Spec, ABC):
    """An entry of ``adaptive.policies``; a subclass has ``rule: Literal["its name"]``."""

    reads_confidence: ClassVar[bool] = False  # wants the draft's confidence as hints
    sees_outcome: ClassVar[bool] = False  # wants `Now.full`
    knows: ClassVar[str] = ""  # what no engine can know, where the policy is a bound

    name: Annotated[str, Field(min_length=1, max_length=40)] | None = Field(
        None, description="in the report; without it the rule's name"
    )

    @property
    def label(self) -> str:
        """What the report calls it."""
        return self.name or self.kind()

    @property
    def draws(self) -> bool:
        """Whether it wants random numbers as hints."""
        return False

    @property
    def drops(self) -> bool:
        """Whether its memory begins with a number of drafts that were thrown away."""
        return False

    @classmethod
    def kind(cls) -> str:
        """Name of the rule."""
        name: str = cls.model_fields["rule"].default
        return name

    @classmethod
    def functions(cls) -> Rule:
        """The rule, from the file of the policy."""
        room: ModuleType = sys.modules[cls.__module__]
        return Rule(room.start, room.choose, room.learn)

    @abstractmethod
    def parameters(self, setting: Setting) -> Floats:
        """``p`` as the rule reads it."""

    @abstractmethod
    def memory(self, setting: Setting) -> int:
        """Length of ``m``."""

    def exact(self, setting: Setting) -> float | None:
        """Exact tokens a ms, where the policy is simple enough."""
        return None

    def wrong(self, depth: int, batch: float | None) -> str | None:
        """What doesn't fit an acceptance model of ``depth``; None where all is well."""
        return None

    def describe(self) -> str:
        """Name and parameters in short."""
        given = self.model_dump(exclude={"rule", "name"})
        values = ", ".join(f"{key} {value}" for key, value in given.items())
        return f"{self.label}" + (f" ({values})" if values else "")


def too_deep(key: str, given: int, depth: int) -> str:
    """The complaint about a depth that the acceptance model doesn't have."""
    return f"`{key}` is {given}, but the acceptance model has depth {depth}"
