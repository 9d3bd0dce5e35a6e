"""A few tiers of depth, with hysteresis, patience and a cooldown.

Source: mistral.rs, pull request 2388 (2026-08-20): a moving average of acceptance selects from
depths 3, 5 and the greatest one, "with hysteresis, stickiness, and post-switch cooldown; batches
larger than 2 always draft at max depth". It states no constants: those here are choices.
"""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Probability
from mtpsim.policy.base import Environment, PolicySpec, RoundContext, RoundOutcome

KEEP, UP, DOWN, PATIENCE, COOLDOWN, TOP, DEPTHS = range(7)  # in p
AVERAGE, TIER, WAITED, REST = range(4)  # in m


class Tiers(PolicySpec):
    """Moves between tiers of depth by the share of the tier that is accepted."""

    rule: Literal["tiers"] = "tiers"
    depths: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] = Field(
        default_factory=lambda: [3, 5],
        description="tiers below the greatest depth, which is the last one ([3, 5])",
    )
    keep: Probability = Field(0.9, description="weight of the previous average in each round")
    up: Probability = Field(0.8, description="share of the tier's drafts from which it moves up")
    down: Probability = Field(0.4, description="share below which it moves down")
    patience: Annotated[int, Field(ge=1)] = Field(
        4, description="rounds in a row that must call for a move"
    )
    cooldown: Annotated[int, Field(ge=0)] = Field(16, description="rounds without a move after one")
    full_above: Annotated[int, Field(ge=0)] = Field(
        2, description="batch above which it always drafts at the greatest depth"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if sorted(set(self.depths)) != self.depths:
            raise FieldError(f"{self.depths} is given; depths must increase", key="depths")
        if self.down >= self.up:
            raise FieldError(
                f"{self.down:g} is given; it must be below `up`, {self.up:g}", key="down"
            )
        return self

    def parameters(self, environment: Environment) -> Floats:
        """KEEP .. TOP, and the depths of the tiers."""
        most = environment.depth
        tiers = [*(depth for depth in self.depths if depth < most), most]
        if (environment.batch or 1.0) > self.full_above:
            tiers = [most]
        given = self.keep, self.up, self.down, self.patience, self.cooldown, len(tiers) - 1
        return np.array([*given, *tiers], float)

    def memory_size(self, environment: Environment) -> int:
        """Average share, tier, rounds that call for a move (below 0: down) and rounds to rest."""
        return 4


def start(p: Floats, m: Floats) -> None:
    """The greatest depth; the average is between the thresholds."""
    m[:] = 0
    m[AVERAGE] = 0.5 * (p[UP] + p[DOWN])
    m[TIER] = p[TOP]


def choose(p: Floats, m: Floats, context: RoundContext, hints: Floats) -> int:
    """The depth of the tier."""
    return int(p[DEPTHS + int(m[TIER])])


def learn(p: Floats, m: Floats, outcome: RoundOutcome) -> None:
    """Move by a tier once enough rounds in a row call for it."""
    depth = p[DEPTHS + int(m[TIER])]
    share = min(outcome.observed_accepted, depth) / depth
    m[AVERAGE] = p[KEEP] * m[AVERAGE] + (1 - p[KEEP]) * share
    if m[REST] > 0:
        m[REST] -= 1
        return
    if m[AVERAGE] >= p[UP] and m[TIER] < p[TOP]:
        m[WAITED] = max(m[WAITED], 0) + 1
    elif m[AVERAGE] < p[DOWN] and m[TIER] > 0:
        m[WAITED] = min(m[WAITED], 0) - 1
    else:
        m[WAITED] = 0
    if abs(m[WAITED]) < p[PATIENCE]:
        return
    m[TIER] += 1 if m[WAITED] > 0 else -1
    # The same drafts are another share of another tier.
    m[AVERAGE] = min(m[AVERAGE] * depth / p[DEPTHS + int(m[TIER])], 1.0)
    m[WAITED] = 0
    m[REST] = p[COOLDOWN]
