"""Latency: distributions, mean times by depth and cost models, compiled to quantile tables."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Tag

from mtpsim.latency.base import CompiledLatency, LatencySpec
from mtpsim.latency.costs import CostModel, Linear, Moe, Roofline
from mtpsim.latency.measured import Table
from mtpsim.latency.model import Latency
from mtpsim.latency.table import QuantileTable
from mtpsim.problems import nearest

COSTS: dict[str, type[LatencySpec]] = {
    "times": Latency,
    "table": Table,
    "linear": Linear,
    "roofline": Roofline,
    "moe": Moe,
}


def _model_of(value: Any) -> str:
    model = value.get("model", "times") if isinstance(value, dict) else value.model
    return str(model)


def _known(value: Any) -> Any:
    name = value.get("model", "times") if isinstance(value, dict) else "times"
    if name not in list(COSTS):
        hint = nearest(str(name), list(COSTS))
        raise ValueError(f"`model` is {name!r}; it must be one of {', '.join(COSTS)}{hint}")
    if isinstance(value, dict | LatencySpec):
        return value
    raise ValueError(f"{value!r} is given; it must be a table")


AnyLatency = Annotated[
    Annotated[
        Annotated[Latency, Tag("times")]
        | Annotated[Table, Tag("table")]
        | Annotated[Linear, Tag("linear")]
        | Annotated[Roofline, Tag("roofline")]
        | Annotated[Moe, Tag("moe")],
        Discriminator(_model_of),
    ],
    BeforeValidator(_known),
]

__all__ = [
    "COSTS",
    "AnyLatency",
    "CompiledLatency",
    "CostModel",
    "Latency",
    "LatencySpec",
    "Linear",
    "Moe",
    "QuantileTable",
    "Roofline",
    "Table",
]
