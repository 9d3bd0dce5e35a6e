"""Plain decoding: no drafts."""

from typing import Literal

from mtpsim.policy.base import Environment
from mtpsim.policy.fixed import ConstantDepth, choose

__all__ = ["Off", "choose"]


class Off(ConstantDepth):
    """Plain decoding: depth 0 in every round."""

    rule: Literal["off"] = "off"

    def depth_in(self, environment: Environment) -> int:
        """Depth 0."""
        return 0
