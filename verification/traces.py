"""Published statistics of real requests: rates that rise with position, correlated rounds."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import optimize

from mtpsim.exact.chain_solver import count_moments, solve
from verification.published_fact import PLAIN, Fact, experiment, near, simulated
from verification.published_values import CONSTANT, TASKS


def chain_of(**keys: Any):  # type: ignore[no-untyped-def]
    """The chain of an acceptance model."""
    return experiment(keys, PLAIN).acceptance.chain()


def two_states(stay: float, good: float, bad: float) -> dict[str, Any]:
    """A two-state chain by rounds: drafts are good in one state, bad in the other."""
    rates = [[good, good, good], [bad, bad, bad]]
    return {"model": "regime", "clock": "round", "rates": rates, "sojourn": [stay, stay]}


def stay_for(
    wanted: float, rounds: int, measure: Callable[[Any], float], rates: tuple[float, float]
):  # type: ignore[no-untyped-def]
    """Mean stay (rounds) at which ``measure`` of a two-state chain has the wanted value."""

    def error(log_stay: float) -> float:
        chain = chain_of(**two_states(float(np.exp(log_stay)), *rates))
        return measure(count_moments(chain, 3, rounds)) - wanted

    return float(np.exp(optimize.brentq(error, np.log(2.001), np.log(1e5), xtol=1e-4)))


def traces(smoke: bool) -> Iterator[Fact]:
    """1,400 real requests: rates by position, and correlation of rounds."""
    rate = float(np.mean(CONSTANT))
    flat = solve(chain_of(model="independent", rate=rate, depth=5), 5).accept_length
    real = solve(chain_of(model="independent", rates=CONSTANT), 5).accept_length
    why = "rates differ from their mean by up to 0.02, and the length by 2.2 times that"
    yield Fact("one rate for all positions: accept length", real, flat, 0.045, why)
    for name, rates in TASKS.items():
        yield from rising(name, np.array(rates))
    for wanted in (0.08, 0.13, 0.27, 0.39) if not smoke else (0.27,):
        yield from correlated(wanted, 0.85, 0.35)
    if not smoke:
        yield from correlated(0.75, 0.95, 0.02)
        yield from too_narrow(1.4, 200)
        yield from too_narrow(26.0, 1000)
        yield from averages()
    shares = {"model": "regime", "clock": "round", "rates": [[0.9] * 4, [0.02] * 4]}
    found = solve(chain_of(**shares, sojourn=[10, 60]), 4).conditional
    why = "published 0.08-0.31, then 0.73-0.95: one of two states has nothing to copy"
    yield Fact("n-gram drafts: p1", 0.195, float(found[0]), 0.115, why)
    yield Fact("n-gram drafts: p2", 0.84, float(found[1]), 0.11, why)


def rising(name: str, rates: np.ndarray) -> Iterator[Fact]:
    """Rates that rise with the position because requests differ."""

    def error(p: np.ndarray) -> np.ndarray:
        mean, concentration = float(np.clip(p[0], 0.05, 0.95)), float(np.exp(p[1]))
        chain = chain_of(model="beta", mean=mean, concentration=concentration, depth=5)
        return np.asarray(solve(chain, 5, rounds=100).conditional - rates)

    fit = optimize.least_squares(error, [0.6, 2.0], max_nfev=40)
    why = f"Beta by request, mean {fit.x[0]:.2f}, concentration {np.exp(fit.x[1]):.1f}: "
    why += "largest error"
    yield Fact(f"{name}: a mixture of requests", 0.0, float(np.abs(fit.fun).max()), 0.05, why)
    level = float(np.abs(rates - rates.mean()).max())
    off = "one rate for all requests and positions cannot rise"
    yield Fact(f"{name}: independent drafts", 0.0, level, 0.05, off, differs=True)


def correlated(wanted: float, good: float, bad: float) -> Iterator[Fact]:
    """Lag-1 correlation of rounds, reproduced by a two-state chain."""
    stay = stay_for(wanted, 200, lambda m: float(m.autocorrelation(1)), (good, bad))
    point = simulated(two_states(stay, good, bad), PLAIN, 4_000)
    found = point["diagnostics"]["autocorrelation"]
    interval = {key: found[key][0] for key in ("mean", "low", "high")}
    yield near(f"lag-1 correlation; mean stay {stay:.1f} rounds", wanted, interval, 0.005)


def too_narrow(wanted: float, rounds: int) -> Iterator[Fact]:
    """Factor by which intervals that treat rounds as independent are too narrow."""
    stay = stay_for(wanted, rounds, lambda m: float(np.sqrt(m.design_effect)), (0.95, 0.05))
    point = simulated(two_states(stay, 0.95, 0.05), PLAIN, 4_000, simulation={"rounds": rounds})
    found = point["diagnostics"]["too_narrow"]
    name = f"too narrow by; requests of {rounds} rounds, mean stay {stay:.1f}"
    yield near(name, wanted, found, 0.05)


def averages() -> Iterator[Fact]:
    """The accept length averaged over requests, and pooled over rounds: 2.724 and 2.348."""

    def both(p: np.ndarray) -> np.ndarray:
        chain = chain_of(model="beta", mean=float(p[0]), concentration=float(np.exp(p[1])), depth=5)
        pooled = solve(chain, 5, tokens=512).accept_length
        by_request = float(chain.start @ (1 + chain.survival.sum(1)))
        return np.array([by_request - 2.724, pooled - 2.348])

    fit = optimize.least_squares(both, [0.6, 1.5], bounds=([0.1, -1], [0.9, 6]))
    mean, concentration = float(fit.x[0]), float(np.exp(fit.x[1]))
    keys = {"model": "beta", "mean": mean, "concentration": concentration, "depth": 5}
    point = simulated(keys, PLAIN, 20_000, simulation={"tokens": 512})
    why = f"Beta by request, mean {mean:.2f}, concentration {concentration:.1f}; "
    pooled = near("pooled accept length", 2.348, point["depths"][5]["accept_length"], 5e-4)
    yield replace(pooled, why=why + pooled.why)
    rows = {(row["definition"], row["weighting"]): row for row in point["trial"]["rows"]}
    survival = rows["survival", "request-mean"]["rates"]
    length = {key: 1 + sum(survival[key]) for key in ("mean", "low", "high")}
    mean_fact = near("request-mean accept length", 2.724, length, 5e-4)
    # A request of 512 tokens ends within its last round, which steady-state rates ignore.
    why = mean_fact.why + "; 0.01 for the end of requests"
    yield replace(mean_fact, slack=mean_fact.slack + 0.01, why=why)
