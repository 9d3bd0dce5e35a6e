"""Latency: distributions and mean times by depth, compiled to quantile tables."""

from mtpsim.latency.model import CompiledLatency, Latency
from mtpsim.latency.table import QuantileTable

__all__ = ["CompiledLatency", "Latency", "QuantileTable"]
