"""Estimators and intervals: by hand, and properties that hold for tallies of any requests."""

from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mtpsim.engine.simulate import complete
from mtpsim.formula import closed_form
from mtpsim.kernels.arrays import RowLayout
from mtpsim.stats import estimators
from mtpsim.stats.estimators import ClosedFormPredictor, Estimates, Tally, delta_method, measured
from tests.support.strategies import factors, fixed, seeds


def test_delta_is_the_ratio_estimator_with_student_t():
    rng = np.random.default_rng(1)
    rows = rng.gamma(5, size=(40, 2))
    found = delta_method(lambda m: m[..., :1] / m[..., 1:], Tally.of(rows), 0.9)
    mean = rows.mean(0)
    ratio = mean[0] / mean[1]
    residual = (rows[:, 0] - ratio * rows[:, 1]) / mean[1]
    error = residual.std(ddof=1) / np.sqrt(40)
    assert found.values[0] == pytest.approx(ratio)
    assert found.half_width[0] == pytest.approx(stats.t.ppf(0.95, 39) * error)
    assert found.high[0] - found.low[0] == pytest.approx(2 * found.half_width[0])


def coverage(cluster):
    """Share of 95 % intervals that hold the truth; rounds of a request share a hidden rate."""
    rng = np.random.default_rng(7)
    hits, runs, requests, rounds = 0, 600, 30, 50
    for _ in range(runs):
        rate = rng.beta(3.75, 1.25, (requests, 1))
        tokens = 1.0 + (rng.random((requests, rounds)) < rate)
        rows = tokens.sum(1, keepdims=True) if cluster else tokens.reshape(-1, 1)
        truth = 1.75 * (rounds if cluster else 1)
        found = delta_method(lambda m: m, Tally.of(rows), 0.95)
        hits += bool(found.low[0] <= truth <= found.high[0])
    return hits / runs


def test_intervals_over_requests_cover_and_intervals_over_rounds_do_not():
    error = np.sqrt(0.95 * 0.05 / 600)
    assert abs(coverage(cluster=True) - 0.95) < 3.5 * error
    assert coverage(cluster=False) < 0.6  # negative control: rounds taken as independent


LAYOUT = RowLayout(2, False, 2, positions=False)  # tokens, seconds, rounds by depth, accepted
GIVEN = [10, 18, 24, 760, 980, 1180, 10, 10, 10, 8, 6]


def row(layout, given):
    """A request's row, its derived columns filled in."""
    filled = np.zeros((1, layout.columns))
    filled[0, : len(given)] = given
    complete(filled, layout)
    return filled


MEANS = row(LAYOUT, GIVEN)


def test_quantities_from_totals():
    assert LAYOUT.windows.start == 11
    assert estimators.accept_length(MEANS, LAYOUT)[0] == pytest.approx([1, 1.8, 2.4])
    assert estimators.round_time(MEANS, LAYOUT)[0] == pytest.approx([76, 98, 118])
    gain = estimators.speedup(MEANS, LAYOUT)[0]
    assert gain == pytest.approx([1, 1.8 * 76 / 98, 2.4 * 76 / 118])
    assert estimators.marginal(MEANS, LAYOUT)[0] == pytest.approx(gain[1:] / gain[:-1])
    assert estimators.survival(MEANS, LAYOUT)[0] == pytest.approx([0.8, 0.6])
    assert estimators.conditional(MEANS, LAYOUT)[0] == pytest.approx([0.8, 0.75])
    assert estimators.exactly_accepted(MEANS, LAYOUT)[0] == pytest.approx([0.2, 0.2, 0.6])
    never = MEANS.copy()
    never[0, LAYOUT.accepted(2)] = 0
    assert estimators.conditional(never, LAYOUT)[0] == pytest.approx([0, 0])


