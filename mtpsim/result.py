"""The result document of a run (docs/result.md), and an object to look at it with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mtpsim import estimate, theory
from mtpsim.acceptance.chain import AcceptanceChain
from mtpsim.advise import advise
from mtpsim.compile import Plan
from mtpsim.estimate import Estimates
from mtpsim.exact import Exact, solve
from mtpsim.experiment import Experiment, Point
from mtpsim.latency import CompiledLatency
from mtpsim.tally import Floats, Tally

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

Document = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """What a run found.

    Attributes:
        document: the result document, as written to ``result.json``.
        round_times: for each point and depth, a sample of round times in ms (for the plots).

    """

    document: Document
    round_times: list[list[Floats]] = field(default_factory=list, repr=False)

    @property
    def points(self) -> list[Document]:
        """The documents of the points, one without a sweep."""
        points: list[Document] = self.document["points"]
        return points

    @property
    def advice(self) -> str:
        """The advice for the first point, a sentence or two."""
        return str(self.points[0]["advice"]["sentence"])

    def rows(self) -> list[Document]:
        """Tidy rows: one a point, depth and quantity, as in ``result.csv``."""
        from mtpsim.report.rows import rows

        return rows(self.document)

    def to_frame(self) -> Any:
        """:meth:`rows` as a ``pandas.DataFrame``; needs pandas, which mtpsim does not install.

        Raises:
            ModuleNotFoundError: pandas is not installed.

        """
        import pandas

        return pandas.DataFrame(self.rows())

    def plot(self) -> Figure:
        """Speedup by depth with intervals over the closed form; a matplotlib figure."""
        from mtpsim.report.plots import speedup_figure

        return speedup_figure(self.document)

    def save_plots(self, folder: Path) -> list[Path]:
        """Write every plot as a PNG into ``folder``; returns their paths."""
        from mtpsim.report.plots import save_plots

        return save_plots(self.document, self.round_times, folder)

    def __str__(self) -> str:
        """The tables and the advice, as the command prints them."""
        from io import StringIO

        from rich.console import Console

        from mtpsim.report.table import render

        console = Console(file=StringIO(), width=100, no_color=True)
        render(self.document, console)
        text: str = console.file.getvalue()  # type: ignore[attr-defined]
        return text.rstrip()


@dataclass(frozen=True)
class Measured:
    """A simulated point before it is written down."""

    point: Point
    plan: Plan
    chain: AcceptanceChain
    latency: CompiledLatency
    tally: Tally
    precision_reached: bool | None
    interrupted: bool

    @property
    def experiment(self) -> Experiment:
        """The point's own experiment."""
        return self.point.experiment

    def estimates(self, function: Any) -> Estimates:
        """Estimates of one of the functions of :mod:`mtpsim.estimate`."""

        def of_means(means: Floats) -> Floats:
            quantities: Floats = function(means, self.plan.layout)
            return quantities

        return estimate.delta(of_means, self.tally, self.experiment.simulation.confidence)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _interval(estimates: Estimates, index: int) -> Document:
    return {
        "mean": _number(estimates.values[index]),
        "low": _number(estimates.low[index]),
        "high": _number(estimates.high[index]),
    }


def _against(theory: Floats, exact: Floats, estimates: Estimates, index: int) -> Document:
    return {
        "theory": _number(theory[index]),
        "exact": _number(exact[index]),
        **_interval(estimates, index),
    }


