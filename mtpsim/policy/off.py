"""Plain decoding: speculation is not enabled."""

from typing import Literal

from mtpsim.policy.base import Environment
from mtpsim.policy.fixed import ConstantDepth, choose

__all__ = ["Off", "choose"]


class Off(ConstantDepth):
    """Plain decoding, in an engine that has no speculation enabled: depth 0 in every round."""

    rule: Literal["off"] = "off"

    def depth_in(self, environment: Environment) -> int:
        """Depth 0."""
        return 0

    def exact_throughput(self, environment: Environment) -> float | None:
        """Exact tokens per ms."""
        enabled = super().exact_throughput(environment)
        return enabled and enabled * (1 + environment.overhead_off)
