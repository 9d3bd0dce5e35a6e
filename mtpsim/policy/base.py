"""The interface of policies: TOML parameters, and a rule of three small functions.

The functions ``start``, ``choose`` and ``learn`` in the file of a policy are plain Python on floats
and arrays, so they can be read and called directly; the kernel compiles the same functions. ``p``
holds the parameters of the policy, ``m`` its memory within one request. A file may leave out
``start`` or ``learn`` if the policy remembers nothing.

The kernel plays many requests at once. A rule whose loops run over ``hints.size`` or ``m.size``,
with selections (``x if a else y``) rather than early exits, is computed for several together.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.common.section import Spec

Ints = npt.NDArray[np.intp]
Counts = npt.NDArray[np.int64]
LearnsFrom = Literal["nothing", "mean", "pooled", "finished"]


class RoundContext(NamedTuple):
    """State before a round. A policy reads only the fields that it declares.

    Attributes:
        state (int): Hidden state in which the round begins.
        previous_depth (int): Depth of the previous round; -1 before the first.
        acceptable (int): Drafts that would be accepted at the greatest depth K.
        entry (int): Row of the round in tables by recorded text position; 0 for a chain.
    """

    state: int
    previous_depth: int
    acceptable: int
    entry: int = 0


class RoundOutcome(NamedTuple):
    """The outcome of a round.

    Attributes:
        depth (int): Drafts that were asked for.
        accepted (int): Drafts that were accepted.
        observed (int): Drafts with a known outcome: those verified, or K with full feedback.
        observed_accepted (int): Drafts accepted in a row among the observed ones.
        time_ms (float): Duration of the round in ms.
        missing (int): Drafts that were asked for and not proposed, so not verified either.
    """

    depth: int
    accepted: int
    observed: int
    observed_accepted: int
    time_ms: float
    missing: int = 0


class BatchOutcome(NamedTuple):
    """The outcome of a step of a batch, by the number j of drafts, 0..K.

    Attributes:
        drafted (Counts): ``[K + 1]`` requests that had j drafts.
        verified (Counts): ``[K + 1]`` requests that had j drafts up to the first rejection.
        accepted (Counts): ``[K + 1]`` requests that accepted j drafts.
    """

    drafted: Counts
    verified: Counts
    accepted: Counts


class Rule(NamedTuple):
    """The three functions of a policy.

    Attributes:
        start: ``start(p, m)`` sets the memory at the beginning of a request.
        choose: ``choose(p, m, context, hints)`` returns the depth of the next round, 0..K. It is
            called once per round, so it may update the memory too. ``hints`` ``[K]`` are the
            draft's confidences by position if the policy sets ``reads_confidence``, or standard
            normal numbers if it sets ``uses_random_numbers``.
        learn: ``learn(p, m, outcome)`` updates the memory after the round.
    """

    start: Callable[[Floats, Floats], None]
    choose: Callable[[Floats, Floats, RoundContext, Floats], int]
    learn: Callable[[Floats, Floats, RoundOutcome], None]


def start_empty(p: Floats, m: Floats) -> None:
    """The ``start`` of a policy without memory."""


def learn_nothing(p: Floats, m: Floats, outcome: RoundOutcome) -> None:
    """The ``learn`` of a policy without memory."""


class OptimalControl(Protocol):
    """Optimal control for policies with privileged information (:mod:`mtpsim.exact.oracle_mdp`).

    Of recorded text positions (:mod:`mtpsim.exact.recorded_control`) only :attr:`oracle` and
    :attr:`cap` exist, and in place of states the former has entries of the recording.
    """

    @property
    def start(self) -> Floats:
        """``[S]`` distribution of the first state of a request."""

    @property
    def oracle(self) -> Ints:
        """``[R, S]`` optimal depth by row (:class:`mtpsim.exact.switching.Rows`) and state."""

    @property
    def cap(self) -> Ints:
        """``[R, S]`` optimal cap for a policy that drafts only what will be accepted."""

    @property
    def values(self) -> Floats:
        """``[R, S, K + 1]`` value of each depth."""

    @property
    def by_belief(self) -> Ints | None:
        """``[R, G]`` optimal depth by belief in the second of two states; else None."""

    @property
    def transitions(self) -> Floats:
        """``[2 or 3, K + 1, K + 1, S, S]`` transition by depth and accepted drafts.

        Index 0 is for a round after drafting, 1 for the first round after depth 0, 2 for later ones
        if drafts still lose acceptance.
        """

    def pace(self, choice: Ints, clairvoyant: bool = False) -> float:
        """Exact tokens per ms of a table of depths, or of caps."""


@dataclass(frozen=True)
class Environment:
    """Properties of the engine that a policy may use.

    Attributes:
        times (Floats): ``[K + 1]`` mean round time in ms by depth; entry 0 is a plain step.
        rates (Floats): ``[K]`` conditional acceptance rates, pooled over rounds at depth K.
        batch (float | None): Requests that decode together; None if the latency has no batch.
        solve (Callable): Returns the optimal control of the acceptance chain or the recording,
            given the ms that a round without drafts takes in addition; slow.
        first_draft (float): Mean ms of drafting one token.
        overhead_off (float): Share by which ``times[0]`` exceeds a plain step of an engine that has
            no speculation enabled.
    """

    times: Floats
    rates: Floats
    batch: float | None = None
    solve: Callable[[float], OptimalControl] = field(default=lambda idle: _no_chain(), repr=False)
    first_draft: float = 0.0
    overhead_off: float = 0.0

    @property
    def depth(self) -> int:
        """Greatest depth K."""
        return len(self.times) - 1


def _no_chain() -> OptimalControl:
    raise TypeError("recorded requests have no chain to solve")


class PolicySpec(Spec, ABC):
    """An entry of ``adaptive.policies``; a subclass has ``rule: Literal["its name"]``.

    Attributes:
        reads_confidence (bool): Whether ``hints`` are the confidences of the draft.
        shares_budget (bool): Whether it decides for each request of a server how many of its drafts
            are verified, from all of them.
        reads_time (bool): Whether ``RoundOutcome.time_ms`` changes what it does.
        sees_outcome (bool): Whether ``RoundContext.acceptable`` is filled in.
        sees_entry (bool): Whether ``RoundContext.entry`` is filled in.
        knows (str): What it knows that an engine cannot know; empty for a realizable policy.
        knows_recorded (str): The same where it plays recorded text positions; empty if a policy
            that needs such knowledge can't play them.
        learns_from (str | None): What it learns from where one depth serves a batch: ``"nothing"``;
            the ``"mean"`` of each step's accepted drafts; the outcomes of each step ``"pooled"``
            over its requests (then its file has ``learn_batch``); or the mean accepted drafts of
            each ``"finished"`` request. None: it needs a request of its own.
    """

    reads_confidence: ClassVar[bool] = False
    shares_budget: ClassVar[bool] = False
    reads_time: ClassVar[bool] = False
    sees_outcome: ClassVar[bool] = False
    sees_entry: ClassVar[bool] = False
    knows: ClassVar[str] = ""
    knows_recorded: ClassVar[str] = ""
    learns_from: ClassVar[LearnsFrom | None] = None

    name: Annotated[str, Field(min_length=1, max_length=40)] | None = Field(
        None, description="label in the report (default: the name of the rule)"
    )

    @property
    def bound(self) -> bool:
        """Whether it is an upper bound, which no engine can run, and never recommended."""
        return bool(self.knows)

    @property
    def label(self) -> str:
        """Label in the report."""
        return self.name or self.rule_name()

    @property
    def uses_random_numbers(self) -> bool:
        """Whether ``hints`` are standard normal random numbers."""
        return False

    @property
    def unused(self) -> set[str]:
        """Keys that have no effect."""
        return set()

    @property
    def discards_drafts(self) -> bool:
        """Whether ``m[0]`` counts drafts of the round that are discarded before the verify."""
        return False

    @classmethod
    def rule_name(cls) -> str:
        """Name of the rule in TOML."""
        name: str = cls.model_fields["rule"].default
        return name

    @classmethod
    def functions(cls) -> Rule:
        """The rule, from the file of the policy."""
        module = sys.modules[cls.__module__]
        return Rule(
            getattr(module, "start", start_empty),
            module.choose,
            getattr(module, "learn", learn_nothing),
        )

    @abstractmethod
    def parameters(self, environment: Environment) -> Floats:
        """The array ``p`` of the rule."""

    def memory_size(self, environment: Environment) -> int:
        """Length of the memory ``m``."""
        return 0

    def exact_throughput(self, environment: Environment) -> float | None:
        """Exact tokens per ms, if the policy can be solved; else None."""
        return None

    def mismatch(self, depth: int, batch: float | None) -> str | None:
        """Error message if the policy does not fit this depth, else None."""
        return None

    def server_mismatch(self, depth: int) -> str | None:
        """Error message if the policy can't choose one depth for a server's batch, else None."""
        if self.learns_from is None:
            known = "a request's own drafts" if not self.knows else self.knows
            return (
                f"the rule {self.rule_name()!r} reads {known}; a server chooses one depth for its "
                "batch, by off, fixed, schedule, ema, goodput, adaptive_k or gate, or shares a "
                "budget of drafts, by budget or oracle_budget"
            )
        return self.mismatch(depth, 1.0)

    def batch_functions(self) -> Rule:
        """The rule as it serves a batch; ``learn`` is ``learn_batch`` if it pools outcomes."""
        rule = self.functions()
        if self.learns_from != "pooled":
            return rule
        return rule._replace(learn=sys.modules[type(self).__module__].learn_batch)

    def describe(self) -> str:
        """Label and parameters in one line; what is unset or off is left out."""
        given = self.model_dump(exclude={"rule", "name", *self.unused}, exclude_none=True)
        values = ", ".join(
            key if value is True else f"{key} {value}"
            for key, value in given.items()
            if value is not False
        )
        return f"{self.label}" + (f" ({values})" if values else "")


def depth_mismatch(key: str, given: int | None, depth: int) -> str | None:
    """An error message if ``given`` exceeds the depth of the acceptance model, else None."""
    if given is None or given <= depth:
        return None
    return f"`{key}` is {given}, but the acceptance model has depth {depth}"
