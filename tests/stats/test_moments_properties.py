"""Statements that hold of tallies and intervals of whatever requests."""

from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtpsim.kernels.arrays import RowLayout
from mtpsim.stats import estimators
from mtpsim.stats.estimators import ClosedFormPredictor, Tally, delta_method
from tests.support.strategies import factors, fixed, seeds


def rows_of(seed, count, columns=3):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(columns, columns))
    return rng.normal(size=(count, columns)) @ mix + rng.uniform(1, 50, columns)


def assert_equal(one, other):
    assert one.count == other.count
    assert one.mean == pytest.approx(other.mean, rel=1e-12)
    scale = np.abs(other.comoment).max() + 1e-9
    assert one.comoment == pytest.approx(other.comoment, rel=1e-9, abs=1e-11 * scale)


@fixed
@given(seeds, st.lists(st.integers(0, 60), max_size=6))
def test_tallies_of_parts_merge_to_the_whole_in_any_order(seed, cuts):
    rows = rows_of(seed, 60)
    edges = [0, *sorted(cuts), 60]
    parts = [Tally.of(rows[a:b]) if b > a else Tally.empty(3) for a, b in pairwise(edges)]
    whole = Tally.of(rows)
    assert whole.comoment == pytest.approx(60 * np.cov(rows.T, bias=True))
    assert whole.covariance_of_mean == pytest.approx(np.cov(rows.T) / 60)
    for order in (parts, parts[::-1]):
        assert_equal(reduce(lambda a, b: a + b, order), whole)
        assert_equal(reduce(lambda a, b: b + a, order), whole)
    half = len(parts) // 2
    ends = [sum(some, Tally.empty(3)) for some in (parts[:half], parts[half:])]
    assert_equal(ends[0] + ends[1], whole)
    assert_equal(ends[1] + ends[0], whole)
    assert whole + Tally.empty(3) is whole
    assert Tally.empty(3) + whole is whole


@fixed
@given(seeds, st.floats(-100, 100).filter(lambda c: abs(c) > 1e-3), st.floats(0.6, 0.99))
def test_intervals_go_with_their_quantity(seed, factor, confidence):
    tally = Tally.of(rows_of(seed, 12))

    def ratio(means):
        return means[..., 1:] / means[..., :1]

    found = delta_method(ratio, tally, confidence)
    scaled = delta_method(lambda means: factor * ratio(means), tally, confidence)
    assert scaled.values == pytest.approx(factor * found.values)
    assert scaled.half_width == pytest.approx(abs(factor) * found.half_width)
    assert scaled.high - scaled.values == pytest.approx(scaled.half_width)
    assert scaled.values - scaled.low == pytest.approx(scaled.half_width)
    wider = delta_method(ratio, tally, confidence + 0.005)
    assert (wider.half_width > found.half_width).all()
    change = np.array([[factor, -1.0]])
    combined = delta_method(lambda means: ratio(means) @ change.T, tally, confidence)
    assert found.linear_combination(change).half_width == pytest.approx(
        combined.half_width, rel=1e-6, abs=1e-9
    )
    again = delta_method(ratio, tally + tally, confidence)  # as much again: the error by its root
    shrunk = found.covariance * (11 / 23)
    assert again.covariance == pytest.approx(shrunk, rel=1e-9, abs=1e-9 * np.abs(shrunk).max())


def totals(seed, layout, requests=9):
    """Rows of requests with a plausible text, as the layout has them, without derived columns."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((requests, layout.columns))
    rows[:, layout.rounds] = rng.integers(5, 40, (requests, layout.depth + 1))
    rows[:, layout.time_ms] = rng.uniform(100, 900, (requests, layout.depth + 1))
    rows[:, layout.tokens] = rows[:, layout.rounds]
    for k in range(1, layout.depth + 1):
        reach = np.cumprod(rng.uniform(0.3, 1, (requests, k)), 1)
        accepted = np.floor(rows[:, layout.rounds][:, k : k + 1] * reach)
        rows[:, layout.accepted(k)] = accepted
        rows[:, layout.tokens.start + k] += accepted.sum(1)
    return rows


@fixed
@given(seeds, factors)
def test_units_of_time_change_round_times_and_nothing_else(seed, factor):
    layout = RowLayout(3, True, 3, positions=False)
    rows = totals(seed, layout)
    slow = rows.copy()
    slow[:, layout.time_ms] *= factor
    both = Tally.of(rows), Tally.of(slow)
    expected = dict.fromkeys(("speedup", "marginal", "accept_length", "break_even_rate"), 1.0)
    for name, scale in {**expected, "last_rate": 1.0, "round_time": factor}.items():
        function = getattr(estimators, name)
        here, there = (delta_method(lambda m, f=function: f(m, layout), t, 0.95) for t in both)
        assert there.values == pytest.approx(scale * here.values, rel=1e-9)
        width = scale * here.half_width
        assert there.half_width == pytest.approx(width, rel=1e-5, abs=1e-9 * scale)


@fixed
@given(seeds)
def test_measured_conditional_rates_leave_the_theory_no_error_at_their_depth(seed):
    """Whatever the requests, and its interval is as narrow: an identity has no uncertainty."""
    layout = RowLayout(3, True, 3, positions=False)
    tally = Tally.of(totals(seed, layout))
    times = estimators.round_time(tally.mean, layout)
    form = ClosedFormPredictor(times)
    assert form.error(tally.mean, layout)[-1] == pytest.approx(0, abs=1e-12)
    assert form.length_error(tally.mean, layout)[-1] == pytest.approx(0, abs=1e-12)
    length = delta_method(lambda means: form.length_error(means, layout), tally, 0.95)
    assert length.half_width[-1] < 1e-6 * length.half_width[0] + 1e-7
    assert estimators.exactly_accepted(tally.mean, layout).sum() == pytest.approx(1)
