"""Coverage over a grid: models, tails of the latency, lengths of requests; six quantities.

Thousands of small runs of a cell, each of m requests, through the engine; how often do the 90, 95
and 99 % intervals hold the exact value? A coverage is an alarm when it is further from nominal
than 4 binomial standard errors and an allowance for the smallness of m. Known weak settings (tiny
runs, tails whose variance is hardly finite) are shown, not judged. The control takes rounds as
independent, and must fail where they are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from mtpsim import estimate
from mtpsim import theory as closed
from mtpsim.acceptance import AcceptanceModel, Beta, Contagion, Independent, Regime
from mtpsim.compile import Plan, plan_of
from mtpsim.exact import solve
from mtpsim.latency import CompiledLatency, Latency
from mtpsim.simulate import simulate_requests
from mtpsim.tally import Tally
from verification.check import Check, Table

LEVELS = {0.90: 0.015, 0.95: 0.012, 0.99: 0.007}  # and what the smallness of m may take
QUANTITIES = (
    *("accept length", "round time", "speedup", "marginal gain", "depth 3 less 2"),
    "theory error",
)
DEPTH, RUNS, REQUESTS = 3, 2000, 30
SKEWED = "beta by request"  # its theory error is judged from 100 requests on: below it is weak
HARD = [[0.95, 0.9, 0.85], [0.4, 0.3, 0.2]]
MODELS: dict[str, AcceptanceModel] = {
    "independent": Independent(model="independent", rates=[0.8, 0.7, 0.6]),
    "regime": Regime(model="regime", clock="round", rates=HARD, sojourn=[50, 50]),
    "regime, tokens": Regime(model="regime", clock="token", rates=HARD, sojourn=[50, 50]),
    "beta by request": Beta(model="beta", mean=0.75, concentration=5, depth=3),
    "contagion": Contagion(model="contagion", rates=HARD[0], drop=0.4, duration=4),
}
DEPENDENT = ("regime", "regime, tokens", "beta by request")  # enough so that the control fails
TAILS: dict[str, dict[str, Any]] = {
    "lognormal, cv .1": {"distribution": "lognormal", "cv": 0.1},
    "gamma, cv .5": {"distribution": "gamma", "cv": 0.5},
    "exponential": {"distribution": "exponential"},
}
WEAK_TAILS: dict[str, dict[str, Any]] = {
    "lognormal, cv 2.9": {"distribution": "lognormal", "cv": 2.9},
    "Pareto 2.1": {"distribution": "pareto", "alpha": 2.1},
}
LENGTHS: dict[str, dict[str, int]] = {
    "20 rounds": {"rounds": 20},
    "200 rounds": {"rounds": 200},
    "256 tokens": {"tokens": 256},
}


@dataclass(frozen=True)
class Cell:
    """One setting; ``judged``: its intervals must hold what they say."""

    model: str
    tail: str
    length: str
    requests: int = REQUESTS
    judged: bool = True

    @property
    def name(self) -> str:
        """All of it."""
        return f"{self.model}; {self.tail}; {self.length}; m = {self.requests}"


CELLS = [
    *(Cell(m, t, n) for m in MODELS for t in TAILS for n in LENGTHS),
    *(Cell(SKEWED, "lognormal, cv .1", n, 100) for n in LENGTHS),
    *(Cell(m, "lognormal, cv .1", "200 rounds", 4, False) for m in MODELS),
    *(Cell("regime", t, n, judged=False) for t in WEAK_TAILS for n in LENGTHS),
]


@dataclass(frozen=True)
class Found:
    """Coverage by level and quantity ``[3, 6]``, and that of the control at 95 %."""

    cell: Cell
    coverage: np.ndarray
    control: float


def latency(noise: dict[str, Any]) -> CompiledLatency:
    """Verify and draft have noise of their own, so that times do not cancel in the speedup."""
    parts = {"target": 76, "verify": [90, 104, 117], "draft": [8, 14, 22]}
    noisy = {name: {**noise, "mean": parts[name]} for name in ("verify", "draft")}
    return Latency.model_validate({**parts, **noisy}).compile(DEPTH)


def truths(plan: Plan, cell: Cell, times: np.ndarray) -> np.ndarray:
    """Exact values of ``QUANTITIES``."""
    chain = MODELS[cell.model].chain()
    solved = [solve(chain, k, **LENGTHS[cell.length]) for k in range(DEPTH + 1)]
    length = np.array([one.accept_length for one in solved])
    speedup = length / times * times[0] / length[0]
    plugged = np.full(DEPTH, solved[1].conditional[0])  # rates as they are measured at depth 1
    promised = closed.speedup(plugged, times[0], times)[-1]
    gain = speedup[-1] / speedup[-2], speedup[-1] - speedup[-2]
    return np.array([length[-1], times[-1], speedup[-1], *gain, promised / speedup[-1] - 1])


def measured(plan: Plan, times: np.ndarray) -> Any:
    """The engine's estimators of ``QUANTITIES``, as one function of the mean totals."""
    layout, theory = plan.layout, estimate.Theory(times)

    def values(means: np.ndarray) -> np.ndarray:
        speedup = estimate.speedup(means, layout)
        parts = [
            estimate.accept_length(means, layout)[..., -1],
            estimate.round_time(means, layout)[..., -1],
            speedup[..., -1],
            estimate.marginal(means, layout)[..., -1],
            speedup[..., -1] - speedup[..., -2],
            theory.error(means, layout)[..., -1],
        ]
        return np.stack(parts, -1)

    return values


