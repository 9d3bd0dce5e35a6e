"""Switch speculation off permanently once recent requests accepted too few drafts.

Source: TensorRT-LLM, ``SpeculationGate`` in
``tensorrt_llm/_torch/speculative/speculation_gate.py``, commit 41080dc. A simulated request stands
for a session: consecutive requests of ``request_rounds`` rounds each on the same engine.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.common.section import NonNegative
from mtpsim.policy.base import Environment, PolicySpec, RoundContext, RoundOutcome, depth_mismatch

DEPTH, WINDOW, LIMIT, LENGTH = range(4)  # in p
CLOSED, ROUNDS, ACCEPTED, REQUESTS, TOTAL, RING = range(6)  # in m; [WINDOW] means from RING on


class Gate(PolicySpec):
    """A fixed depth that is switched off permanently once too few drafts are accepted."""

    learns_from = "finished"
    rule: Literal["gate"] = "gate"
    depth: Annotated[int, Field(ge=1)] | None = Field(
        None, description="depth while it is on (default: the model's greatest)"
    )
    window: Annotated[int, Field(ge=1, le=100_000)] = Field(
        10, description="number of requests in the rolling mean"
    )
    limit: NonNegative = Field(
        1.0, description="accepted drafts per round below which it switches off"
    )
    request_rounds: Annotated[int, Field(ge=1)] = Field(
        20, description="rounds per request of the session"
    )

    def parameters(self, environment: Environment) -> Floats:
        """DEPTH .. LENGTH."""
        depth = self.depth or environment.depth
        return np.array([depth, self.window, self.limit, self.request_rounds], float)

    def memory_size(self, environment: Environment) -> int:
        """Counts, and the means of the last requests."""
        return RING + self.window

    def mismatch(self, depth: int, batch: float | None) -> str | None:
        """The depth must be within the model's."""
        return depth_mismatch("depth", self.depth, depth)


def start(p: Floats, m: Floats) -> None:
    """On, with nothing counted."""
    m[:] = 0


def choose(p: Floats, m: Floats, context: RoundContext, hints: Floats) -> int:
    """The depth, or 0 once switched off."""
    return 0 if m[CLOSED] > 0 else int(p[DEPTH])


def learn(p: Floats, m: Floats, outcome: RoundOutcome) -> None:
    """Count; at the end of each request compare the rolling mean with the limit."""
    if m[CLOSED] > 0:
        return
    m[ROUNDS] += 1
    m[ACCEPTED] += outcome.accepted
    if m[ROUNDS] < p[LENGTH]:
        return
    slot = RING + int(m[REQUESTS] % p[WINDOW])
    mean = (m[ACCEPTED] + m[ROUNDS]) / m[ROUNDS] - 1  # rounded as in the engine
    m[TOTAL] += mean
    m[TOTAL] -= m[slot]
    m[slot] = mean
    m[REQUESTS] += 1
    m[ROUNDS] = 0
    m[ACCEPTED] = 0
    if m[REQUESTS] >= p[WINDOW] and m[TOTAL] / p[WINDOW] < p[LIMIT]:
        m[CLOSED] = 1