def test_break_even_rate_agrees_with_the_closed_form_and_with_the_marginal_gain():
    rates = closed_form.conditional_from(np.array([0.8, 0.6]), "survival")
    closed = closed_form.break_even_rate(rates, np.array([76.0, 98.0, 118.0]))
    assert estimators.break_even_rate(MEANS, LAYOUT)[0] == pytest.approx(closed)
    assert estimators.last_rate(MEANS, LAYOUT)[0] == pytest.approx(rates)
    every = RowLayout(2, True, 2, positions=False)  # p1 moved with depth: only its own rates tell
    means = row(every, [10, 18, 23, 760, 980, 1270, 10, 10, 10, 8, 7.4, 5.6])
    needed = estimators.break_even_rate(means, every)[0]
    have = estimators.last_rate(means, every)[0]
    gains = estimators.marginal(means, every)[0]
    assert ((have > needed) == (gains > 1)).all()
    assert gains[1] < 1
    reach = 0.74
    assert (1 + reach + reach * needed[1]) / 127 == pytest.approx(1.8 / 98)


def test_theory_error_is_predicted_over_simulated():
    times = np.array([76.0, 98.0, 118.0])
    measured = ClosedFormPredictor(times, None)  # pooled conditional rates: an identity
    assert measured.error(MEANS, LAYOUT)[0] == pytest.approx([0, 0, 0])
    stated = ClosedFormPredictor(times, np.array([0.8, 0.8]))
    assert stated.error(MEANS, LAYOUT)[0] == pytest.approx([0, 0, 2.44 / 2.4 - 1])


def test_break_even_times_make_two_depths_equally_fast():
    verify, draft = np.array([76.0, 90, 104]), np.array([0.0, 8, 14])
    at = estimators.break_even_verify(MEANS, LAYOUT, verify, draft)[0]
    length = [1, 1.8, 2.4]
    for k in (1, 2):
        before = verify[k - 1] + draft[k - 1]
        assert length[k] / (at[k - 1] + draft[k]) == pytest.approx(length[k - 1] / before)
    at = estimators.break_even_draft(MEANS, LAYOUT, verify, draft)[0]
    assert length[2] / (verify[2] + at[1]) == pytest.approx(length[1] / 98)


def requests_of(layout, seed=4, requests=7):
    """Rows of whole requests: rounds drawn one by one, at every depth the layout counts."""
    rng = np.random.default_rng(seed)
    rows, counts = np.zeros((requests, layout.columns)), []
    for row in rows:
        played = rng.integers(0, layout.depth + 1, rng.integers(3, 9))
        counts.append(played)
        row[layout.rounds] = len(played)
        row[layout.tokens] = np.minimum(played[:, None] + 1, np.arange(1, layout.depth + 2)).sum(0)
        row[layout.time_ms] = rng.uniform(50, 90, layout.depth + 1) * len(played)
        for k in range(1, layout.depth + 1):
            row[layout.accepted(k)] = [(played >= j).sum() for j in range(1, k + 1)]
        row[layout.squares.stop :] = rng.uniform(5, 9, layout.columns - layout.squares.stop)
    rows[0, layout.accepted(layout.measured_at)] = 0  # a request that never comes to draft 2
    counts[0][:] = 0
    if layout.positions:
        rows[:, layout.windows] = np.sort(rng.integers(1, 30, (requests, 3)), 1)[:, ::-1]
    complete(rows, layout)
    return rows, counts


def test_design_effect_is_spread_of_request_sums_over_that_of_independent_rounds():
    layout = RowLayout(3, True, 2, positions=False)
    rows, counts = requests_of(layout)
    pooled = np.minimum(np.concatenate(counts), 2)
    sums = np.array([np.minimum(c, 2).sum() - pooled.mean() * len(c) for c in counts])
    expected = np.mean(sums**2) / (pooled.var() * len(pooled) / len(counts))
    assert estimators.design_effect(rows.mean(0), layout) == pytest.approx([expected])


