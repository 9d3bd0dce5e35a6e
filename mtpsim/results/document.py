"""The result document of a run (docs/result.md), and an object to look at it with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mtpsim.common.arrays import Floats, JsonDict
from mtpsim.common.text import counted
from mtpsim.exact import chain_solver as exact
from mtpsim.exact.chain_solver import Exact
from mtpsim.formula import closed_form as theory
from mtpsim.results import uncertainty as uncertain
from mtpsim.results.advice import Steps, advise
from mtpsim.results.definitions import diagnostics, trial
from mtpsim.results.point_data import (
    COCHRAN,
    POSITIVE,
    PointData,
    Span,
    interval,
    number,
    of_requests,
    skewness_of,
)
from mtpsim.results.policies import adaptive
from mtpsim.stats import estimators as estimate
from mtpsim.stats.control_variates import factors
from mtpsim.stats.equivalence import holm_verdicts
from mtpsim.stats.estimators import Estimates
from mtpsim.stats.selection import choose, log_of

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from mtpsim.config.experiment import Experiment


@dataclass(frozen=True)
class Result:
    """What a run found.

    Attributes:
        document: the result document, as written to ``result.json``.
        round_times: for each point and depth, a sample of round times in ms (for the plots).

    """

    document: JsonDict
    round_times: Sequence[list[Floats]] = field(default=(), repr=False)

    @property
    def points(self) -> list[JsonDict]:
        """The documents of the points, one without a sweep."""
        points: list[JsonDict] = self.document["points"]
        return points

    @property
    def advice(self) -> str:
        """The advice for the first point, a sentence or two."""
        return str(self.points[0]["advice"]["sentence"])

    def rows(self) -> list[JsonDict]:
        """Tidy rows: one a point, depth and quantity, as in ``result.csv``."""
        from mtpsim.report.rows import rows

        return rows(self.document)

    def to_frame(self) -> Any:
        """:meth:`rows` as a ``pandas.DataFrame``; the extra ``pandas`` installs what it needs.

        Raises:
            ImportError: pandas is not installed.

        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            if error.name != "pandas":  # a pandas that is broken says itself what it lacks
                raise
            message = (
                "to_frame() needs pandas, which is not installed: pip install pandas, or mtpsim "
                "with its extra, pip install 'mtpsim[pandas]'; rows() gives the same without it"
            )
            raise ImportError(message, name="pandas") from None
        return pandas.DataFrame(self.rows())

    def plot(self) -> Figure:
        """Speedup by depth with intervals over the closed form; a matplotlib figure."""
        from mtpsim.report.figures.gallery import speedup_figure

        return speedup_figure(self.document)

    def save_plots(self, folder: Path) -> list[Path]:
        """Write every plot as a PNG into ``folder``; returns their paths."""
        from mtpsim.report.figures.gallery import save_plots

        return save_plots(self.document, self.round_times, folder)

    def save_report(self, experiment: Experiment, folder: Path) -> list[Path]:
        """Write every plot and ``report.html``, which shows all of the result; returns the paths.

        Args:
            experiment: that the result is of.
            folder: made where it is missing.

        """
        from mtpsim.report.figures.gallery import figures, save_figures
        from mtpsim.report.html.page import write_page

        drawn = figures(self.document, self.round_times)
        paths = save_figures(drawn, folder)  # first: the page takes the headings off the figures
        return [*paths, write_page(self.document, experiment, drawn, folder)]

    def __str__(self) -> str:
        """The tables and the advice, as the command prints them."""
        from io import StringIO

        from rich.console import Console

        from mtpsim.report.tables.result import render

        # In a notebook rich would display HTML instead, and Jupyter asks for colours.
        console = Console(
            file=StringIO(), width=100, no_color=True, force_jupyter=False, force_terminal=False
        )
        render(self.document, console)
        text: str = console.file.getvalue()  # type: ignore[attr-defined]
        return text.rstrip()


def _against(
    theory: Floats, exact: Floats, estimates: Estimates, index: int, within: Span = POSITIVE
) -> JsonDict:
    return {
        "theory": number(theory[index]),
        "exact": number(exact[index]),
        **interval(estimates, index, within),
    }


def documents(points: list[PointData]) -> list[JsonDict]:
    """The documents of all points of a run; verdicts of a sweep are judged together."""
    found = [_document(measured) for measured in points]
    cells, errors = [], []
    for measured, document in zip(points, found, strict=True):
        error = measured.estimates(measured.theory.error)
        chosen = next(row for row in document["trial"]["rows"] if row["chosen"])
        for depth, same in zip(document["depths"][1:], chosen["depths"], strict=True):
            cells.append((depth["theory_error"], same["speedup_error"]))
            errors.append(measured.error(error, depth["depth"]))
    judged = (
        holm_verdicts(errors)
        if len(points) > 1
        else [holm_verdicts([error])[0] for error in errors]
    )
    for (cell, same), (verdict, needed) in zip(cells, judged, strict=True):
        cell.update(verdict=verdict, requests_needed=needed)
        same.update(verdict=verdict)
    return found


