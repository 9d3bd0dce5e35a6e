"""What an acceptance model promises: a section of the file that compiles to a chain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from mtpsim.acceptance.chain import AcceptanceChain, Floats
from mtpsim.spec import Spec

RatesAre = Literal["conditional", "survival", "marginal"]


class AcceptanceModel(Spec, ABC):
    """The ``[acceptance]`` section; a subclass has ``model: Literal["its name"]``."""

    @abstractmethod
    def chain(self) -> AcceptanceChain:
        """Compile to the hidden chain."""

    def stated_rates(self) -> Floats | None:
        """Conditional rates ``[K]`` as the file gives them, or None where it gives none."""
        return None
