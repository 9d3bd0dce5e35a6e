"""Latency: mean times by depth, cost models and noise, compiled to quantile tables."""

from typing import Annotated

from mtpsim.common.section import Named
from mtpsim.latency.costs import CostModel, Linear, Moe, Roofline, Table
from mtpsim.latency.preset import Preset
from mtpsim.latency.quantile_table import QuantileTable
from mtpsim.latency.stated_times import CompiledLatency, Latency, LatencySpec
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
    Latency | Steps | Table | Linear | Roofline | Moe | Preset, Named(COSTS, "times")
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