def test_measured_rates_by_weighting():
    layout = RowLayout(3, True, 2, positions=True)
    rows, _ = requests_of(layout)
    means = rows.mean(0)
    rounds, reached = rows[:, layout.rounds][:, 2], rows[:, layout.accepted(2)]
    reach, rates = measured(means, layout, "round-pooled")
    assert reach == pytest.approx(reached.sum(0) / rounds.sum())
    assert rates == pytest.approx([reach[0], reach[1] / reach[0]])
    reach, rates = measured(means, layout, "request-mean")
    own = reached / rounds[:, None]
    assert reach == pytest.approx(own.mean(0))
    came = own[:, 0] > 0
    assert rates == pytest.approx([reach[0], (own[came, 1] / own[came, 0]).mean()])
    windows = means[layout.windows]
    reach, rates = measured(means, layout, "every-position")
    assert reach == pytest.approx(windows[1:] / windows[0])
    assert rates == pytest.approx([windows[1] / windows[0], windows[2] / windows[1]])
    by_round = RowLayout(3, True, 2, positions=False)
    means = requests_of(by_round)[0].mean(0)
    one, two = (measured(means, by_round, w) for w in ("every-position", "round-pooled"))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("definition", ["conditional", "survival", "pooled", "first"])
def test_measured_rates_are_used_in_the_closed_form(definition):
    """At depth 2, into a form of depth 3: what is known is used, the last rate carried on."""
    layout = RowLayout(3, True, 2, positions=False)
    means = requests_of(layout)[0].mean(0)
    reach, rates = measured(means, layout, "request-mean")
    expected = {
        "conditional": [*rates, rates[1]],
        "survival": [*reach, reach[1]],
        "pooled": [reach.mean()] * 3,
        "first": [reach[0]] * 3,
    }[definition]
    times = np.array([76.0, 98.0, 118.0, 139.0])
    form = ClosedFormPredictor(times, None, definition, "request-mean")
    assert form.rates_used(means, layout) == pytest.approx(expected)
    length = closed_form.accept_length(np.array(expected))
    assert form.accept_length(means, layout) == pytest.approx(length)
    assert form.speedup(means, layout) == pytest.approx(76 * length / times)
    simulated = estimators.accept_length(means, layout)
    assert form.length_error(means, layout) == pytest.approx(length / simulated - 1)
    fast = estimators.speedup(means, layout)
    assert form.error(means, layout) == pytest.approx(76 * length / times / fast - 1)
    stated = ClosedFormPredictor(times, np.array([0.5, 0.4, 0.3]))
    assert stated.rates_used(means, layout).tolist() == [0.5, 0.4, 0.3]
    both = np.stack([means, 2 * means])
    assert stated.rates_used(both, layout).tolist() == [[0.5, 0.4, 0.3]] * 2


def test_quantities_of_policies():
    layout = RowLayout(3, True, 2, positions=False, policies=2)
    means = requests_of(layout)[0].mean(0)
    tokens, ms, rounds = np.stack([means[layout.policy(p)][:3] for p in (0, 1)]).T
    assert estimators.policy_length(means, layout) == pytest.approx(tokens / rounds)
    assert estimators.policy_time(means, layout) == pytest.approx(ms / rounds)
    plain = means[layout.tokens][0] / means[layout.time_ms][0]
    speedups = estimators.with_policies(means, layout)
    assert speedups[:4] == pytest.approx(estimators.speedup(means, layout))
    assert speedups[4:] == pytest.approx(tokens / ms / plain)


