"""Does the engine give what was published? Papers, engines' benchmarks, traces, the founding case.

Each number is asked of the engine as a user would: an experiment is run, or its chain is solved.
A tolerance is what the rounding of the published number leaves open, and that of its inputs where
they are rounded too (the engine is then asked at both ends); a simulated number may be off by 5
standard errors more. Models that the published numbers were not made from (a fit of two numbers to
eight, say) are held to the deviation that is stated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from scipy import optimize

import mtpsim
from mtpsim.exact import count_moments, solve, speedups
from verification.check import Check, Table

HALF_WIDTHS = 5 / 1.96  # 5 standard errors, of an interval at 95 %
FALSE_ALARM = 6e-7  # of one simulated number
ARTICLE = Path("experiments/article.toml")


@dataclass(frozen=True)
class Fact:
    """A published number and ours.

    Attributes:
        name: of the number.
        published: what was printed.
        ours: what the engine gives.
        slack: how far apart they may be.
        why: where the slack comes from.
        differs: the two are known to differ, and why is told; the fact is then that they do.
        simulated: ours is random.

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
        """Within the slack."""
        return abs(self.ours - self.published) <= self.slack * (1 + 1e-9)

    @property
    def ok(self) -> bool:
        """As it should be."""
        return self.agree != self.differs


def experiment(acceptance: dict[str, Any], latency: dict[str, Any], **sections: Any):  # type: ignore[no-untyped-def]
    """An experiment from its sections."""
    return mtpsim.parse(tomli_w.dumps({"acceptance": acceptance, "latency": latency, **sections}))


def simulated(acceptance: dict[str, Any], latency: dict[str, Any], requests: int, **sections: Any):  # type: ignore[no-untyped-def]
    """The one point of a run."""
    simulation = {"rounds": 200, "requests": requests, **sections.pop("simulation", {})}
    if "tokens" in simulation:
        del simulation["rounds"]
    found = mtpsim.run(experiment(acceptance, latency, simulation=simulation, **sections))
    (point,) = found.document["points"]
    return point


def shipped(name: str, requests: int) -> list[dict[str, Any]]:
    """Points of a shipped experiment, with fewer requests."""
    path = Path("experiments") / f"{name}.toml"
    lines = path.read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith(("precision", "requests")))
    text = text.replace("[simulation]", f"[simulation]\nrequests = {requests}")
    found = mtpsim.run(mtpsim.parse(text, folder=path.parent))
    points: list[dict[str, Any]] = found.document["points"]
    return points


def near(name: str, published: float, interval: dict[str, Any], half_unit: float) -> Fact:
    """A simulated number against a printed one."""
    half = (interval["high"] - interval["low"]) / 2
    why = f"rounding {half_unit:g}, 5 standard errors {half * HALF_WIDTHS:.1g}"
    slack = half_unit + half * HALF_WIDTHS
    return Fact(name, published, interval["mean"], slack, why, simulated=True)


def rounded(name: str, published: float, ours: float, half_unit: float, **more: Any) -> Fact:
    """An exact number against a printed one."""
    return Fact(name, published, ours, half_unit, more.pop("why", "rounding"), **more)


def founding_case(smoke: bool) -> Iterator[Fact]:
    """Rates .80 .74 .67; verify 90 104 117; draft 8 14 22; target 76 ms."""
    (point,) = shipped("article", 3_000 if smoke else 50_000)
    printed = {
        "accept_length": ([1.8, 2.392, 2.78864], 5e-6),
        "speedup": ([1.395918, 1.540610, 1.524724], 5e-7),
        "marginal": ([1.3959, 1.1037, 0.9897], 5e-5),
    }
    for quantity, (values, half_unit) in printed.items():
        for depth, value in enumerate(values, 1):
            found = point["depths"][depth][quantity]
            name = f"{quantity.replace('_', ' ')}, depth {depth}"
            yield rounded(f"{name}, closed form", value, found["theory"], half_unit)
            if quantity != "marginal":
                yield rounded(f"{name}, exact", value, found["exact"], half_unit)
            yield near(f"{name}, simulated", value, found, half_unit)
    yield rounded("break-even p3", 0.7191, point["depths"][3]["break_even_rate"], 5e-5)
    yield rounded("best depth", 2, point["advice"]["depth"], 0, why="a whole number")
    told = "the article rounds on the way: 181.6 / 118 is 1.539 by its own numbers"
    for name, value, quantity, depth in (
        ("speedup, depth 1", 1.39, "speedup", 1),
        ("speedup, depth 2", 1.55, "speedup", 2),
        ("speedup, depth 3", 1.53, "speedup", 3),
        ("marginal, depth 2", 1.11, "marginal", 2),
        ("marginal, depth 3", 0.99, "marginal", 3),
    ):
        ours, fine = point["depths"][depth][quantity]["theory"], value == 0.99
        why = "rounding" if fine else told
        yield rounded(
            f"as the article prints it: {name}", value, ours, 0.005, why=why, differs=not fine
        )