def point_document(measured: Measured) -> Document:
    """The document of one point; every number that is reported of it."""
    layout, simulation = measured.plan.layout, measured.experiment.simulation
    horizon = {"rounds": simulation.rounds or 0, "tokens": simulation.tokens or 0}
    solved = [solve(measured.chain, k, **horizon) for k in range(layout.depth + 1)]
    rates = measured.estimates(estimate.conditional)
    stated = measured.experiment.acceptance.stated_rates()
    plugged = rates.values if stated is None else stated
    closed = estimate.Theory(measured.latency.round_time, stated)
    reach = measured.estimates(estimate.survival)
    depths = _depths(measured, solved, closed, plugged)
    break_even, last = _break_even(measured, stated)
    advice = advise(
        measured.estimates(estimate.speedup),
        measured.estimates(estimate.marginal),
        break_even,
        last,
        simulation.confidence,
    )
    return {
        "set": measured.point.set,
        "requests": measured.tally.count,
        "rounds": round(measured.tally.mean[layout.rounds][-1] * measured.tally.count),
        "precision_reached": measured.precision_reached,
        "interrupted": measured.interrupted,
        "warnings": _warnings(measured),
        "measured": {
            "conditional": [_number(v) for v in rates.values],
            "survival": [_number(v) for v in reach.values],
            "pooled": float(reach.values.mean()),
        },
        "accepted": _accepted(measured, solved[-1], plugged),
        "depths": depths,
        "advice": vars(advice),
    }


def _depths(
    measured: Measured, solved: list[Exact], closed: estimate.Theory, plugged: Floats
) -> list[Document]:
    times, epsilon = closed.times, measured.experiment.simulation.epsilon
    exact_length = np.array([s.accept_length for s in solved])
    exact_time = times * np.array([s.slow_rounds / s.rounds for s in solved])
    exact_speedup = exact_length / exact_time * exact_time[0] / exact_length[0]
    theory_speedup = theory.speedup(plugged, times[0], times)
    length = measured.estimates(estimate.accept_length)
    time = measured.estimates(estimate.round_time)
    gain = measured.estimates(estimate.speedup)
    step = measured.estimates(estimate.marginal)
    error = measured.estimates(closed.error)
    break_even, _ = _break_even(measured, closed.rates)
    documents: list[Document] = []
    for k in range(len(times)):
        document: Document = {
            "depth": k,
            "accept_length": _against(theory.accept_length(plugged), exact_length, length, k),
            "round_time": _against(times, exact_time, time, k),
            "speedup": _against(theory_speedup, exact_speedup, gain, k),
            "marginal": None,
            "theory_error": None,
            "break_even_rate": None,
        }
        if k:
            document["marginal"] = _against(
                theory.marginal_gain(theory_speedup)[1:],
                theory.marginal_gain(exact_speedup)[1:],
                step,
                k - 1,
            )
            document["theory_error"] = _error_document(error, k, epsilon, measured.tally.count)
            document["break_even_rate"] = _number(break_even[k - 1])
        documents.append(document)
    return documents


def _break_even(measured: Measured, stated: Floats | None) -> tuple[Floats, Floats]:
    """For each step, the rate at which it stops paying, and the rate to hold against it."""
    if stated is not None:
        return theory.break_even_rate(stated, measured.latency.round_time), stated
    means, layout = measured.tally.mean, measured.plan.layout
    return (
        np.maximum(estimate.break_even_rate(means, layout), 0),  # below 0 any rate pays
        estimate.last_rate(means, layout),
    )


def _error_document(error: Estimates, k: int, epsilon: float, requests: int) -> Document:
    mean, half = float(error.values[k]), float(error.half_width[k])
    verdict = estimate.verdict(mean, half, epsilon)
    needed = None
    if verdict == "undecided":
        needed = estimate.requests_to_settle(mean, half, epsilon, requests)
    return {**_interval(error, k), "verdict": verdict, "requests_needed": needed}


def _accepted(measured: Measured, solved: Exact, plugged: Floats) -> Document:
    counts = measured.estimates(estimate.exactly_accepted)
    reach = np.concatenate([[1.0], theory.survival(plugged), [0.0]])
    return {
        "count": list(range(len(counts.values))),
        "theory": [float(v) for v in reach[:-1] - reach[1:]],
        "exact": [float(v) for v in solved.accepted],
        "mean": [float(v) for v in counts.values],
        "low": [float(v) for v in np.clip(counts.low, 0, 1)],
        "high": [float(v) for v in np.clip(counts.high, 0, 1)],
    }


def _warnings(measured: Measured) -> list[str]:
    found = list(measured.experiment.warnings())
    if measured.tally.count < 30:
        found.append(
            f"only {measured.tally.count} requests: intervals over fewer than 30 may cover the "
            "truth less often than they say"
        )
    return found
