"""Off for good once the last requests accepted too few drafts.

Source: TensorRT-LLM, the acceptance-length gate of speculative decoding. A simulated request stands
for a session: a row of requests of ``request_rounds`` rounds each on the same engine.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.common.section import NonNegative
from mtpsim.policy.base import Now, PolicySpec, Round, Setting, too_deep

DEPTH, WINDOW, LIMIT, LENGTH = range(4)  # in p
SHUT, ROUNDS, ACCEPTED, REQUESTS, TOTAL, RING = range(6)  # in m; [WINDOW] means from RING on


class Gate(PolicySpec):
    """A fixed depth that is turned off for good when it stops paying."""

    rule: Literal["gate"] = "gate"
    depth: Annotated[int, Field(ge=1)] | None = Field(
        None, description="while it is on; by default the model's greatest"
    )
    window: Annotated[int, Field(ge=1, le=100_000)] = Field(
        10, description="requests in the rolling mean"
    )
    limit: NonNegative = Field(1.0, description="accepted drafts a round below which it shuts")
    request_rounds: Annotated[int, Field(ge=1)] = Field(
        20, description="rounds of each request of the session"
    )

    def parameters(self, setting: Setting) -> Floats:
        """DEPTH .. LENGTH."""
        depth = self.depth or setting.depth
        return np.array([depth, self.window, self.limit, self.request_rounds], float)

    def memory(self, setting: Setting) -> int:
        """The counts, and the means of the last requests."""
        return RING + self.window

    def wrong(self, depth: int, batch: float | None) -> str | None:
        """A depth that the model doesn't have."""
        given = self.depth or 0
        return too_deep("depth", given, depth) if given > depth else None


def start(p: Floats, m: Floats) -> None:
    """Open, with nothing counted."""
    m[:] = 0


def choose(p: Floats, m: Floats, now: Now, hints: Floats) -> int:
    """The depth, or 0 once shut."""
    return 0 if m[SHUT] > 0 else int(p[DEPTH])


def learn(p: Floats, m: Floats, round: Round) -> None:
    """Count; at the end of each request look at the rolling mean."""
    if m[SHUT] > 0:
        return
    m[ROUNDS] += 1
    m[ACCEPTED] += round.accepted
    if m[ROUNDS] < p[LENGTH]:
        return
    slot = RING + int(m[REQUESTS] % p[WINDOW])
    mean = m[ACCEPTED] / m[ROUNDS]
    m[TOTAL] += mean - m[slot]
    m[slot] = mean
    m[REQUESTS] += 1
    m[ROUNDS] = 0
    m[ACCEPTED] = 0
    if m[REQUESTS] >= p[WINDOW] and m[TOTAL] < p[LIMIT] * p[WINDOW]:
        m[SHUT] = 1