def geometric(alpha: float, gamma: int, cost: float) -> tuple[float, float]:
    """Exact accept length and speedup of one rate, a draft of so many target steps a token."""
    asked = experiment(
        {"model": "independent", "rate": alpha, "depth": gamma},
        {"target": 1, "verify": 1, "draft": {"base": 0, "per_token": cost}},
    )
    chain = asked.acceptance.chain()
    times = asked.latency.compile(gamma).round_time
    return solve(chain, gamma).accept_length, float(speedups(chain, times)[-1])


TABLE_1 = [
    (0.6, 2, 1.53, 1.96),
    (0.7, 3, 1.58, 2.53),
    (0.8, 2, 1.23, 2.44),
    (0.8, 5, 1.63, 3.69),
    (0.9, 2, 1.11, 2.71),
    (0.9, 10, 1.60, 6.86),
]
TABLE_4 = [
    *((0.75, 7, 0.02, 3.2), (0.80, 7, 0.04, 3.3), (0.82, 7, 0.11, 2.5), (0.62, 7, 0.02, 2.3)),
    *((0.65, 5, 0.02, 2.4), (0.73, 5, 0.04, 2.6), (0.74, 3, 0.11, 2.0), (0.53, 5, 0.02, 1.9)),
    *((0.55, 3, 0.04, 1.8), (0.68, 5, 0.04, 2.4), (0.71, 3, 0.11, 2.0), (0.56, 3, 0.11, 1.6)),
]


def leviathan_1(smoke: bool) -> Iterator[Fact]:
    """Leviathan et al. 2023, table 1: operations and speedup where drafts cost nothing."""
    for alpha, gamma, operations, speedup in TABLE_1:
        length, fast = geometric(alpha, gamma, 0.0)
        name = f"rate {alpha}, {gamma} drafts"
        yield rounded(f"{name}: operations", operations, (gamma + 1) / length, 0.005)
        yield rounded(f"{name}: speedup", speedup, fast, 0.005)
        if smoke and alpha != 0.8:
            continue
        keys = {"model": "independent", "rate": alpha, "depth": gamma}
        point = simulated(keys, {"target": 1, "verify": 1, "draft": 0}, 2_000)
        found = point["depths"][gamma]["speedup"]
        yield near(f"{name}: speedup, simulated", speedup, found, 0.005)


def leviathan_4(smoke: bool) -> Iterator[Fact]:
    """Leviathan et al. 2023, table 4: expected speedups of measured rates and costs."""
    for alpha, gamma, cost, speedup in TABLE_4:
        mid = geometric(alpha, gamma, cost)[1]
        low = geometric(alpha - 0.005, gamma, cost + 0.005)[1]
        high = geometric(alpha + 0.005, gamma, cost - 0.005)[1]
        open_ = max(high - mid, mid - low)
        why = f"rounding .05, and of rate and cost [{low:.2f}, {high:.2f}]"
        plain = abs(mid - speedup) <= 0.05
        why += "" if plain else "; not within its own rounding alone"
        name = f"rate {alpha}, {gamma} drafts at {cost}"
        yield rounded(name, speedup, mid, 0.05 + open_, why=why)


