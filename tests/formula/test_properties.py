"""Statements that hold of the closed form whatever the rates and times."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtpsim.formula import closed_form
from tests.support.strategies import factors, fixed, inner, rate_lists, times_of, unit


@fixed
@given(rate_lists, st.integers(0, 5), unit)
def test_a_higher_rate_never_shortens_accepts_nor_slows_any_depth(rates, at, better):
    at %= rates.size
    raised = rates.copy()
    raised[at] = max(rates[at], better)
    times = times_of(rates.size)
    for of in (closed_form.accept_length, lambda r: closed_form.speedup(r, times[0], times)):
        low, high = of(rates), of(raised)
        assert (high >= low - 1e-12).all()
        assert (high[: at + 1] == low[: at + 1]).all()  # shallower depths don't see it


@fixed
@given(rate_lists)
def test_a_depth_does_not_see_deeper_rates(rates):
    whole, times = closed_form.accept_length(rates), times_of(rates.size)
    needed = closed_form.break_even_rate(rates, times)
    for k in range(1, rates.size + 1):
        assert closed_form.accept_length(rates[:k]) == pytest.approx(whole[: k + 1], rel=1e-15)
        assert closed_form.pooled(rates, k) == pytest.approx((whole[k] - 1) / k)
        changed = rates.copy()
        changed[k - 1 :] = 0.5
        assert closed_form.break_even_rate(changed, times)[k - 1] == needed[k - 1]


@fixed
@given(rate_lists, factors)
def test_units_of_time_change_no_speedup_of_the_closed_form(rates, factor):
    times = times_of(rates.size)
    there = closed_form.speedup(rates, factor * times[0], factor * times)
    assert there == pytest.approx(closed_form.speedup(rates, times[0], times))
    assert closed_form.break_even_rate(rates, factor * times) == pytest.approx(
        closed_form.break_even_rate(rates, times)
    )
    assert closed_form.optimum_depth(there) == int(np.flatnonzero(there == there.max())[0])
    assert np.cumprod(closed_form.marginal_gain(there)) == pytest.approx(there)


@fixed
@given(st.lists(inner, min_size=1, max_size=6).map(np.array))
def test_conversions_of_rates_go_round(rates):
    reach = closed_form.survival(rates)
    assert closed_form.conditional_from(reach, "survival") == pytest.approx(rates)
    assert (np.diff(reach) <= 0).all()
    assert 1 + rates.size * closed_form.pooled(rates) == pytest.approx(
        closed_form.accept_length(rates)[-1]
    )
    for other in ("conditional", "marginal"):
        assert closed_form.conditional_from(rates, other).tolist() == rates.tolist()


@fixed
@given(rate_lists.filter(lambda rates: (rates[:-1] > 0.01).all()), st.floats(-1, 1))
def test_a_step_pays_just_where_its_rate_is_above_break_even(rates, offset):
    times = np.sort(times_of(rates.size))
    for k in range(1, rates.size + 1):
        changed = rates.copy()
        changed[k - 1] = closed_form.break_even_rate(rates, times)[k - 1] + offset
        gain = closed_form.marginal_gain(closed_form.speedup(changed, times[0], times))[k]
        assert (gain - 1) * offset > 0 or abs(gain - 1) < 1e-9
