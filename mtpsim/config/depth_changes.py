"""What a change of the depth costs: keys that ``[adaptive]`` and ``[serving]`` share."""

from pydantic import Field

from mtpsim.common.section import Probability, Spec
from mtpsim.latency.times import Milliseconds


class DepthChanges(Spec):
    """What a change of the depth costs the engine, and the drafts after depth 0."""

    switch_cost: Milliseconds = Field(
        0.0,
        description="ms added to each round (step of a server) whose depth differs from the "
        "previous one",
    )
    catch_up: Milliseconds = Field(
        0.0,
        description="ms added to the first round (step of a server) with drafts after depth 0, in "
        "which the draft model has to fill the gap in its cache",
    )
    stale: Probability = Field(
        0.0,
        description="probability that the first round of a request after depth 0 accepts no draft",
    )
    resumed: Probability = Field(
        0.0,
        description="share of its acceptance rate that a draft loses in every round of a request "
        "after one at depth 0",
    )

    def switching(self) -> dict[str, float]:
        """The costs by key."""
        return {name: getattr(self, name) for name in DepthChanges.model_fields}

    def changes_text(self) -> list[str]:
        """The costs in a line; no line if there are none."""
        given = [f"{name} {value:g}" for name, value in self.switching().items() if value]
        return [f"change of the depth: {', '.join(given)}"] if given else []
