"""Latency: mean times by depth, cost models and noise, compiled to quantile tables."""

from typing import Annotated

from mtpsim.common.section import Imported, Named
from mtpsim.latency.cost_model import CostModel
from mtpsim.latency.quantile_table import QuantileTable
from mtpsim.latency.stated_times import CompiledLatency, Latency, LatencySpec

COSTS: Imported[LatencySpec] = Imported(
    __name__,
    {
        "times": "stated_times.Latency",
        "steps": "steps.Steps",
        "table": "costs.Table",
        "linear": "costs.Linear",
        "roofline": "costs.Roofline",
        "moe": "costs.Moe",
        "preset": "preset.Preset",
    },
)
AnyLatency = Annotated[LatencySpec, Named(COSTS, "times")]
__getattr__ = COSTS

__all__ = [
    "COSTS",
    "AnyLatency",
    "CompiledLatency",
    "CostModel",
    "Latency",
    "LatencySpec",
    "QuantileTable",
]
