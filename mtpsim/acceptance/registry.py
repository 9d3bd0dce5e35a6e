"""Models that compile to a chain, by name; these may be components of a mixture."""

from typing import Annotated

from mtpsim.acceptance.base import AcceptanceModel
from mtpsim.common.section import Imported, Named

SIMPLE: Imported[AcceptanceModel] = Imported(
    "mtpsim.acceptance",
    {
        "independent": "independent.Independent",
        "decay": "decay.Decay",
        "histogram": "histogram.Histogram",
        "bounds": "frechet_bounds.Bounds",
        "copula": "copula.Copula",
        "regime": "regime.Regime",
        "difficulty": "difficulty.Difficulty",
        "contagion": "contagion.Contagion",
        "beta": "beta.Beta",
        "tokens": "markov_tokens.Tokens",
        "ranks": "ranks.Ranks",
    },
)
SimpleModel = Annotated[AcceptanceModel, Named(SIMPLE)]