def deepseek(smoke: bool) -> Iterator[Fact]:
    """DeepSeek-V3, depth 1: acceptance of 85-90 %, 1.8 times the tokens a second."""
    for rate, cost in ((0.85, 1.03), (0.90, 1.06)):
        keys = {"model": "independent", "rates": [rate]}
        times = {"target": 100, "verify": 100 * cost - 2, "draft": 2, "noise": NOISE}
        found = simulated(keys, times, 1_000 if smoke else 10_000)["depths"][1]["speedup"]
        yield near(f"acceptance {rate}, a round of {cost} steps", 1.8, found, 0.05)


NOISE = {"distribution": "lognormal", "cv": 0.1}
VLLM_8 = [0.7568, 0.6011, 0.4976, 0.4113, 0.3538, 0.2980, 0.2608, 0.2229]


def vllm(smoke: bool) -> Iterator[Fact]:
    """vLLM, one model and data set at depths 1 and 8: survival rates, lengths, times a token."""
    requests = 2_000 if smoke else 20_000
    for survival, length, token, ms in (
        ([0.8359], 1.84, 37.18, 68.4),
        (VLLM_8, 4.40, 27.48, 120.9),
    ):
        depth = len(survival)
        keys = {"model": "independent", "rates": survival, "rates_are": "survival"}
        draft = {"base": 0, "per_token": 5}
        times = {"target": 58, "verify": ms - 5 * depth, "draft": draft, "noise": NOISE}
        found = simulated(keys, times, requests)["depths"][depth]
        yield near(f"accept length, depth {depth}", length, found["accept_length"], 0.005)
        ours = found["round_time"]["mean"] / found["accept_length"]["mean"]
        half = 0.005 + ours * (0.05 / ms + 0.005 / length)
        why = f"rounding of ms a round and of the accept length, {half:.2g} ms"
        yield Fact(f"ms a token, depth {depth}", token, ours, half, why, simulated=True)
    points = {p["set"]["acceptance.clock"]: p for p in shipped("regimes", requests // 2)}
    told = "two states fitted to 9 numbers: .01 of a rate, .05 of a length"
    for depth, length, slack in ((1, 1.84, 0.01), (8, 4.40, 0.05)):
        ours = points["token"]["depths"][depth]["accept_length"]["exact"]
        yield Fact(f"accept length, depth {depth}, by two states", length, ours, slack, told)
    for clock, point in points.items():
        p1 = [rates["mean"][0] for rates in point["diagnostics"]["rates_by_depth"]]
        why = told if clock == "token" else "a state that moves by rounds leaves p1 as it is"
        name = f"fall of p1 from depth 1 to 8, {clock} clock"
        yield Fact(name, 0.079, p1[0] - p1[-1], 0.01, why, clock == "round", True)


CURVES = {
    "DeepSeek-V4-Pro MTP": [1.79, 2.27, 2.49, 2.54, 2.55, 2.55, 2.54, 2.58],
    "GLM-5.2 MTP": [1.84, 2.50, 2.99, 3.33, 3.61, 3.78, 3.91, 4.06],
    "Kimi-K2.5 EAGLE3": [1.83, 2.43, 2.88, 3.24, 3.46, 3.62, 3.71, 3.77],
}


def decaying(first: float, factor: float) -> np.ndarray:
    """Exact accept lengths at depths 1 to 8 of a rate that decays with the position."""
    keys = {"model": "decay", "first": first, "factor": factor, "depth": 8}
    chain = experiment(keys, {"target": 1, "verify": 1, "draft": 0}).acceptance.chain()
    return np.array([solve(chain, k).accept_length for k in range(1, 9)])


def curves(smoke: bool) -> Iterator[Fact]:
    """Accept length by depth, three models."""
    for name, lengths in CURVES.items():
        published = np.array(lengths)
        fit = optimize.minimize(
            lambda p, y=published: float(np.abs(decaying(*np.clip(p, 0.01, 1)) - y).max()),
            [lengths[0] - 1, 0.9],
            method="Nelder-Mead",
            options={"maxfev": 60 if smoke else 200},
        )
        slack = 0.03 if "DeepSeek" in name else 0.05
        first, factor = fit.x
        why = f"first rate {first:.3f}, decay {factor:.3f}: largest of 8 deviations"
        yield Fact(f"{name}: two numbers for the curve", 0.0, float(fit.fun), slack, why)
        p1 = lengths[0] - 1
        keys = {"model": "independent", "rate": p1, "depth": 5}
        chain = experiment(keys, {"target": 1, "verify": 1, "draft": 0}).acceptance.chain()
        carried = solve(chain, 5).accept_length
        if "DeepSeek" in name:
            yield rounded(f"{name}: p1 carried to depth 5 promises", 3.60, carried, 0.005)
        off = "the rates decay: carrying p1 promises too much"
        yield Fact(f"{name}: length at depth 5", lengths[4], carried, 0.02, off, differs=True)
    steep = np.array(CURVES["DeepSeek-V4-Pro MTP"][:4])
    reach = np.diff(np.concatenate([[1.0], steep]))
    conditional = reach / np.concatenate([[1.0], reach[:-1]])
    keys = {"model": "independent", "rates": conditional.tolist()}
    point = simulated(keys, {"target": 1, "verify": 1, "draft": 0}, 2_000)
    for position, (rate, ours) in enumerate(
        zip((0.79, 0.61, 0.46, 0.23), point["measured"]["conditional"], strict=True), 1
    ):
        why = "rounding .005, 5 standard errors .015"
        yield Fact(f"V4-Pro: measured p{position}", rate, ours, 0.02, why, simulated=True)


def h100(smoke: bool) -> Iterator[Fact]:
    """H100, Llama-3.1-8B with EAGLE: verify 5.886 + .02101 B (K + 1) + 3.93e-5 kv, draft 2.135."""
    for batch, depth, cached in ((1, 1, 0), (16, 3, 1000), (64, 2, 4000), (256, 4, 500)):
        times = {
            **{"model": "linear", "overhead": 1.207, "base": 5.886, "per_token": 0.02101},
            **{"per_cached": 3.93e-5, "cached": cached, "batch": batch, "draft": 2.135},
        }
        keys = {"model": "decay", "first": 0.75, "factor": 0.97, "depth": depth}
        verify = 5.886 + 0.02101 * batch * (depth + 1) + 3.93e-5 * batch * cached
        value, name = 1.207 + verify + 2.135, f"batch {batch}, depth {depth}, {cached} cached"
        asked = experiment(keys, times)
        ours = float(asked.latency.compile(depth).round_time[depth])
        yield rounded(f"ms a round, {name}", value, ours, 1e-9, why="the same formula")
        if not smoke:
            found = simulated(keys, {**times, "noise": NOISE}, 2_000)["depths"][depth]
            yield near(f"ms a round, {name}, simulated", value, found["round_time"], 1e-9)


THROUGHPUT = {
    1: [130, 236, 469, 795, 1265, 2090, 3391],
    2: [167, 286, 581, 972, 1540, 2497, 3836],
    3: [195, 350, 648, 1075, 1766, 2761, 4106],
    4: [204, 371, 709, 1113, 1704, 2707, 3954],
}


def throughput(smoke: bool) -> Iterator[Fact]:
    """GLM-4.7-FP8: tokens a second by depth and batch; times of a round were made from them."""
    points = shipped("throughput", 1_000 if smoke else 10_000)
    for column, point in enumerate(points):
        batch = point["set"]["latency.batch"]
        for depth, values in THROUGHPUT.items():
            found = point["depths"][depth]
            ours = 1000 * batch * found["accept_length"]["mean"] / found["round_time"]["mean"]
            slack = 0.5 + ours * 0.005
            why = "rounding .5; .5 % for rounded times and lengths, and chance"
            name = f"tokens/s, batch {batch}, depth {depth}"
            yield Fact(name, values[column], ours, slack, why, simulated=True)
        best = 1 + int(np.argmax([values[column] for values in THROUGHPUT.values()]))
        ours = point["advice"]["depth"]
        yield Fact(f"best depth, batch {batch}", best, ours, 0, "a whole number", simulated=True)


TASKS = {
    "first rising task": [0.605, 0.596, 0.647, 0.695, 0.729],
    "second rising task": [0.608, 0.641, 0.692, 0.749, 0.769],
}
CONSTANT = [0.667, 0.646, 0.636, 0.659, 0.629]
PLAIN = {"target": 20, "verify": 21, "draft": {"base": 0, "per_token": 1}}


def chain_of(**keys: Any):  # type: ignore[no-untyped-def]
    """The chain of an acceptance model."""
    return experiment(keys, PLAIN).acceptance.chain()


def two_states(stay: float, good: float, bad: float) -> dict[str, Any]:
    """Stretches in which drafts are good, and others, by rounds."""
    rates = [[good, good, good], [bad, bad, bad]]
    return {"model": "regime", "clock": "round", "rates": rates, "sojourn": [stay, stay]}


def stay_for(
    wanted: float, rounds: int, measure: Callable[[Any], float], rates: tuple[float, float]
):  # type: ignore[no-untyped-def]
    """Mean stay at which a two-state chain shows what is wanted."""

    def off(log_stay: float) -> float:
        chain = chain_of(**two_states(float(np.exp(log_stay)), *rates))
        return measure(count_moments(chain, 3, rounds)) - wanted

    return float(np.exp(optimize.brentq(off, np.log(2.001), np.log(1e5), xtol=1e-4)))


def traces(smoke: bool) -> Iterator[Fact]:
    """1,400 real requests: rates by position, and how rounds hang together."""
    rate = float(np.mean(CONSTANT))
    flat = solve(chain_of(model="independent", rate=rate, depth=5), 5).accept_length
    real = solve(chain_of(model="independent", rates=CONSTANT), 5).accept_length
    why = "rates lie up to .02 from their mean, and a length moves by 2.2 times that"
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
    why = "of published .08-.31, and .73-.95 behind it: one of two states has nothing to copy"
    yield Fact("n-gram drafts: p1", 0.195, float(found[0]), 0.115, why)
    yield Fact("n-gram drafts: p2", 0.84, float(found[1]), 0.11, why)


def rising(name: str, rates: np.ndarray) -> Iterator[Fact]:
    """Rates that rise with the position: requests differ."""

    def off(p: np.ndarray) -> np.ndarray:
        mean, concentration = float(np.clip(p[0], 0.05, 0.95)), float(np.exp(p[1]))
        chain = chain_of(model="beta", mean=mean, concentration=concentration, depth=5)
        return np.asarray(solve(chain, 5, rounds=100).conditional - rates)

    fit = optimize.least_squares(off, [0.6, 2.0], max_nfev=40)
    why = f"Beta by request, mean {fit.x[0]:.2f}, concentration {np.exp(fit.x[1]):.1f}: worst rate"
    yield Fact(f"{name}: a mixture of requests", 0.0, float(np.abs(fit.fun).max()), 0.05, why)
    level = float(np.abs(rates - rates.mean()).max())
    told = "one rate for all requests and positions can't rise"
    yield Fact(f"{name}: independent drafts", 0.0, level, 0.05, told, differs=True)


def correlated(wanted: float, good: float, bad: float) -> Iterator[Fact]:
    """Correlation of neighbouring rounds: a stretch of good and one of bad drafts makes it."""
    stay = stay_for(wanted, 200, lambda m: float(m.autocorrelation(1)), (good, bad))
    point = simulated(two_states(stay, good, bad), PLAIN, 4_000)
    found = point["diagnostics"]["autocorrelation"]
    interval = {key: found[key][0] for key in ("mean", "low", "high")}
    yield near(f"lag-1 correlation; stretches of {stay:.1f} rounds", wanted, interval, 0.005)


def too_narrow(wanted: float, rounds: int) -> Iterator[Fact]:
    """By how much intervals that take rounds as independent are too narrow."""
    stay = stay_for(wanted, rounds, lambda m: float(np.sqrt(m.design_effect)), (0.95, 0.05))
    point = simulated(two_states(stay, 0.95, 0.05), PLAIN, 4_000, simulation={"rounds": rounds})
    found = point["diagnostics"]["too_narrow"]
    name = f"too narrow by; requests of {rounds} rounds, stretches of {stay:.1f}"
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
    yield Fact(
        pooled.name, pooled.published, pooled.ours, pooled.slack, why + pooled.why, False, True
    )
    survival = next(
        row
        for row in point["trial"]["rows"]
        if (row["definition"], row["weighting"]) == ("survival", "request-mean")
    )["rates"]
    length = {key: 1 + sum(survival[key]) for key in ("mean", "low", "high")}
    mean_fact = near("request-mean accept length", 2.724, length, 5e-4)
    # A request of 512 tokens is cut within its last round, which steady rates do not know.
    yield Fact(
        *(mean_fact.name, 2.724, mean_fact.ours, mean_fact.slack + 0.01),
        mean_fact.why + "; .01 for requests that end",
        simulated=True,
    )


SOURCES: dict[str, Callable[[bool], Iterator[Fact]]] = {
    "founding case": founding_case,
    "Leviathan, table 1": leviathan_1,
    "Leviathan, table 4": leviathan_4,
    "DeepSeek-V3": deepseek,
    "vLLM, depths 1 and 8": vllm,
    "accept length by depth": curves,
    "H100 step times": h100,
    "throughput by batch": throughput,
    "real traces": traces,
}


def control() -> Check:
    """Survival rates read as conditional ones must not give the published accept length."""
    keys = {"model": "independent", "rates": VLLM_8, "rates_are": "conditional"}
    wrong = solve(experiment(keys, PLAIN).acceptance.chain(), 8).accept_length
    fact = Fact("accept length, depth 8", 4.40, wrong, 0.04, "")
    result = f"{wrong:.2f} against 4.40"
    statement = "survival rates read as conditional must not give vLLM's accept length"
    return Check("fault: wrong definition", statement, result, not fact.agree, 0.0, True)


def checks(smoke: bool) -> Iterator[Check]:
    """A check for each source; the full run writes published.md and .png."""
    found: dict[str, list[Fact]] = {}
    for name, source in SOURCES.items():
        facts = list(source(smoke))
        found[name] = facts
        wrong = [
            f"{fact.name} {fact.published:g}, ours {fact.ours:.5g}" for fact in facts if not fact.ok
        ]
        differ = sum(fact.differs for fact in facts)
        result = f"{len(facts)} numbers" + (f", {differ} differ as told" if differ else "")
        result = f"{result}; WRONG: {'; '.join(wrong)}" if wrong else result
        alarm = sum(fact.simulated for fact in facts) * FALSE_ALARM
        statement = (source.__doc__ or "").rstrip(".")
        yield Check(name, statement, result, not wrong, alarm)
    yield control()
    if not smoke:
        write(found)


def write(found: dict[str, list[Fact]]) -> None:
    """The page and its picture."""
    parts = [(__doc__ or "").partition("\n\n")[2].strip()]
    for name, facts in found.items():
        table = Table("number", "published", "ours", "agree", "tolerance")
        for fact in facts:
            agree = "yes" if fact.agree else "no, as it should" if fact.ok else "**NO**"
            cells = (f"{fact.published:.7g}", f"{fact.ours:.6g}", agree)
            table.add(
                fact.name, *cells, f"{fact.slack:.2g}: {fact.why}" if fact.slack else fact.why
            )
        parts += [f"## {name}", (SOURCES[name].__doc__ or "").strip(), table.markdown()]
    parts += ["![Published numbers and ours](published.png)"]
    parts += ["`python verification/run.py published` makes this page."]
    text = "# Published numbers\n\n" + "\n\n".join(parts) + "\n"
    Path(__file__).with_name("published.md").write_text(text)
    picture(found)


def picture(found: dict[str, list[Fact]]) -> None:
    """Ours over published, number by number, with what rounding leaves open."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 6.4), layout="constrained")
    names = list(found)
    for height, name in enumerate(names):
        facts = [fact for fact in found[name] if fact.published > 0]
        places = height + np.linspace(-0.36, 0.36, len(facts))
        for place, fact in zip(places, facts, strict=True):
            off, slack = fact.ours / fact.published - 1, fact.slack / fact.published
            colour = "C0" if not fact.differs else "C1"
            axes.plot([-100 * slack, 100 * slack], [place, place], color="0.85", linewidth=2)
            axes.plot(100 * off, place, ".", color=colour, markersize=4)
    axes.axvline(0, color="0.5", linewidth=0.8)
    axes.set_xscale("symlog", linthresh=0.1)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(
        "ours over published, % (grey: tolerance, mostly rounding; linear within 0.1 %)"
    )
    axes.set_title(
        "Published numbers and the engine's: within rounding (blue),\n"
        "or known to differ, as rates that do not carry over (orange)"
    )
    figure.savefig(Path(__file__).with_name("published.png"), dpi=110)
    plt.close(figure)
