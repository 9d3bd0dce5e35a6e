"""Depths compared at a quantile of the request time: intervals, advice, and where it is shown."""

import csv
from io import StringIO

import numpy as np
import pytest
from matplotlib.text import Text
from rich.console import Console
from scipy import stats

import mtpsim
from mtpsim.report.html.page import fragment
from mtpsim.report.html.what_if import what_if
from mtpsim.report.serialization import write_csv
from mtpsim.report.tables.result import break_even_table, depth_table, render, step_table
from mtpsim.report.tables.sweep import summary_table, sweep_heading
from mtpsim.stats.comparisons import steps_of
from mtpsim.stats.quantiles import quantile_speedups, requests_for
from tests.support.examples import TWO_DEEP, independent, noise, problem_of, simulation

BETA = """
acceptance = { model = "beta", mean = 0.75, concentration = 3, depth = 2, level = "request" }
latency = { target = 76, verify = [90, 104], draft = [8, 14] }
simulation = { tokens = 64, requests = 4000 }
"""
P99 = BETA + 'decision = { objective = "p99" }\n'
SHIFTS = np.array([0.0, 0.1, 0.3])


def samples(rng, n, own=0.1):
    """Lognormal times ``[3, n]`` with shared noise; the true speedups are exp(SHIFTS)."""
    spread = np.sqrt(1 - own**2) * rng.standard_normal(n) + own * rng.standard_normal((3, n))
    return np.exp(0.5 * spread - SHIFTS[:, None])


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_intervals_cover_the_true_speedup_and_are_paired(share):
    rng, runs = np.random.default_rng(1), 600
    found = {level: np.zeros(2) for level in (0.95, 0.8)}
    steps = 0.0
    for _ in range(runs):
        times = samples(rng, 1000)
        for level, covered in found.items():
            speedup = quantile_speedups(times, share, level)
            covered += np.abs(speedup.values - np.exp(SHIFTS))[1:] <= speedup.half_width[1:]
            if level == 0.95:
                step = steps_of(speedup)
                steps += abs(step.values[1] - np.exp(0.2)) <= step.half_width[1]
    error = np.sqrt(0.95 * 0.05 / runs)
    assert found[0.95] / runs == pytest.approx(0.965, abs=0.015 + 3 * error)
    assert steps / runs == pytest.approx(0.965, abs=0.015 + 3 * error)
    assert (found[0.8] / runs < 0.95 - 3 * error).all()  # the control: narrower ones do not
    apart = times[:, rng.permuted(np.tile(np.arange(1000), (3, 1)), axis=1)[0]]
    apart[1:] = [rng.permutation(row) for row in apart[1:]]
    paired, unpaired = (quantile_speedups(t, share, 0.95).half_width[1:] for t in (times, apart))
    assert (paired < 0.6 * unpaired).all()


def test_the_least_number_of_requests_is_that_of_an_interval_with_both_ends():
    for share in (0.5, 0.95, 0.99):
        n = requests_for(share, 0.95)
        times = samples(np.random.default_rng(2), n)
        assert np.isfinite(quantile_speedups(times, share, 0.95).covariance).all()
        assert not np.isfinite(quantile_speedups(times[:, 1:], share, 0.95).covariance).all()


def test_requests_of_one_round_have_the_exact_speedup():
    """One factor multiplies the time of the round, so every quantile scales as the mean."""
    text = independent(0.8, 0.7) + TWO_DEEP + noise(0.3) + simulation(tokens=1, requests=2000)
    result = mtpsim.run(mtpsim.parse(text + '[decision]\nobjective = "p95"\n'))
    for depth, time in zip(result.data.points[0].depths, (76, 98, 118), strict=True):
        assert depth.objective.mean == pytest.approx(76 / time, rel=1e-9)
    assert result.advice.startswith("Turn MTP off: no depth is faster at the p95 of request times.")


def naive_times(depth, round_time, n=4000, tokens=64):
    """Request times in ms, draft by draft, each request with a rate of its own."""
    rng = np.random.default_rng(5)
    rates = stats.beta(0.75 * 3, 0.25 * 3).rvs(n, random_state=rng)
    left, rounds = np.full(n, tokens), np.zeros(n)
    while (left > 0).any():
        accepted = (rng.random((depth, n)) < rates).cumprod(0).sum(0)
        rounds += left > 0
        left -= 1 + accepted
    return rounds * round_time


@pytest.fixture(scope="module")
def result():
    return mtpsim.run(mtpsim.parse(P99))


