"""The models that compile to a chain by themselves, by name: what a mixture can be made of."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator

from mtpsim.acceptance.base import AcceptanceModel
from mtpsim.acceptance.beta import Beta
from mtpsim.acceptance.bounds import Bounds
from mtpsim.acceptance.contagion import Contagion
from mtpsim.acceptance.copula import Copula
from mtpsim.acceptance.decay import Decay
from mtpsim.acceptance.difficulty import Difficulty
from mtpsim.acceptance.histogram import Histogram
from mtpsim.acceptance.independent import Independent
from mtpsim.acceptance.regime import Regime
from mtpsim.acceptance.tokens import Tokens
from mtpsim.problems import nearest

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
}


def named(names: list[str]) -> BeforeValidator:
    """Refuse a table whose ``model`` is none of ``names``, with the nearest one."""

    def check(value: Any) -> Any:
        name = value.get("model") if isinstance(value, dict) else None
        if not isinstance(value, dict) or (isinstance(name, str) and name in names):
            return value
        given = f"`model` is {name!r}" if name is not None else "`model` is missing"
        hint = nearest(str(name), names)
        raise ValueError(f"{given}; it must be one of {', '.join(names)}{hint}")

    return BeforeValidator(check)


SimpleModel = Annotated[
    Annotated[
        Independent
        | Decay
        | Histogram
        | Bounds
        | Copula
        | Regime
        | Difficulty
        | Contagion
        | Beta
        | Tokens,
        Discriminator("model"),
    ],
    named(list(SIMPLE)),
]
