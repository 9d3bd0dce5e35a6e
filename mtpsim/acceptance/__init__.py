"""Acceptance models: one file per model, each compiles to an :class:`AcceptanceChain`."""

from typing import Annotated

from mtpsim.acceptance.base import AcceptanceChain, AcceptanceModel, Source
from mtpsim.acceptance.beta import Beta
from mtpsim.acceptance.contagion import Contagion
from mtpsim.acceptance.copula import Copula
from mtpsim.acceptance.decay import Decay
from mtpsim.acceptance.difficulty import Difficulty
from mtpsim.acceptance.drift import Drift
from mtpsim.acceptance.frechet_bounds import Bounds
from mtpsim.acceptance.histogram import Histogram
from mtpsim.acceptance.independent import Independent
from mtpsim.acceptance.markov_tokens import Tokens
from mtpsim.acceptance.mixture import Mixture
from mtpsim.acceptance.ranks import Ranks
from mtpsim.acceptance.recording import Recording
from mtpsim.acceptance.regime import Regime
from mtpsim.acceptance.registry import SIMPLE, Simple
from mtpsim.acceptance.trace import Trace
from mtpsim.common.section import Named

MODELS: dict[str, type[AcceptanceModel]] = {
    **SIMPLE,
    "mixture": Mixture,
    "drift": Drift,
    "trace": Trace,
}

Acceptance = Annotated[Simple | Mixture | Drift | Trace, Named(MODELS)]

__all__ = [
    "MODELS",
    "Acceptance",
    "AcceptanceChain",
    "AcceptanceModel",
    "Beta",
    "Bounds",
    "Contagion",
    "Copula",
    "Decay",
    "Difficulty",
    "Drift",
    "Histogram",
    "Independent",
    "Mixture",
    "Ranks",
    "Recording",
    "Regime",
    "Source",
    "Tokens",
    "Trace",
]
