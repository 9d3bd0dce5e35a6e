"""Draft while the draft model is confident.

Sources: Hugging Face transformers ``assistant_confidence_threshold``, ``ConfidenceCriteria`` in
``src/transformers/generation/stopping_criteria.py`` (the first draft below the threshold is the
last one, and is verified; with scikit-learn installed the threshold is adapted too, here it is
constant), and llama.cpp ``--draft-p-min``, ``common/speculative.cpp`` (it is discarded:
``drop = true``; versions before 2026 verify it) with ``--draft-min`` (fewer drafts are discarded).
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from mtpsim.common.arrays import Floats
from mtpsim.common.section import Probability
from mtpsim.policy.base import Environment, PolicySpec, RoundContext

THETA, MOST, DROP, LEAST = range(4)  # in p


class Threshold(PolicySpec):
    """Stops at the first draft whose confidence is below a threshold."""

    reads_confidence = True
    rule: Literal["threshold"] = "threshold"
    theta: Probability = Field(0.4, description="lowest confidence at which drafting continues")
    drop: bool = Field(
        False, description="discard the draft below theta unverified; its draft time still counts"
    )
    n_min: Annotated[int, Field(ge=0)] = Field(
        0, description="with `drop`, discard all drafts of a round that keeps fewer than these"
    )

    @property
    def discards_drafts(self) -> bool:
        """Whether ``drop`` is set."""
        return self.drop

    def parameters(self, environment: Environment) -> Floats:
        """THETA .. LEAST."""
        least = min(self.n_min, environment.depth) if self.drop else 0
        return np.array([self.theta, environment.depth, self.drop, least], float)

    def memory_size(self, environment: Environment) -> int:
        """Discarded drafts of the round."""
        return 1


def start(p: Floats, m: Floats) -> None:
    """No draft discarded."""
    m[0] = 0


def choose(p: Floats, m: Floats, context: RoundContext, hints: Floats) -> int:
    """Drafts up to the first one below the threshold; ``m[0]`` counts the discarded ones."""
    drafted, kept = hints.size, hints.size
    for j in range(hints.size - 1, -1, -1):
        if hints[j] < p[THETA]:
            drafted, kept = j + 1, j + 1 - int(p[DROP])
    kept = kept if kept >= p[LEAST] else 0
    m[0] = drafted - kept
    return kept
