"""Random chains, times and horizons; and faulty cases, which the kernel plays in their place."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mtpsim.acceptance import AcceptanceChain
from mtpsim.common.arrays import Floats
from mtpsim.engine.simulate import KernelPlan, compile_plan
from mtpsim.latency import CompiledLatency, Latency

FLOOR = 0.05  # uniform share of each distribution: means over rare states would be far from normal
NOISE = {"distribution": "lognormal", "cv": 0.3}


@dataclass(frozen=True)
class Case:
    """A chain, its times and a horizon in rounds or in tokens."""

    chain: AcceptanceChain
    latency: CompiledLatency
    rounds: int = 0
    tokens: int = 0

    @property
    def limit(self) -> dict[str, int]:
        """The one limit that is set, as the naive simulators take it."""
        return {"rounds": self.rounds} if self.rounds else {"tokens": self.tokens}

    @property
    def horizon(self) -> dict[str, int]:
        """Arguments of :func:`mtpsim.exact.chain_solver.solve`."""
        return {"rounds": self.rounds, "tokens": self.tokens}

    def plan(self, seed: int) -> KernelPlan:
        """Compiled for the kernel."""
        return compile_plan(self.chain, self.latency, seed=seed, **self.horizon)


def distributions(
    rng: np.random.Generator, concentration: float, shape: tuple[int, ...], states: int
) -> Floats:
    """Random probability vectors ``[*shape, states]``."""
    drawn = rng.dirichlet(np.full(states, concentration), shape)
    return np.asarray((1 - FLOOR) * drawn + FLOOR / states)


def random_chain(
    rng: np.random.Generator, states: int, depth: int, outcomes: int
) -> AcceptanceChain:
    """Rates are uniform; a third of the chains have some rates of exactly 0 or 1."""
    accept = rng.random((states, depth))
    if rng.random() < 1 / 3:
        sure = rng.random((states, depth)) < 0.2
        accept = np.where(sure, np.where(rng.random((states, depth)) < 0.3, 0.0, 1.0), accept)
    step = distributions(rng, 0.5, (outcomes, states), states)
    if rng.random() < 0.5:  # long stays
        step = 0.2 * step + 0.8 * np.eye(states)
    slow = rng.uniform(0.5, 2, states) if rng.random() < 0.5 else np.ones(states)
    clock = "round" if rng.random() < 0.5 else "token"
    return AcceptanceChain(distributions(rng, 1.0, (), states), step, accept, clock, slow)  # type: ignore[arg-type]


def times(depth: int, noisy: bool) -> CompiledLatency:
    """A plain step of 17 ms, verify and draft times that grow with the depth."""
    keys = {
        "target": 17,
        "verify": [20.0 + 3 * k for k in range(1, depth + 1)],
        "draft": [2.0 * k for k in range(1, depth + 1)],
    }
    return Latency.model_validate({**keys, "noise": NOISE} if noisy else keys).compile(depth)


def random_case(
    seed: int,
    most_states: int = 8,
    most_depth: int = 8,
    most_outcomes: int = 2,
    noisy: bool | None = None,
) -> Case:
    """Case number ``seed``; its horizon is up to 30 rounds or 60 tokens."""
    rng = np.random.default_rng([2024, seed])
    states, depth = int(rng.integers(1, most_states + 1)), int(rng.integers(1, most_depth + 1))
    chain = random_chain(rng, states, depth, int(rng.integers(1, most_outcomes + 1)))
    by_rounds, rounds, tokens = rng.random() < 0.5, rng.integers(1, 31), rng.integers(1, 61)
    drawn = bool(rng.random() < 0.3)
    latency = times(depth, drawn if noisy is None else noisy)
    return Case(chain, latency, int(rounds) * by_rounds, int(tokens) * (not by_rounds))


Fault = Callable[[int, Case], Case | None]  # of a seed and its case; None where it does not apply


def changed(
    applies: Callable[[Any], Any] = lambda chain: chain.states > 1, **change: Callable[[Any], Any]
) -> Fault:
    """A fault that replaces arrays of the chain, each by a function of the chain."""

    def fault(seed: int, case: Case) -> Case | None:
        new = {name: function(case.chain) for name, function in change.items()}
        return replace(case, chain=replace(case.chain, **new)) if applies(case.chain) else None

    return fault


def one_wrong_rate(seed: int, case: Case) -> Case:
    """In a single chain, one rate of one state is off by two percentage points."""
    accept = case.chain.accept.copy()
    at = int(case.chain.start.argmax()), 0
    accept[at] += 0.02 if accept[at] < 0.9 else -0.02
    return replace(case, chain=replace(case.chain, accept=accept)) if seed == 5 else case


def slow_states(chain: AcceptanceChain) -> Any:
    return chain.states > 1 and (chain.slowdown != 1).any()


def steered(chain: AcceptanceChain) -> bool:
    return chain.states > 1 and len(chain.step) == 2


FAULTS: dict[str, Fault] = {
    "all rates 0.2 % too low": changed(lambda _: True, accept=lambda chain: chain.accept * 0.998),
    "one rate of one chain off by 0.02": one_wrong_rate,
    "outcomes swapped": changed(steered, step=lambda chain: chain.step[::-1].copy()),
    "slowdown of another state": changed(
        slow_states, slowdown=lambda chain: np.roll(chain.slowdown, 1)
    ),
    "state redrawn at every tick": changed(
        step=lambda chain: np.broadcast_to(chain.start, chain.step.shape).copy()
    ),
    "the other clock": changed(
        clock=lambda chain: {"token": "round", "round": "token"}[chain.clock]
    ),
    "one token more": lambda _, case: (
        replace(case, tokens=case.tokens + 1) if case.tokens else None
    ),
}