def measure(cell: Cell, runs: int, seed: int) -> Found:
    """Simulate a cell and count."""
    noise = {**TAILS, **WEAK_TAILS}[cell.tail]
    times = latency(noise)
    chain = MODELS[cell.model].chain()
    plan = plan_of(chain, times, seed=seed, measured_at=1, **LENGTHS[cell.length])
    truth, function = truths(plan, cell, times.round_time), measured(plan, times.round_time)
    m, hits, control = cell.requests, np.zeros((len(LEVELS), len(QUANTITIES))), 0
    for first in range(0, runs, 200):
        rows = simulate_requests(plan, first * m, 200 * m)
        for run in range(200):
            tally = Tally.of(rows[run * m : (run + 1) * m])
            found = estimate.delta(function, tally, 0.95)
            error = np.abs(found.values - truth) / np.sqrt(np.diag(found.covariance))
            for at, level in enumerate(LEVELS):
                hits[at] += error <= stdtrit(m - 1, (1 + level) / 2)
            control += _held_by_rounds(tally, plan, truth[0])
    return Found(cell, hits / runs, control / runs)


def _held_by_rounds(tally: Tally, plan: Plan, truth: float) -> bool:
    """Whether the accept length's interval holds the truth with rounds taken as independent."""
    share = estimate.exactly_accepted(tally.mean, plan.layout)
    tokens = np.arange(1, DEPTH + 2)
    mean = share @ tokens
    rounds = tally.mean[plan.layout.rounds][-1] * tally.count
    error = np.sqrt((share @ tokens**2 - mean**2) / rounds)
    return bool(abs(mean - truth) <= 1.96 * error)


def alarms(found: Found, runs: int) -> list[str]:
    """Coverages of a judged cell that are too far off."""
    wrong = []
    for level, shares in zip(LEVELS, found.coverage, strict=True):
        far = 4 * np.sqrt(level * (1 - level) / runs) + LEVELS[level]
        for name, share in zip(QUANTITIES, shares, strict=True):
            if found.cell.model == SKEWED and name == "theory error" and found.cell.requests < 100:
                continue
            if abs(share - level) > far:
                wrong.append(f"{found.cell.name}: {level:.0%} of the {name} hold in {share:.3f}")
    return wrong


