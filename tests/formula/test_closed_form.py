"""The closed form: the founding case, published values, and properties of any rates and times."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtpsim.formula import closed_form
from tests.support.strategies import factors, fixed, inner, rate_lists, times_of, unit

RATES = np.array([0.80, 0.74, 0.67])
TIMES = np.array([76.0, 98.0, 118.0, 139.0])


def test_founding_case_to_six_digits():
    assert closed_form.accept_length(RATES) == pytest.approx([1, 1.8, 2.392, 2.78864], abs=5e-7)
    speedups = closed_form.speedup(RATES, 76.0, TIMES)
    assert speedups == pytest.approx([1, 1.395918, 1.540610, 1.524724], abs=5e-7)
    gains = closed_form.marginal_gain(speedups)
    assert gains == pytest.approx([1, 1.3959, 1.1037, 0.9897], abs=5e-5)
    assert closed_form.break_even_rate(RATES, TIMES)[2] == pytest.approx(0.7191, abs=5e-5)


def test_break_even_where_a_position_is_never_reached_or_costs_nothing():
    never = closed_form.break_even_rate(np.array([0.0, 0.5]), np.array([10.0, 12.0, 14.0]))
    assert np.isinf(never[1])
    free = closed_form.break_even_rate(np.array([0.5, 0.5]), np.array([10.0, 10.0, 9.0]))
    assert free == pytest.approx([0, 0])
    times = np.array([10.0, 10.0, 10.0, 9.0])
    assert closed_form.break_even_rate(np.array([0.0, 0.5, 0.5]), times).tolist() == [0, 0, 0]


def test_survival_must_not_increase():
    rates = closed_form.conditional_from(np.array([0.5, 0.0, 0.0]), "survival")
    assert rates.tolist() == [0.5, 0, 0]
    with pytest.raises(ValueError, match=r"position 2 is 0\.6 after 0\.5"):
        closed_form.conditional_from(np.array([0.5, 0.6]), "survival")
    with pytest.raises(ValueError, match="not 'joint'"):
        closed_form.conditional_from(RATES, "joint")


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.9])
def test_one_rate_at_all_positions_gives_the_geometric_form(alpha):
    length = (1 - alpha**6) / (1 - alpha)
    assert closed_form.accept_length(np.full(5, alpha))[5] == pytest.approx(length)
    times = 1 + 0.1 * np.arange(6)
    general = closed_form.speedup(np.full(5, alpha), 1.0, times)[5]
    assert general == pytest.approx(length / (5 * 0.1 + 1))


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
        assert (high[: at + 1] == low[: at + 1]).all()  # shallower depths do not depend on it


@fixed
@given(rate_lists)
def test_a_depth_does_not_depend_on_deeper_rates(rates):
    whole, times = closed_form.accept_length(rates), times_of(rates.size)
    needed = closed_form.break_even_rate(rates, times)
    for k in range(1, rates.size + 1):
        assert closed_form.accept_length(rates[:k]) == pytest.approx(whole[: k + 1], rel=1e-15)
        changed = rates.copy()
        changed[k - 1 :] = 0.5
        assert closed_form.break_even_rate(changed, times)[k - 1] == needed[k - 1]


@fixed
@given(rate_lists, factors)
def test_units_of_time_change_no_speedup(rates, factor):
    times = times_of(rates.size)
    scaled = closed_form.speedup(rates, factor * times[0], factor * times)
    assert scaled == pytest.approx(closed_form.speedup(rates, times[0], times))
    needed = closed_form.break_even_rate(rates, times)
    assert closed_form.break_even_rate(rates, factor * times) == pytest.approx(needed)
    assert np.cumprod(closed_form.marginal_gain(scaled)) == pytest.approx(scaled)


@fixed
@given(st.lists(inner, min_size=1, max_size=6).map(np.array))
def test_conversions_of_rates_round_trip(rates):
    reach = closed_form.survival(rates)
    assert closed_form.conditional_from(reach, "survival") == pytest.approx(rates)
    assert (np.diff(reach) <= 0).all()
    assert 1 + reach.sum() == pytest.approx(closed_form.accept_length(rates)[-1])
    for other in ("conditional", "marginal"):
        assert closed_form.conditional_from(rates, other).tolist() == rates.tolist()


@fixed
@given(rate_lists.filter(lambda rates: (rates[:-1] > 0.01).all()), st.floats(-1, 1))
def test_a_step_is_a_gain_exactly_if_its_rate_is_above_break_even(rates, offset):
    times = np.sort(times_of(rates.size))
    for k in range(1, rates.size + 1):
        changed = rates.copy()
        changed[k - 1] = closed_form.break_even_rate(rates, times)[k - 1]
        at_par = closed_form.marginal_gain(closed_form.speedup(changed, times[0], times))[k]
        assert at_par == pytest.approx(1)
        changed[k - 1] += offset
        gain = closed_form.marginal_gain(closed_form.speedup(changed, times[0], times))[k]
        assert (gain - 1) * offset > 0 or abs(gain - 1) < 1e-9