def test_speedups_are_those_of_a_naive_simulation(result):
    plain = np.full(4000, 64 * 76.0)
    for depth, time in ((1, 98), (2, 118)):
        naive = quantile_speedups(np.stack([plain, naive_times(depth, time)]), 0.99, 0.95)
        found = result.depth(depth).objective
        error = np.hypot(naive.half_width[1], (found.high - found.low) / 2) / 1.96
        assert abs(found.mean - naive.values[1]) <= 3 * error
        assert abs(result.depth(depth).speedup.mean - naive.values[1]) > 10 * error  # the control
        times = [result.depth(k).request_time["p99"].mean for k in (0, depth)]
        assert found.mean == pytest.approx(times[0] / times[1], rel=1e-12)


def test_the_tail_turns_drafting_off_where_the_mean_does_not(result, tmp_path):
    mean = mtpsim.run(mtpsim.parse(BETA))
    assert mean.data.points[0].advice.recommended == 2
    assert mean.depth(2).objective is None
    assert mean.depth(2).speedup == result.depth(2).speedup  # the same requests
    advice = result.data.points[0].advice
    assert (advice.objective, advice.recommended) == ("p99", 0)
    assert advice.verdicts == ["harmful", "harmful"]
    assert "Turn MTP off: no depth is faster at the p99 of request times." in advice.sentence
    assert "break-even" not in advice.sentence
    point = result.data.points[0]
    assert not break_even_table(point).rows
    assert [column.name for column in step_table(point).columns] == ["step", "gain at p99, verdict"]
    _, *shown = depth_table(point, ("gain", "break-even", "step")).columns
    assert [column.name for column in shown] == ["step verdict"]
    assert what_if(result.data, essential=0.2, negligible=0.01)["by"] == " by mean speed"
    assert not what_if(mean.data, essential=0.2, negligible=0.01)["by"]
    assert result.depth(2).loss.verdict == "worse"
    for width, closed_form in ((170, True), (70, False)):
        console = Console(file=StringIO(), width=width)
        render(result.data, console)
        table = console.file.getvalue().partition("Turn MTP off")[0]
        assert ("at p99" in table, "closed" in table) == (True, closed_form)
        assert max(map(len, table.splitlines())) <= width
    assert "at the p99 of request times" in fragment(result.data)
    with write_csv(result.data, tmp_path / "r.csv").open(newline="") as file:
        rows = {(row["depth"], row["quantity"]): row for row in csv.DictReader(file)}
    assert float(rows["2", "objective"]["mean"]) == result.depth(2).objective.mean


def test_few_requests_give_no_verdict():
    text = P99.replace("4000", "367")
    advice = mtpsim.run(mtpsim.parse(text)).data.points[0].advice
    assert (advice.requests_needed, advice.recommended) == (368, None)
    assert set(advice.verdicts) == {"undecided"}
    assert "x at the p99 of request times." in advice.sentence
    enough = mtpsim.run(mtpsim.parse(text.replace("367", "368"))).data.points[0].advice
    assert enough.requests_needed is None


def test_a_quantile_needs_equal_requests_and_certain_inputs():
    assert 'decision.objective: "p99" compares request times' in problem_of(
        P99.replace("tokens", "rounds")
    )
    uncertain = P99 + 'uncertainty = { inputs = { "latency.target" = { se = 1 } } }\n'
    assert "can't be combined with [uncertainty]" in problem_of(uncertain)


def words_of(figure):
    return " ".join(word for text in figure.findobj(Text) for word in text.get_text().split())


def test_figures_and_a_sweep_show_what_is_compared(result):
    for name, lowest, heading in (
        ("speedup", 0.75, "No depth pays: plain decoding is fastest"),
        ("marginal", 0.85, "The first step does not pay: depth 1 is"),
    ):
        figure = result.plot(name)
        texts = words_of(figure)
        assert heading in texts
        assert "at the p99 of request times" in texts
        assert "closed form" not in texts
        assert figure.axes[0].get_ylim()[0] < lowest
    sweep = mtpsim.run(mtpsim.parse(P99 + 'sweep = { "latency.target" = [60, 76, 300] }\n'))
    assert sweep_heading(sweep.data).endswith("at the p99 of request times")
    row = summary_table(sweep.data).rows[2].cells
    objective = sweep.depth(1, point=2).objective.mean
    assert row[1] == "1"
    assert float(row[2].split()[0]) == pytest.approx(objective, abs=0.01)
    assert "at the p99 of request times" in words_of(sweep.plot())
