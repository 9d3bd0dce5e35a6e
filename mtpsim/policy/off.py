"""No drafting at all."""

from __future__ import annotations

from typing import Literal

from mtpsim.policy.base import Setting
from mtpsim.policy.fixed import OneDepth, choose, learn, start

__all__ = ["Off", "choose", "learn", "start"]


class Off(OneDepth):
    """Plain decoding."""

    rule: Literal["off"] = "off"

    def the_depth(self, setting: Setting) -> int:
        """Depth 0."""
        return 0
