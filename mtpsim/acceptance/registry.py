"""Models that compile to a chain, by name; these may be components of a mixture."""

from typing import Annotated

from mtpsim.acceptance.base import AcceptanceModel
from mtpsim.acceptance.beta import Beta
from mtpsim.acceptance.contagion import Contagion
from mtpsim.acceptance.copula import Copula
from mtpsim.acceptance.decay import Decay
from mtpsim.acceptance.difficulty import Difficulty
from mtpsim.acceptance.frechet_bounds import Bounds
from mtpsim.acceptance.histogram import Histogram
from mtpsim.acceptance.independent import Independent
from mtpsim.acceptance.markov_tokens import Tokens
from mtpsim.acceptance.ranks import Ranks
from mtpsim.acceptance.regime import Regime
from mtpsim.common.section import Named

SIMPLE: dict[str, type[AcceptanceModel]] = {
    "independent": Independent,
    "decay": Decay,
    "histogram": Histogram,
    "bounds": Bounds,
    "copula": Copula,
    "regime": Regime,
    "difficulty": Difficulty,
    "contagion": Contagion,
    "beta": Beta,
    "tokens": Tokens,
    "ranks": Ranks,
}


Simple = (
    Independent
    | Decay
    | Histogram
    | Bounds
    | Copula
    | Regime
    | Difficulty
    | Contagion
    | Beta
    | Tokens
    | Ranks
)
SimpleModel = Annotated[Simple, Named(SIMPLE)]