def _document(measured: PointData) -> JsonDict:
    """The document of one point; every number that is reported of it."""
    layout, simulation = measured.layout, measured.experiment.simulation
    solved = measured.solved
    rates = measured.estimates(estimate.conditional)
    rates_used = measured.theory.rates_used(measured.tally.mean, layout)
    reach = measured.estimates(estimate.survival)
    steps = Steps(measured.sharp(estimate.marginal), *_break_even(measured, solved[-1]))
    depths = _depths(measured, solved, rates_used, steps)
    speedup = measured.sharp(estimate.speedup)
    choice = choose(log_of(speedup), simulation.confidence)
    indifference = measured.experiment.decision.indifference
    for k, depth in enumerate(depths):
        depth["loss"] = {
            "mean": float(-np.expm1(-choice.loss[k])),
            "low": float(-np.expm1(-choice.low[k])),
            "high": float(-np.expm1(-choice.high[k])),
            "verdict": choice.verdict(k, indifference),
            "best": float(choice.probability[k]),
            "regret": float(choice.regret[k]),
        }
    for depth, found in zip(depths, of_requests(measured.tails), strict=True):
        depth.update(found)
    varied = uncertain.uncertainty(measured.experiment, measured.outcomes)
    advice = advise(
        *(speedup, steps, choice, simulation.confidence, indifference),
        uncertain.intervals(varied),
    )
    return {
        "set": measured.point.set,
        "requests": measured.tally.count,
        "rounds": round(measured.tally.mean[layout.rounds][-1] * measured.tally.count),
        "horizon": {"rounds": simulation.rounds or None, "tokens": simulation.tokens or None},
        "precision_reached": measured.precision_reached,
        "interrupted": measured.interrupted,
        "warnings": _warnings(measured),
        "measured": {
            "conditional": [number(v) for v in rates.values],
            "survival": [number(v) for v in reach.values],
            "pooled": float(reach.values.mean()),
        },
        "accepted": _accepted(measured, solved[-1], rates_used),
        "depths": depths,
        "trial": trial(measured),
        "diagnostics": diagnostics(measured),
        "variance": _variance(measured),
        "advice": vars(advice),
        "adaptive": adaptive(measured, choice.best),
        "uncertainty": varied,
        "robust": uncertain.robust(measured.experiment, measured.outcomes),
    }


def _depths(
    measured: PointData, solved: list[Exact], rates_used: Floats, steps: Steps
) -> list[JsonDict]:
    times = measured.theory.times
    exact_length = np.array([s.accept_length for s in solved])
    exact_time = times * np.array([s.slow_rounds / s.rounds for s in solved])
    exact_speedup = exact_length / exact_time * exact_time[0] / exact_length[0]
    theory_speedup = theory.speedup(rates_used, times[0], times)
    length = measured.estimates(estimate.accept_length)
    time = measured.estimates(estimate.round_time)
    gain = measured.sharp(estimate.speedup)
    error = measured.estimates(measured.theory.error)
    length_error = measured.estimates(measured.theory.length_error)
    mean_times = measured.latency.verify, measured.latency.draft
    allowed = [
        measured.sharp(partial(function, verify=mean_times[0], draft=mean_times[1]))
        for function in (estimate.break_even_verify, estimate.break_even_draft)
    ]
    documents: list[JsonDict] = []
    for k in range(len(times)):
        document: JsonDict = {
            "depth": k,
            "accept_length": _against(
                *(theory.accept_length(rates_used), exact_length, length, k), within=(1, k + 1)
            ),
            "round_time": _against(times, exact_time, time, k),
            "speedup": _against(theory_speedup, exact_speedup, gain, k),
            "marginal": None,
            "theory_error": None,
            "accept_length_error": None,
            "break_even_rate": None,
            "break_even": None,
        }
        if k:
            document["marginal"] = _against(
                theory.marginal_gain(theory_speedup)[1:],
                theory.marginal_gain(exact_speedup)[1:],
                steps.marginal,
                k - 1,
            )
            document["theory_error"] = interval(error, k)
            document["accept_length_error"] = interval(length_error, k)
            document["break_even_rate"] = number(steps.break_even[k - 1])
            document["break_even"] = {
                "rate": {"at": number(steps.break_even[k - 1]), "now": number(steps.rates[k - 1])},
                "verify": {"now": float(measured.latency.verify[k]), **_at(allowed[0], k)},
                "draft": {"now": float(measured.latency.draft[k]), **_at(allowed[1], k)},
            }
        documents.append(document)
    return documents