def test_break_even_where_a_position_is_never_reached_or_states_are_slow():
    never = MEANS.copy()
    never[0, LAYOUT.accepted(2)] = 0
    never[0, LAYOUT.tokens][2] = never[0, LAYOUT.tokens][1]  # as many as depth 1
    for time, rate in ((63, -np.inf), (64, np.inf), (65, np.inf)):  # may still gain
        never[0, LAYOUT.time_ms] = [76, 64, time]
        assert estimators.break_even_rate(never, LAYOUT)[0, 1] == rate
    never[0, LAYOUT.accepted(2)] = -0.1  # by control variates
    assert estimators.break_even_rate(never, LAYOUT)[0, 1] == np.inf
    slow = MEANS.copy()
    slow[0, LAYOUT.time_ms] *= [1, 1.5, 2]  # rounds of deeper drafts begin in slower states
    verify, draft = np.array([76.0, 90, 104]), np.array([0.0, 8, 14])
    at = estimators.break_even_verify(slow, LAYOUT, verify, draft)[0]
    for k, (factor, before) in enumerate([(1.5, 76 / 1), (2, 98 * 1.5 / 1.8)]):
        length = [1.8, 2.4][k]
        assert factor * (at[k] + draft[k + 1]) / length == pytest.approx(before)


def test_half_width_is_zero_where_rounding_makes_a_variance_negative():
    found = Estimates(np.ones(2), np.array([[-1e-30, 0], [0, 4.0]]), 3.0)
    assert found.half_width.tolist() == [0, 6]


def test_a_total_that_is_always_zero_adds_no_variance():
    rows = np.stack([np.zeros(9), np.arange(9.0)], 1)
    found = delta_method(lambda m: m[..., :1] * m[..., 1:], Tally.of(rows), 0.9)
    assert found.values.tolist() == found.half_width.tolist() == [0]


def test_quantities_if_depths_have_different_numbers_of_rounds():
    every = RowLayout(2, True, 2, positions=False)
    given = [20, 27, 32, 760, 800, 900, 20, 15, 12, 12, 11, 9]
    means = row(every, given)
    assert estimators.survival(means, every)[0] == pytest.approx([11 / 12, 9 / 12])
    deeper = RowLayout(3, True, 2, positions=False)
    longer = row(deeper, [0] * 8 + [20, 15, 12, 6, 12, 10, 8, 5, 4, 3])
    assert measured(longer, deeper, "round-pooled")[0][0] == pytest.approx([10 / 12, 8 / 12])
    rates, needed = (f(means, every)[0] for f in (estimators.last_rate, estimators.break_even_rate))
    length, time = [1, 27 / 15, 32 / 12], [38, 800 / 15, 75]
    for k, reach in ((1, 1.0), (2, 11 / 12)):
        at_par = length[k - 1] * time[k] / time[k - 1]  # tokens a round that depth k would need
        assert length[k] - reach * (rates[k - 1] - needed[k - 1]) == pytest.approx(at_par)


def test_estimators_are_vectorised_over_means():
    layout = RowLayout(3, True, 2, positions=True, policies=2)
    rows, _ = requests_of(layout)
    parts = np.stack([rows[:2].mean(0), rows[2:4].mean(0), rows[4:].mean(0)])
    names = ("with_policies", "design_effect", "survivorship", "marginal", "exactly_accepted")
    for function in (getattr(estimators, name) for name in names):
        together = function(parts, layout)
        one_by_one = [function(means, layout) for means in parts]
        assert together == pytest.approx(np.stack(one_by_one))


def test_relative_errors_do_not_depend_on_the_scale():
    rows = np.random.default_rng(2).gamma(5, size=(40, 2))

    def ratio(means):
        return means[..., :1] / means[..., 1:]

    one, other = (delta_method(ratio, Tally.of(scale * rows), 0.9) for scale in (1, 1e-6))
    assert other.half_width == pytest.approx(one.half_width, rel=1e-6)


def test_a_covariance_needs_two_requests():
    with pytest.raises(ValueError, match="at least 2 requests, not 1"):
        _ = Tally.of(np.ones((1, 2))).covariance_of_mean
    two = Tally.of(np.array([[1.0], [3.0]])).covariance_of_mean
    assert two.tolist() == [[1]]


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
