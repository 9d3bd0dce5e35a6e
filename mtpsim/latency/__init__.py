"""Latency: mean times by depth, cost models and noise, compiled to quantile tables."""

from typing import Annotated

from pydantic import Discriminator, Tag

from mtpsim.common.section import named
from mtpsim.latency.costs import CostModel, Linear, Moe, Roofline, Table
from mtpsim.latency.preset import Preset
from mtpsim.latency.quantile_table import QuantileTable
from mtpsim.latency.stated_times import CompiledLatency, Latency, LatencySpec, model_name
from mtpsim.latency.steps import Steps

COSTS: dict[str, type[LatencySpec]] = {
    "times": Latency,
    "steps": Steps,
    "table": Table,
    "linear": Linear,
    "roofline": Roofline,
    "moe": Moe,
    "preset": Preset,
}

AnyLatency = Annotated[
    Annotated[
        Annotated[Latency, Tag("times")]
        | Annotated[Steps, Tag("steps")]
        | Annotated[Table, Tag("table")]
        | Annotated[Linear, Tag("linear")]
        | Annotated[Roofline, Tag("roofline")]
        | Annotated[Moe, Tag("moe")]
        | Annotated[Preset, Tag("preset")],
        Discriminator(model_name),
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
    "Preset",
    "QuantileTable",
    "Roofline",
    "Steps",
    "Table",
]
