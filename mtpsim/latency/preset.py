"""Step times from published figures of a GPU and a model: a start before anything is measured."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator

from mtpsim.common.arrays import Floats
from mtpsim.common.errors import FieldError
from mtpsim.common.section import Probability, Spec
from mtpsim.latency.cost_model import CostModel, TokenCount
from mtpsim.latency.experts import OVERLAP, add_experts, check_overlap, experts_hit, overlap_text
from mtpsim.latency.step_costs import StepCosts, new_costs
from mtpsim.latency.times import Milliseconds

GIGA, TERA, MS = 1e9, 1e12, 1e3
EFFICIENCY = 0.75
"""Share of peak bandwidth and of peak arithmetic that decoding reaches.

Fitted steps of Llama-3.1-8B on one H100 (5.886 ms + 0.02101 ms per token) are 0.76 and 0.72.
"""


class Hardware(Spec):
    """Published figures of one GPU.

    Attributes:
        memory (float): GB.
        bandwidth (float): TB/s.
        flops16 (float): Dense TFLOP/s at 16 bits.
        flops8 (float): Dense TFLOP/s at 8 bits.
        source (str): Where the figures are from.
    """

    memory: float
    bandwidth: float
    flops16: float
    flops8: float
    source: str


class Experts(Spec):
    """Experts of a model: routed per layer, active per token, layers with experts, and width."""

    routed: int
    active: int
    layers: int
    width: int


class Network(Spec):
    """Published figures of a model.

    Attributes:
        parameters (float): Billions, all experts included.
        layers (int): Number of layers.
        hidden (int): Width of the hidden state.
        cache (int): Cached values per token and layer.
        vocabulary (int): Rows of the output matrix.
        experts (Experts | None): None for a dense model.
        source (str): Where the figures are from.
    """

    parameters: float
    layers: int
    hidden: int
    cache: int
    vocabulary: int
    experts: Experts | None = None
    source: str

    @property
    def embedding(self) -> float:
        """Parameters of the output matrix, and of the input embedding, of which little is read."""
        return float(self.vocabulary * self.hidden)

    @property
    def expert(self) -> float:
        """Parameters of one routed expert over all layers that have it; 0 for a dense model."""
        found = self.experts
        return 3.0 * self.hidden * found.width * found.layers if found else 0.0

    @property
    def shared(self) -> float:
        """Parameters that every pass reads: all but the routed experts and the input embedding."""
        routed = self.experts.routed if self.experts else 0
        return GIGA * self.parameters - self.embedding - routed * self.expert

    def experts_hit(
        self, tokens: Floats, requests: float = 0.0, overlap: float | None = None
    ) -> Floats:
        """Expected number of experts per layer that a pass over ``tokens`` ``[n]`` reads."""
        if self.experts is None:
            return np.zeros_like(tokens)
        return experts_hit(self.experts.routed, self.experts.active, tokens, requests, overlap)

    @property
    def active(self) -> float:
        """Parameters that one token is multiplied with."""
        return self.shared + (self.experts.active if self.experts else 0) * self.expert


@cache
def hardware() -> dict[str, Hardware]:
    """Every GPU by name."""
    return {name: Hardware(**entry) for name, entry in _data()["hardware"].items()}


@cache
def networks() -> dict[str, Network]:
    """Every model by name."""
    return {name: Network(**entry) for name, entry in _data()["network"].items()}


@cache
def _data() -> dict[str, dict[str, Any]]:
    text = files("mtpsim.latency").joinpath("presets.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


class Preset(CostModel):
    """Roofline of published figures: a pass is bound by memory or by arithmetic.

    ``overhead + max(bytes read / bandwidth, 2 active parameters B (k + 1) / arithmetic)``. A pass
    reads the shared weights, every expert that one of its tokens activates, and the cache.
    """

    model: Literal["preset"]
    hardware: str = Field(description="name of a GPU")
    network: str = Field(description="name of a model")
    gpus: Annotated[int, Field(ge=1, le=1024)] = Field(
        1, description="GPUs that share every pass; communication takes no time"
    )
    bits: Literal[16, 8, 4] = Field(16, description="bits per weight")
    cache_bits: Literal[16, 8] = Field(16, description="bits per cached value")
    efficiency: Annotated[float, Field(gt=0, le=1)] = Field(
        EFFICIENCY, description="share of peak bandwidth and peak arithmetic that is reached"
    )
    expert_overlap: Probability | None = Field(None, description=OVERLAP)
    cached: TokenCount = Field(0.0, description="cached tokens per request (context length)")
    overhead: Milliseconds = Field(0.0, description="fixed ms per step (host, kernel launch)")

    @field_validator("hardware", "network")
    @classmethod
    def _known(cls, given: str, info: ValidationInfo) -> str:
        names = list(hardware() if info.field_name == "hardware" else networks())
        found = next((name for name in names if name.casefold() == given.casefold()), None)
        if found is None:
            raise FieldError(f"unknown {info.field_name} {given!r}", given=given, allowed=names)
        return found

    @model_validator(mode="after")
    def _fits(self) -> Self:
        weights, memory = self._weights, self._memory
        if weights > memory:
            enough = int(-(-weights * self.gpus // memory))
            raise FieldError(
                f"{self.gpus} x {self.hardware} hold {memory / GIGA:,.0f} GB, and the weights of "
                f"{self.network} at {self.bits} bits are {weights / GIGA:,.0f} GB; "
                f"gpus = {enough} or more would hold them",
                key="gpus",
            )
        return self

    @model_validator(mode="after")
    def _has_overlap(self) -> Self:
        found = self._network.experts
        if self.expert_overlap is not None:
            if found is None:
                raise FieldError(f"{self.network} has no experts", key="expert_overlap")
            check_overlap(found.routed, found.active, self.expert_overlap)
        return self

    @property
    def _hardware(self) -> Hardware:
        return hardware()[self.hardware]

    @property
    def _network(self) -> Network:
        return networks()[self.network]

    @property
    def _weights(self) -> float:
        """Bytes of all weights."""
        return GIGA * self._network.parameters * self.bits / 8

    @property
    def _memory(self) -> float:
        """Bytes of memory of all GPUs."""
        return GIGA * self.gpus * self._hardware.memory

    @property
    def _cache(self) -> float:
        """Bytes of the cache of one request."""
        network = self._network
        return network.layers * network.cache * self.cached * self.cache_bits / 8

    def _read(self, size: Floats | float) -> Floats:
        """Time in ms to read so many bytes."""
        rate = TERA * self._hardware.bandwidth * self.gpus * self.efficiency
        return np.asarray(MS * size / rate)

    def _weights_read(self, tokens: Floats, requests: float) -> Floats:
        """Bytes ``[n]`` of the weights that passes over ``tokens`` ``[n]`` read."""
        network = self._network
        hit = network.experts_hit(tokens, requests, self.expert_overlap)
        return (network.shared + network.expert * hit) * self.bits / 8

    def _arithmetic(self, tokens: Floats) -> Floats:
        """Time ``[n]`` in ms of the arithmetic of passes over ``tokens`` ``[n]``."""
        flops = self._hardware.flops16 if self.bits == 16 else self._hardware.flops8
        rate = TERA * flops * self.gpus * self.efficiency
        return np.asarray(MS * 2 * self._network.active * tokens / rate)

    def step(self, batch: float, depth: Floats) -> Floats:
        """Time of a step at each depth, ``[n]`` ms."""
        tokens = batch * (depth + 1)
        size = self._weights_read(tokens, batch) + batch * self._cache
        return self.overhead + np.maximum(self._read(size), self._arithmetic(tokens))

    def pass_costs(self, draft: Floats, tokens: Floats) -> StepCosts:
        """Costs of passes over ``tokens`` ``[T + 1]``, from the formula."""
        network, found = self._network, self._network.experts
        cached = network.layers * network.cache * self.cache_bits / 8
        shared = self._read(np.full(tokens.size, network.shared * self.bits / 8))
        costs = new_costs(draft, shared[None])._replace(
            compute=self._arithmetic(tokens),
            overhead=self.overhead,
            per_cached=float(self._read(cached)),
        )
        if found is None:
            return costs
        one = float(self._read(network.expert * self.bits / 8))
        return add_experts(costs, one, found.routed, found.active, self.expert_overlap)

    def draft_read(self) -> float:
        """Time in ms to read what an MTP layer reads per draft: a layer and the output matrix."""
        network = self._network
        layer = (network.active - network.embedding) / network.layers
        return float(self._read((layer + network.embedding) * self.bits / 8))

    def formula(self) -> str:
        """The time of a step as text."""
        gpus = f"{self.gpus} x " * (self.gpus > 1)
        return (
            f"preset, not measured: {self.network}, {self.bits} bits, on {gpus}{self.hardware} at "
            f"{100 * self.efficiency:g} % of peak{overlap_text(self.expert_overlap)}"
        )

    def describe(self) -> list[str]:
        """The section as text, one line per part."""
        return [
            *super().describe(),
            f"to read one layer and the output matrix, as an MTP layer does per draft: "
            f"{self.draft_read():.3g} ms",
            f"sources: {self._hardware.source}; {self._network.source}",
        ]

    def _beyond_memory(self) -> list[str]:
        """A warning where the cache of the batch does not fit beside the weights."""
        needed = self._weights + self.batch * self._cache
        if needed <= self._memory:
            return []
        fit = int((self._memory - self._weights) // self._cache)
        return [
            f"the weights and the cache of {self.batch:,g} requests take {needed / GIGA:,.0f} GB, "
            f"but {self.gpus} x {self.hardware} hold {self._memory / GIGA:,.0f} GB: at most "
            f"{fit:,} requests fit"
        ]

    def warnings(self) -> list[str]:
        """Warnings for a reader of the results, without repetition."""
        return [
            *self._beyond_memory(),
            f"step times are a preset, not measured: published figures of {self.hardware} and "
            f"{self.network} at {100 * self.efficiency:g} % of peak; measure a few steps and fit "
            "them with `mtpsim fit` before you rely on the depth",
            *super().warnings(),
        ]