def _variance(measured: PointData) -> JsonDict:
    """What the ways to less variance gain, step by step."""
    shared, controls = factors(measured.tally, measured.controls, measured.layout)
    return {
        "shared_random_numbers": shared,
        "control_variates": controls,
        "used": measured.experiment.simulation.control_variates,
    }


def _at(allowed: Estimates, depth: int) -> JsonDict:
    """The time at which the step to ``depth`` stops paying, and its interval."""
    found = interval(allowed, depth - 1)
    return {"at": found["mean"], "low": found["low"], "high": found["high"]}


def _break_even(measured: PointData, deepest: Exact) -> tuple[Floats, Floats]:
    """For each step, the rate at which it stops paying, and the rate to hold against it.

    Step by step the closed form (with the end of a request of so many tokens), if it says of the
    step what the simulation says; else what was measured: no step may be said to lose because its
    rate is too low, when it is not.
    """
    means, layout = measured.controlled.mean, measured.layout
    needed = np.maximum(estimate.break_even_rate(means, layout), 0)  # below 0 any rate pays
    rates, stated = estimate.last_rate(means, layout), measured.theory.rates
    if stated is None or not np.allclose(deepest.conditional, stated, rtol=0, atol=1e-9):
        return needed, rates
    times, tokens = measured.theory.times, measured.horizon.get("tokens", 0)
    if tokens:
        on_paper = exact.break_even_rate(stated, times, tokens)
    else:
        on_paper = theory.break_even_rate(stated, times)
    alike = (stated > on_paper) == (estimate.marginal(means, layout) > 1)
    return np.where(alike, on_paper, needed), np.where(alike, stated, rates)


def _accepted(measured: PointData, solved: Exact, rates_used: Floats) -> JsonDict:
    counts = measured.estimates(estimate.exactly_accepted)
    reach = np.concatenate([[1.0], theory.survival(rates_used), [0.0]])
    return {
        "count": list(range(len(counts.values))),
        "theory": [float(v) for v in reach[:-1] - reach[1:]],
        "exact": [float(v) for v in solved.accepted],
        "mean": [float(v) for v in counts.values],
        "low": [float(v) for v in np.clip(counts.low, 0, 1)],
        "high": [float(v) for v in np.clip(counts.high, 0, 1)],
    }


def _warnings(measured: PointData) -> list[str]:
    found = list(measured.experiment.warnings())
    if measured.failure:
        found.append(f"incomplete: {measured.failure}")
    if measured.experiment.simulation.control_variates and measured.controlled is measured.tally:
        found.append(
            "control variates are not used: they never vary in these requests, or came out further "
            "from their known means than chance takes them; more requests may be needed"
        )
    if measured.tally.count < 30:
        found.append(
            f"only {counted(measured.tally.count, 'request')}: intervals over fewer than 30 may "
            "cover the truth less often than they say"
        )
    return found + _too_skewed(measured) + _too_alike(measured)


def _too_skewed(measured: PointData) -> list[str]:
    """A warning where rounds are too few for the rare long ones."""
    latency = measured.experiment.latency
    skewness = max([0.0, *(noise.table().skewness for noise in latency.noises())])
    needed = COCHRAN * skewness**2
    rounds = measured.tally.mean[measured.layout.rounds].min() * measured.tally.count
    if rounds >= needed or latency.warnings():
        return []
    return [
        f"rare long rounds: the noise is so skewed ({skewness:.3g}) that intervals of times need "
        f"about {needed:,.0f} rounds, and {rounds:,.0f} were simulated; they may cover the truth "
        "less often than they say"
    ]


def _too_alike(measured: PointData) -> list[str]:
    """A warning where rounds are too few for the rare rejections, or the rare accepted drafts."""
    made, needed = measured.rounds, measured.rounds_needed
    depth = int(np.argmax(needed / made))
    if made[depth] >= needed[depth]:
        return []
    skewness = skewness_of(measured.solved[depth].accepted)
    rare = "rejections" if skewness < 0 else "accepted drafts"
    return [
        f"rare {rare}: the drafts accepted in a round of depth {depth} are so skewed "
        f"({skewness:.3g}) that intervals need about {needed[depth]:,.0f} rounds, and "
        f"{made[depth]:,.0f} were simulated; they may cover the truth less often than they say"
    ]
