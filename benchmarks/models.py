"""The models that all programs simulate, and the check of their results."""

import time
from dataclasses import dataclass

import numpy as np

from mtpsim.acceptance import AcceptanceChain, Independent, Regime
from mtpsim.engine.simulate import KernelPlan, compile_plan, tally_block
from mtpsim.exact.chain_solver import solve
from mtpsim.kernels.round_clock import simulate_rounds
from mtpsim.kernels.token_clock import simulate_positions
from mtpsim.latency import Latency
from mtpsim.stats.control_variates import controlled, controls_of, log_pace
from mtpsim.stats.estimators import delta_method

RATES = np.array([[0.80, 0.74, 0.67]])
ACCEPT = np.array([[0.90, 0.85, 0.80], [0.50, 0.40, 0.30]])
TURN = 2**22  # rounds, as long as the turn of a peer: at first a kernel waits for the caches
LEAVE, ROUNDS, DEPTH, CV = np.array([0.05, 0.05]), 200, 3, 0.1
SIGMA = float(np.sqrt(np.log1p(CV**2)))
LATENCY = {
    "target": 76,
    "verify": [90, 104, 117],
    "draft": [8, 14, 22],
    "noise": {"distribution": "lognormal", "cv": CV},
}
MODELS = {
    "independent": "independent drafts",
    "round": "two states, round clock",
    "token": "two states, token clock",
}


def accept_of(name: str) -> np.ndarray:
    """Acceptance rates by state and draft, ``[S, 3]``."""
    return RATES if name == "independent" else ACCEPT


def chain_of(name: str) -> AcceptanceChain:
    if name == "independent":
        return Independent(model="independent", rates=RATES[0].tolist()).chain()
    return Regime(model="regime", clock=name, rates=ACCEPT.tolist(), sojourn=[20, 20]).chain()


def plan(chain: AcceptanceChain, rounds: int = ROUNDS) -> KernelPlan:
    latency, positions = LATENCY, range(chain.depth)
    if chain.depth != DEPTH:
        verify, draft = [90 + 14 * k for k in positions], [8 + 7 * k for k in positions]
        latency = {**LATENCY, "verify": verify, "draft": draft}
    compiled = Latency.model_validate(latency).compile(chain.depth)
    return compile_plan(chain, compiled, seed=1, rounds=rounds)


def kernel_run(chain: AcceptanceChain, requests: int, rounds: int = ROUNDS, shallow: int = 0):
    """A function that runs the kernel (CPU seconds per round), its rows, and their layout."""
    kernel = simulate_rounds if chain.clock == "round" else simulate_positions
    compiled = plan(chain, rounds)
    rows = np.zeros((requests, compiled.layout.columns))

    repeats = -(-TURN // (requests * rounds))

    def run() -> float:
        start = time.process_time()
        arguments = (compiled.source, compiled.noise, compiled.task, shallow, chain.depth, rows)
        for _ in range(repeats):
            kernel(np.uint64(compiled.key), 0, *arguments)
        return (time.process_time() - start) / (repeats * requests * rounds)

    run()
    return run, rows, compiled.layout


@dataclass(frozen=True)
class Estimate:
    """A speedup at depth 3, its relative variance times the number of rounds, and that number."""

    speedup: float
    variance: float
    rounds: int

    @property
    def error(self) -> float:
        return self.speedup * float(np.sqrt(self.variance / self.rounds))


def speed(depth: int = DEPTH) -> float:
    """Speedup of a round that yields one token."""
    return LATENCY["target"] / (LATENCY["verify"][depth - 1] + LATENCY["draft"][depth - 1])


def estimate(tokens, times, plain_tokens=None, plain_times=None, scale=1.0) -> Estimate:
    """Ratio of sums over requests; paired with depth 0 on the same noise if that is given."""
    parts = [(tokens, 1), (times, -1)]
    if plain_tokens is not None:
        parts += [(plain_tokens, -1), (plain_times, 1)]
    value, residual = scale, np.zeros(len(tokens))
    for totals, sign in parts:
        mean = np.mean(totals)
        value *= mean**sign
        residual += sign * (totals / mean)
    return Estimate(float(value), float(residual.var(ddof=1)) * ROUNDS, len(tokens) * ROUNDS)


def controlled_variance(name: str, requests: int) -> float:
    """Relative variance times rounds of mtpsim's speedup at depth 3 with control variates."""
    chain, compiled = chain_of(name), plan(chain_of(name))
    latency = Latency.model_validate(LATENCY).compile(DEPTH)
    controls = controls_of(chain, latency, compiled.layout, {"rounds": ROUNDS})
    tally = controlled(tally_block(compiled, 0, requests), controls)

    def log_speedup(means):
        return np.diff(log_pace(means, compiled.layout)[..., [0, DEPTH]], axis=-1)

    return float(delta_method(log_speedup, tally, 0.95).covariance[0, 0]) * requests * ROUNDS


def check(name: str, found: Estimate, label: str, depth: int = DEPTH) -> None:
    """Stop if an estimate differs from the exact speedup."""
    exact = solve(chain_of(name), depth, rounds=ROUNDS)
    truth = speed(depth) * float(exact.accept_length)
    if not abs(found.speedup - truth) < 5 * found.error:
        estimated = f"speedup {found.speedup} ±{found.error}, exact {truth}"
        raise SystemExit(f"{label}, {MODELS[name]}: {estimated}")
