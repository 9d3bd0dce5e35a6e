"""What differs between two results."""

import numpy as np
import pytest
from scipy import stats

import mtpsim
from mtpsim.report.document import Interval
from mtpsim.results.comparison import compare, relative_change

BASE = """
title = "{title}"
acceptance = {{ model = "independent", rates = [0.8, 0.7] }}
latency = {{ target = {target}, verify = [90, 104], draft = [8, 14] }}
simulation = {{ requests = 400, rounds = 20, seed = {seed} }}
"""


def result(target=76, seed=1, title="a", more=""):
    return mtpsim.run(mtpsim.parse(BASE.format(target=target, seed=seed, title=title) + more)).data


def test_inputs_that_differ_are_named_with_both_values():
    found = compare(result(), result(target=70, title="b"))
    assert [(c.key, c.before, c.after) for c in found.inputs] == [("latency.target", 76, 70)]
    text = BASE.format(target=76, seed=1, title="a").replace("14] }", "14], noise = {n} }")
    other = mtpsim.run(mtpsim.parse(text.replace("{n}", '{distribution = "lognormal", cv = 0.1}')))
    changed = {c.key: (c.before, c.after) for c in compare(result(), other.data).inputs}
    assert changed["latency.noise.cv"] == (None, 0.1)


def test_the_change_of_a_faster_target_is_exact():
    (point,) = compare(result(), result(target=70)).points
    assert [depth.depth for depth in point.depths] == [1, 2]
    for depth in point.depths:
        assert depth.exact == pytest.approx(70 / 76 - 1)
        assert depth.change.mean == pytest.approx(70 / 76 - 1)  # the same text
        assert depth.change.low < 70 / 76 - 1 < depth.change.high
    assert point.before == point.after == 2


def test_points_of_sweeps_are_matched_by_their_values():
    one = result(more='sweep = { "latency.target" = [60, 76] }')
    other = result(more='sweep = { "latency.target" = [76, 90, 99] }')
    found = compare(one, other)
    assert [point.set for point in found.points] == [{"latency.target": 76}]
    assert found.only_one == 3
    assert found.points[0].depths[0].exact == pytest.approx(0)


@pytest.mark.parametrize("errors", [(0.02, 0.05), (0.05, 0.02)])
def test_intervals_of_the_change_cover_it(errors):
    """Two lognormal estimates with their own intervals; a third of the width as the control."""
    rng = np.random.default_rng(1)
    z, runs = stats.norm.ppf(0.975), 4000
    covered = narrow = 0
    for one, other in rng.normal([np.log(1.5), np.log(1.4)], errors, (runs, 2)):
        before, after = (
            Interval(mean=np.exp(m), low=np.exp(m - z * s), high=np.exp(m + z * s))
            for m, s in zip((one, other), errors, strict=True)
        )
        found = relative_change(before, after)
        covered += found.low <= 1.4 / 1.5 - 1 <= found.high
        third = (found.high - found.low) / 6
        narrow += abs(found.mean - (1.4 / 1.5 - 1)) <= third
    error = np.sqrt(0.95 * 0.05 / runs)
    assert abs(covered / runs - 0.95) < 4 * error
    assert narrow / runs < 0.95 - 4 * error


def test_no_interval_no_change():
    none = Interval(mean=None, low=None, high=None)
    one = Interval(mean=1.0, low=0.9, high=1.1)
    for pair in ((none, one), (one, none), (one, Interval(mean=0.0, low=0.0, high=0.1))):
        assert relative_change(*pair).mean is None
