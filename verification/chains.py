"""Random chains and horizons, and a twin of the kernels that reads the very same random words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtpsim.acceptance import AcceptanceChain
from mtpsim.common.arrays import Floats
from mtpsim.engine.simulate import KernelPlan, compile_plan, random_key
from mtpsim.latency import CompiledLatency, Latency
from verification.mixers import RIGHT

FLOOR = 0.05  # share of evenness in each law: no state is so rare that means are far from normal
NOISE = {"distribution": "lognormal", "cv": 0.3}


@dataclass(frozen=True)
class Case:
    """A chain, its times and a horizon of so many rounds, or so many tokens."""

    chain: AcceptanceChain
    latency: CompiledLatency
    rounds: int = 0
    tokens: int = 0

    @property
    def horizon(self) -> dict[str, int]:
        """As :func:`mtpsim.exact.chain_solver.solve` takes it."""
        return {"rounds": self.rounds, "tokens": self.tokens}

    def plan(self, seed: int) -> KernelPlan:
        """Compiled for the kernel."""
        return compile_plan(self.chain, self.latency, seed=seed, **self.horizon)


def laws(rng: np.random.Generator, evenness: float, shape: tuple[int, ...], states: int) -> Floats:
    """Random probability vectors ``[*shape, states]``."""
    drawn = rng.dirichlet(np.full(states, evenness), shape)
    return np.asarray((1 - FLOOR) * drawn + FLOOR / states)


def random_chain(
    rng: np.random.Generator, states: int, depth: int, outcomes: int
) -> AcceptanceChain:
    """Rates are uniform; a third of the chains have some that are 0 or 1 for sure."""
    accept = rng.random((states, depth))
    if rng.random() < 1 / 3:
        sure = rng.random((states, depth)) < 0.2
        accept = np.where(sure, np.where(rng.random((states, depth)) < 0.3, 0.0, 1.0), accept)
    step = laws(rng, 0.5, (outcomes, states), states)
    if rng.random() < 0.5:  # long stays
        step = 0.2 * step + 0.8 * np.eye(states)
    slow = rng.uniform(0.5, 2, states) if rng.random() < 0.5 else np.ones(states)
    clock = "round" if rng.random() < 0.5 else "token"
    return AcceptanceChain(laws(rng, 1.0, (), states), step, accept, clock, slow)  # type: ignore[arg-type]


def times(depth: int, noisy: bool) -> CompiledLatency:
    """A plain step of 17 ms, verify and draft that grow with the depth."""
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


class Walk:
    """One request after the other, draft by draft, on the words of its address.

    The state and the fate of a tick come from one uniform number: the interval is cut by next
    state, and the state's part again by acceptance. Probabilities are floats here, where kernels
    have thresholds on 31-bit words: they differ for at most one word in 2^32 at each of them.
    """

    def __init__(self, case: Case, depth: int, seed: int, requests: int) -> None:
        self.case, self.depth, self.draws = case, depth, 0
        ticks = (case.tokens + 8) if case.tokens else case.rounds * (depth + 1)
        ticks = -(-(ticks + depth) // 4) * 4
        self.words = RIGHT(random_key(seed), 0, 0, 0, ticks, requests)
        chain = case.chain
        self.start, self.step = chain.start.tolist(), chain.step.tolist()
        judged = chain.survival if chain.clock == "round" else chain.accept
        self.judged = judged.tolist()

    def _state(self, request: int, tick: int, law: list[float]) -> tuple[int, float]:
        """State that the word leads to, and where it lies within the state's part."""
        u = (int(self.words[tick, request] & np.uint32(0x7FFFFFFF)) + 0.5) / 2**31
        self.draws += 1
        below = 0.0
        for state, probability in enumerate(law):
            if u < below + probability or state == len(law) - 1:
                return state, (u - below) / probability
            below += probability
        raise AssertionError

    def request(self, request: int) -> list[float]:
        """Tokens, slow rounds, rounds, and rounds that accept 1..j."""
        case, slow, rounds, tokens, tick = self.case, 0.0, 0, 0, 0
        reached, law = [0] * self.depth, self.start
        play = self._round if case.chain.clock == "round" else self._positions
        while rounds < case.rounds or tokens < case.tokens:
            accepted, state, law, tick = play(request, tick, law)
            slow += case.chain.slowdown[state]
            rounds += 1
            tokens += accepted + 1
            for j in range(accepted):
                reached[j] += 1
        return [min(tokens, case.tokens or tokens), slow, rounds, *reached]

    def _round(self, request, tick, law):  # type: ignore[no-untyped-def]
        state, inside = self._state(request, tick, law)
        accepted = 0
        while accepted < self.depth and inside < self.judged[state][accepted]:
            accepted += 1
        return accepted, state, self.step[0 if accepted < self.depth else -1][state], tick + 1

    def _positions(self, request, tick, law):  # type: ignore[no-untyped-def]
        first = None
        for accepted in range(self.depth + 1):
            state, inside = self._state(request, tick + accepted, law)
            first = state if first is None else first
            judged = accepted < self.depth
            hit = judged and inside < self.judged[state][accepted]
            law = self.step[0 if judged and not hit else -1][state]
            if not hit:
                break
        return accepted, first, law, tick + accepted + 1