def checks(smoke: bool) -> Iterator[Check]:
    """Judge all cells, and the control."""
    cells = [CELLS[0], Cell("regime", "lognormal, cv .1", "200 rounds")] if smoke else CELLS
    runs = 400 if smoke else RUNS
    found = [measure(cell, runs, 9000 + number) for number, cell in enumerate(cells)]
    judged = [one for one in found if one.cell.judged]
    wrong = [text for one in judged for text in alarms(one, runs)]
    shares = np.stack([one.coverage for one in judged])
    for at, level in enumerate(LEVELS):
        ends = f"{shares[:, at].min():.3f} to {shares[:, at].max():.3f}"
        mine = [text for text in wrong if f": {level:.0%} of" in text]
        result = "; ".join([f"{shares[:, at].size} coverages, {ends}", *mine])
        yield Check(
            f"{level:.0%} intervals",
            f"of {len(QUANTITIES)} quantities hold the exact value as often as they say",
            *(result, not mine, 6e-5 * shares[:, at].size),
        )
    bad = [one for one in found if one.cell.model in DEPENDENT and one.cell.requests == REQUESTS]
    worst = max(one.control for one in bad)
    text = f"{min(one.control for one in bad):.2f} to {worst:.2f} instead of .95"
    yield Check("rounds as independent", "must fail", text, worst < 0.88, 0.0, control=True)
    if not smoke:
        write(found, runs)


def write(found: list[Found], runs: int) -> None:
    """The page and its picture."""
    table = Table("model", "noise", "request", "m", *QUANTITIES, "rounds as independent")
    for one in found:
        cell = one.cell
        model = cell.model if cell.judged else f"{cell.model} (weak)"
        cells = [f"{share:.3f}" for share in one.coverage[1]]
        table.add(model, cell.tail, cell.length, str(cell.requests), *cells, f"{one.control:.3f}")
    ends = Table("nominal", "judged cells", "least", "mean", "greatest", "weak cells, least")
    for at, level in enumerate(LEVELS):
        strong = np.stack([one.coverage[at] for one in found if one.cell.judged])
        weak = np.stack([one.coverage[at] for one in found if not one.cell.judged])
        numbers = [f"{f(strong):.3f}" for f in (np.min, np.mean, np.max)]
        ends.add(f"{level:.2f}", str(strong.size), *numbers, f"{weak.min():.3f}")
    text = [
        "# Coverage over a grid",
        "",
        f"{runs:,} runs a cell, of m requests each: the share whose interval holds the truth.",
        "Rates are measured at depth 1, all else is of depth 3. Weak cells are shown, not judged:",
        "4 requests are too few, and a tail whose variance is hardly finite has no normal mean.",
        "Weak too, and a finding of this page: the error of carried rates where requests differ",
        "for good. Its totals are skewed, and 30 requests are too few; it is judged with 100.",
        "The last column is the control: the accept length with rounds taken as independent.",
        "`python verification/run.py grid` makes this page.",
        "",
        "![Coverage of every cell](grid.png)",
        "",
        ends.markdown(),
        "",
        "At 95 %:",
        "",
        table.markdown(),
    ]
    Path(__file__).with_name("grid.md").write_text("\n".join(text) + "\n")
    draw(found, runs)


def draw(found: list[Found], runs: int) -> None:
    """A dot a coverage, by quantity; bands of what chance and m may take."""
    from mtpsim.report.style import BLUE, VERMILION, Frame, panel_title

    frame = Frame(
        "Intervals hold the exact value as often as they say",
        f"{runs:,} runs a dot, {REQUESTS} requests a run; orange: known weak settings",
        panels=3,
        size=(9.6, 4.2),
    )
    frame.figure.subplots_adjust(left=0.14)
    for at, (axes, level) in enumerate(zip(frame.axes, LEVELS, strict=True)):
        far = 4 * np.sqrt(level * (1 - level) / runs) + LEVELS[level]
        axes.axvspan(level - far, level + far, color="0.92")
        axes.axvline(level, color="0.5", lw=0.8)
        for one in found:
            color = BLUE if one.cell.judged else VERMILION
            row = np.arange(len(QUANTITIES)) + (0.12 if one.cell.judged else -0.12)
            axes.plot(one.coverage[at], row, "o", ms=3, color=color, alpha=0.5)
        axes.set_yticks(range(len(QUANTITIES)), QUANTITIES if at == 0 else [])
        axes.set_xlabel("coverage")
        panel_title(axes, f"nominal {level:.0%}")
    frame.figure.savefig(Path(__file__).with_name("grid.png"), dpi=120)
