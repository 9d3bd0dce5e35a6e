"""A published number and ours, and functions that run the engine for it."""

from dataclasses import dataclass
from typing import Any

import tomli_w

import mtpsim

HALF_WIDTHS = 5 / 1.96  # 5 standard errors, of an interval at 95 %
NOISE = {"distribution": "lognormal", "cv": 0.1}
PLAIN = {"target": 20, "verify": 21, "draft": {"base": 0, "per_token": 1}}


@dataclass(frozen=True)
class Fact:
    """A published number and ours.

    Attributes:
        name: of the number.
        published: the published value.
        ours: the engine's value.
        slack: tolerance of the difference.
        why: origin of the tolerance, or of the known difference.
        differs: whether the two are known to differ; then they must.
        simulated: whether ours is random.
    """

    name: str
    published: float
    ours: float
    slack: float
    why: str
    differs: bool = False
    simulated: bool = False

    @property
    def agree(self) -> bool:
        """Whether the difference is within the tolerance."""
        return abs(self.ours - self.published) <= self.slack * (1 + 1e-9)

    @property
    def ok(self) -> bool:
        """Whether they agree, or differ where they are known to."""
        return self.agree != self.differs


def experiment(acceptance: dict[str, Any], latency: dict[str, Any], **sections: Any):  # type: ignore[no-untyped-def]
    """An experiment from its sections."""
    return mtpsim.parse(tomli_w.dumps({"acceptance": acceptance, "latency": latency, **sections}))


def simulated(acceptance: dict[str, Any], latency: dict[str, Any], requests: int, **sections: Any):  # type: ignore[no-untyped-def]
    """The only point of a run."""
    simulation = {"rounds": 200, "requests": requests, **sections.pop("simulation", {})}
    if "tokens" in simulation:
        del simulation["rounds"]
    found = mtpsim.run(experiment(acceptance, latency, simulation=simulation, **sections))
    (point,) = found.document["points"]
    return point


def shipped(name: str, requests: int) -> list[dict[str, Any]]:
    """Points of a shipped experiment with a reduced number of requests."""
    fewer = [f"simulation.requests={requests}"]
    found = mtpsim.run(mtpsim.load(f"experiments/{name}.toml", fewer))
    points: list[dict[str, Any]] = found.document["points"]
    return points


def near(name: str, published: float, interval: dict[str, Any], half_unit: float) -> Fact:
    """Compare a simulated number with a published one."""
    half = (interval["high"] - interval["low"]) / 2
    why = f"rounding {half_unit:g}, 5 standard errors {half * HALF_WIDTHS:.1g}"
    slack = half_unit + half * HALF_WIDTHS
    return Fact(name, published, interval["mean"], slack, why, simulated=True)


def rounded(name: str, published: float, ours: float, half_unit: float, **more: Any) -> Fact:
    """Compare an exact number with a published one."""
    return Fact(name, published, ours, half_unit, more.pop("why", "rounding"), **more)
