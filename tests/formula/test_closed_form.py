import numpy as np
import pytest

from mtpsim.formula import closed_form
from verification.published_values import TABLE_1

RATES = np.array([0.80, 0.74, 0.67])
TIMES = np.array([76.0, 98.0, 118.0, 139.0])


def test_founding_case_to_six_digits():
    assert closed_form.accept_length(RATES) == pytest.approx([1, 1.8, 2.392, 2.78864], abs=5e-7)
    speedups = closed_form.speedup(RATES, 76.0, TIMES)
    assert speedups == pytest.approx([1, 1.395918, 1.540610, 1.524724], abs=5e-7)
    gains = closed_form.marginal_gain(speedups)
    assert gains == pytest.approx([1, 1.3959, 1.1037, 0.9897], abs=5e-5)
    assert closed_form.break_even_rate(RATES, TIMES)[2] == pytest.approx(0.7191, abs=5e-5)
    assert closed_form.optimum_depth(speedups) == 2


@pytest.mark.parametrize("k", [1, 2, 3])
def test_break_even_rate_makes_the_step_gain_nothing(k):
    rates = RATES.copy()
    rates[k - 1] = closed_form.break_even_rate(RATES, TIMES)[k - 1]
    assert closed_form.marginal_gain(closed_form.speedup(rates, 76.0, TIMES))[k] == pytest.approx(1)


def test_break_even_where_a_position_is_never_reached_or_costs_nothing():
    never = closed_form.break_even_rate(np.array([0.0, 0.5]), np.array([10.0, 12.0, 14.0]))
    assert np.isinf(never[1])
    free = closed_form.break_even_rate(np.array([0.5, 0.5]), np.array([10.0, 10.0, 9.0]))
    assert free == pytest.approx([0, 0])
    both = closed_form.break_even_rate(np.array([0.0, 0.5, 0.5]), np.array([10.0, 10.0, 10.0, 9.0]))
    assert both.tolist() == [0, 0, 0]


def test_conversions_round_trip():
    survival = closed_form.survival(RATES)
    assert survival == pytest.approx([0.8, 0.592, 0.39664])
    assert closed_form.conditional_from(survival, "survival") == pytest.approx(RATES)
    assert closed_form.pooled(RATES) == pytest.approx((2.78864 - 1) / 3)
    assert closed_form.pooled(RATES, 1) == pytest.approx(0.8)


def test_survival_may_fall_to_zero_but_not_rise():
    assert closed_form.conditional_from(np.array([0.5, 0.0, 0.0]), "survival").tolist() == [
        0.5,
        0,
        0,
    ]
    with pytest.raises(ValueError, match=r"position 2 is 0\.6 after 0\.5"):
        closed_form.conditional_from(np.array([0.5, 0.6]), "survival")
    with pytest.raises(ValueError, match="not 'joint'"):
        closed_form.conditional_from(RATES, "joint")


@pytest.mark.parametrize(("alpha", "gamma", "operations", "speedup"), TABLE_1)
def test_leviathan_table_1(alpha, gamma, operations, speedup):
    assert closed_form.geometric_operations(alpha, gamma, 0) == pytest.approx(
        operations, abs=0.0051
    )
    assert closed_form.geometric_speedup(alpha, gamma, 0) == pytest.approx(speedup, abs=0.0051)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.9, 1.0])
def test_geometric_form_is_the_general_one_with_equal_rates(alpha):
    closed = 6.0 if alpha == 1 else (1 - alpha**6) / (1 - alpha)
    assert closed_form.geometric_accept_length(alpha, 5) == pytest.approx(closed)
    times = np.array([1.0] + [1 + 0.1 * k for k in range(1, 6)])
    general = closed_form.speedup(np.full(5, alpha), 1.0, times)[5]
    assert closed_form.geometric_speedup(alpha, 5, 0.1) == pytest.approx(general)
