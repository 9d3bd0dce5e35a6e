"""Acceptance models: one file per model, each compiles to an :class:`AcceptanceChain`."""

from typing import Annotated

from mtpsim.acceptance.base import AcceptanceChain, AcceptanceModel, Source
from mtpsim.acceptance.recording import Recording
from mtpsim.acceptance.registry import SIMPLE
from mtpsim.common.section import Named

MODELS = SIMPLE.including(mixture="mixture.Mixture", drift="drift.Drift", trace="trace.Trace")

Acceptance = Annotated[AcceptanceModel, Named(MODELS)]
__getattr__ = MODELS

__all__ = ["MODELS", "Acceptance", "AcceptanceChain", "AcceptanceModel", "Recording", "Source"]
