"""Depth + 2 after a fully accepted round, - 1 after a rejection.

Source: Hugging Face transformers, assisted generation, ``num_assistant_tokens_schedule``:
``AssistedCandidateGenerator.update_candidate_strategy`` in
``src/transformers/generation/candidate_generator.py``, commit 00a11b6, and the end of
``_assisted_decoding`` in ``utils.py``. There the depth is unbounded; here it stays within the
acceptance model's.

``"heuristic"`` keeps the depth from one call of ``generate`` to the next, ``"heuristic_transient"``
starts each call at the initial depth. A simulated request stands for a session of calls; it is one
call where ``request_rounds`` is not given, and then both rules are the same.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.policy.base import Environment, PolicySpec, RoundContext, RoundOutcome

START, UP, DOWN, LEAST, MOST, CALL = range(6)  # in p
DEPTH, ROUNDS = range(2)  # in m


class HeuristicSpec(PolicySpec):
    """The keys of both rules."""

    start: Annotated[int, Field(ge=0)] = Field(
        20, description="depth of the first round (at most the model's)"
    )
    up: Annotated[int, Field(ge=1)] = Field(2, description="increase after a fully accepted round")
    down: Annotated[int, Field(ge=1)] = Field(1, description="decrease after a rejection")
    least: Annotated[int, Field(ge=0)] = Field(1, description="lowest depth")

    @property
    def call(self) -> int:
        """Rounds after which the depth is reset; 0: never."""
        return 0

    def parameters(self, environment: Environment) -> Floats:
        """START .. CALL."""
        most = environment.depth
        first = min(max(self.start, self.least), most)
        least = min(self.least, most)
        return np.array([first, self.up, self.down, least, most, self.call], float)

    def memory_size(self, environment: Environment) -> int:
        """The depth, and the rounds of the call."""
        return 2


class Heuristic(HeuristicSpec):
    """Increases the depth after a fully accepted round, decreases it after a rejection."""

    rule: Literal["heuristic"] = "heuristic"


class HeuristicTransient(HeuristicSpec):
    """As the heuristic, but each call of ``generate`` begins at the initial depth."""

    rule: Literal["heuristic_transient"] = "heuristic_transient"
    request_rounds: Annotated[int, Field(ge=1)] | None = Field(
        None, description="rounds per call of the session (default: a simulated request is a call)"
    )

    @property
    def call(self) -> int:
        """Rounds after which the depth is reset; 0: never."""
        return self.request_rounds or 0


def start(p: Floats, m: Floats) -> None:
    """The initial depth."""
    m[DEPTH] = p[START]
    m[ROUNDS] = 0


def choose(p: Floats, m: Floats, context: RoundContext, hints: Floats) -> int:
    """The current depth."""
    return int(m[DEPTH])


def learn(p: Floats, m: Floats, outcome: RoundOutcome) -> None:
    """Increase or decrease the depth; reset it at the end of a call."""
    m[ROUNDS] += 1
    if m[ROUNDS] == p[CALL]:
        m[DEPTH] = p[START]
        m[ROUNDS] = 0
    else:
        full = outcome.accepted == outcome.depth - outcome.missing
        step = p[UP] if full else -p[DOWN]
        m[DEPTH] = min(max(m[DEPTH] + step, p[LEAST]), p[MOST])
