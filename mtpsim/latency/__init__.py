"""Latency: distributions, mean times by depth and cost models, compiled to quantile tables."""

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from mtpsim.common.section import named
from mtpsim.latency.base import CompiledLatency, LatencySpec
from mtpsim.latency.costs import CostModel, Linear, Moe, Roofline
from mtpsim.latency.measured_table import Table
from mtpsim.latency.quantile_table import QuantileTable
from mtpsim.latency.stated_times import Latency

COSTS: dict[str, type[LatencySpec]] = {
    "times": Latency,
    "table": Table,
    "linear": Linear,
    "roofline": Roofline,
    "moe": Moe,
}


def _model_of(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("model", "times"))
    return str(getattr(value, "model", "times"))


AnyLatency = Annotated[
    Annotated[
        Annotated[Latency, Tag("times")]
        | Annotated[Table, Tag("table")]
        | Annotated[Linear, Tag("linear")]
        | Annotated[Roofline, Tag("roofline")]
        | Annotated[Moe, Tag("moe")],
        Discriminator(_model_of),
    ],
    named(list(COSTS), "times"),
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
