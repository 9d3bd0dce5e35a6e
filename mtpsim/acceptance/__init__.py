"""Acceptance models: one file a model, each compiles to an :class:`AcceptanceChain`."""

from mtpsim.acceptance.base import AcceptanceModel
from mtpsim.acceptance.beta import Beta
from mtpsim.acceptance.chain import AcceptanceChain
from mtpsim.acceptance.independent import Independent
from mtpsim.acceptance.regime import Regime

MODELS: dict[str, type[AcceptanceModel]] = {
    "independent": Independent,
    "regime": Regime,
    "beta": Beta,
}

__all__ = ["MODELS", "AcceptanceChain", "AcceptanceModel", "Beta", "Independent", "Regime"]
