"""Statements that hold of every input: drawn by hypothesis, the same ones each time."""

from dataclasses import replace
from functools import reduce
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mtpsim import estimate, theory
from mtpsim.acceptance import AcceptanceChain, Bounds
from mtpsim.compile import plan_of
from mtpsim.estimate import Theory, delta
from mtpsim.exact import count_moments, round_law, solve, speedups
from mtpsim.latency import Latency
from mtpsim.layout import Layout
from mtpsim.simulate import simulate_requests
from mtpsim.tally import Tally

settings.register_profile(
    "fixed",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=40,
    phases=[Phase.generate],  # most inputs come from seeds: smaller ones would say no more
)
fixed = settings(settings.get_profile("fixed"))
few = settings(settings.get_profile("fixed"), max_examples=12)

unit = st.floats(0, 1, allow_subnormal=False)
inner = st.floats(0.01, 0.99)
rate_lists = st.lists(unit, min_size=1, max_size=6).map(np.array)
factors = st.floats(1e-3, 1e3)
seeds = st.integers(0, 2**32)
horizons = st.sampled_from([{}, {"rounds": 1}, {"rounds": 7}, {"tokens": 1}, {"tokens": 19}])


def chain_of(seed, clock=None, outcomes=None):
    rng = np.random.default_rng(seed)
    states, depth = rng.integers(1, 5), rng.integers(1, 5)
    return AcceptanceChain(
        rng.dirichlet(np.ones(states)),
        rng.dirichlet(np.ones(states), (outcomes or rng.integers(1, 3), states)),
        rng.random((states, depth)),
        clock or str(rng.choice(["round", "token"])),
        rng.uniform(0.5, 2, states),
    )


chains = seeds.map(chain_of)


def times_of(depth, seed=0):
    return np.random.default_rng(seed).uniform(5, 50, depth + 1)


def same(one, other):
    """Two solutions of a model, to rounding."""
    assert one.accept_length == pytest.approx(other.accept_length)
    assert one.accepted == pytest.approx(other.accepted, abs=1e-12)
    assert one.slow_rounds == pytest.approx(other.slow_rounds)
    assert one.rounds == pytest.approx(other.rounds)


# The closed form


@fixed
@given(rate_lists, st.integers(0, 5), unit)
def test_a_higher_rate_never_shortens_accepts_nor_slows_any_depth(rates, at, better):
    at %= rates.size
    raised = rates.copy()
    raised[at] = max(rates[at], better)
    times = times_of(rates.size)
    for of in (theory.accept_length, lambda r: theory.speedup(r, times[0], times)):
        low, high = of(rates), of(raised)
        assert (high >= low - 1e-12).all()
        assert (high[: at + 1] == low[: at + 1]).all()  # shallower depths don't see it


@fixed
@given(rate_lists)
def test_a_depth_does_not_see_deeper_rates(rates):
    whole, times = theory.accept_length(rates), times_of(rates.size)
    needed = theory.break_even_rate(rates, times)
    for k in range(1, rates.size + 1):
        assert theory.accept_length(rates[:k]) == pytest.approx(whole[: k + 1], rel=1e-15)
        assert theory.pooled(rates, k) == pytest.approx((whole[k] - 1) / k)
        changed = rates.copy()
        changed[k - 1 :] = 0.5
        assert theory.break_even_rate(changed, times)[k - 1] == needed[k - 1]


@fixed
@given(rate_lists, factors)
def test_units_of_time_change_no_speedup_of_the_closed_form(rates, factor):
    times = times_of(rates.size)
    there = theory.speedup(rates, factor * times[0], factor * times)
    assert there == pytest.approx(theory.speedup(rates, times[0], times))
    assert theory.break_even_rate(rates, factor * times) == pytest.approx(
        theory.break_even_rate(rates, times)
    )
    assert theory.optimum_depth(there) == int(np.flatnonzero(there == there.max())[0])
    assert np.cumprod(theory.marginal_gain(there)) == pytest.approx(there)


@fixed
@given(st.lists(inner, min_size=1, max_size=6).map(np.array))
def test_conversions_of_rates_go_round(rates):
    reach = theory.survival(rates)
    assert theory.conditional_from(reach, "survival") == pytest.approx(rates)
    assert (np.diff(reach) <= 0).all()
    assert 1 + rates.size * theory.pooled(rates) == pytest.approx(theory.accept_length(rates)[-1])
    for other in ("conditional", "marginal"):
        assert theory.conditional_from(rates, other).tolist() == rates.tolist()


@fixed
@given(rate_lists.filter(lambda rates: (rates[:-1] > 0.01).all()), st.floats(-1, 1))
def test_a_step_pays_just_where_its_rate_is_above_break_even(rates, offset):
    times = np.sort(times_of(rates.size))
    for k in range(1, rates.size + 1):
        changed = rates.copy()
        changed[k - 1] = theory.break_even_rate(rates, times)[k - 1] + offset
        gain = theory.marginal_gain(theory.speedup(changed, times[0], times))[k]
        assert (gain - 1) * offset > 0 or abs(gain - 1) < 1e-9


# The extreme couplings


@fixed
@given(seeds, st.integers(1, 5), st.floats(0.05, 3))
def test_frechet_bounds_hold_every_coupling(seed, depth, spread):
    """Any joint law of the drafts' fates, only its marginals being stated."""
    law = np.random.default_rng(seed).dirichlet(np.full(2**depth, spread))
    fates = np.array(list(product([0, 1], repeat=depth)), bool)
    truth = [law[fates[:, : k + 1].all(1)].sum() for k in range(depth)]
    rates = np.clip([law[fates[:, j]].sum() for j in range(depth)], 0, 1).tolist()
    low, high = (
        Bounds(model="bounds", rates=rates, coupling=name).chain().survival[0]
        for name in ("countermonotone", "comonotone")
    )
    assert (low <= np.array(truth) + 1e-12).all()
    assert (np.array(truth) <= high + 1e-12).all()


# The chain, solved


@fixed
@given(chains, horizons)
def test_rates_measured_at_a_depth_make_the_closed_form_exact_there(chain, horizon):
    for k in range(1, chain.depth + 1):
        solved = solve(chain, k, **horizon)
        produced = 1 + solved.accepted @ np.arange(k + 1)
        assert theory.accept_length(solved.conditional)[-1] == pytest.approx(produced)
        if "tokens" not in horizon:
            assert solved.accept_length == pytest.approx(produced)


@fixed
@given(chains, horizons, unit)
def test_a_solved_depth_does_not_see_deeper_rates(chain, horizon, other):
    for k in range(chain.depth):
        changed = chain.accept.copy()
        changed[:, k:] = other
        same(solve(chain, k, **horizon), solve(replace(chain, accept=changed), k, **horizon))


@fixed
@given(seeds, seeds)
def test_a_higher_rate_never_shortens_accepts_where_the_text_does_not_mind(seed, where):
    chain, rng = chain_of(seed, "round", 1), np.random.default_rng(where)
    raised = chain.accept.copy()
    at = tuple(rng.integers(raised.shape))
    raised[at] = max(raised[at], rng.random())
    for k in range(chain.depth + 1):
        better = solve(replace(chain, accept=raised), k, rounds=9).accept_length
        assert better >= solve(chain, k, rounds=9).accept_length - 1e-12


@fixed
@given(chains, factors, horizons)
def test_units_of_time_and_of_slowdown_change_no_exact_speedup(chain, factor, horizon):
    times = times_of(chain.depth)
    here = speedups(chain, times, **horizon)
    assert speedups(chain, factor * times, **horizon) == pytest.approx(here)
    slower = replace(chain, slowdown=factor * chain.slowdown)
    assert speedups(slower, times, **horizon) == pytest.approx(here)


@fixed
@given(chains, seeds, horizons)
def test_names_of_hidden_states_do_not_matter(chain, seed, horizon):
    order = np.random.default_rng(seed).permutation(chain.states)
    other = AcceptanceChain(
        chain.start[order],
        chain.step[:, order][:, :, order],
        chain.accept[order],
        chain.clock,
        chain.slowdown[order],
    )
    for k in range(chain.depth + 1):
        one, two = solve(chain, k, **horizon), solve(other, k, **horizon)
        same(one, two)
        assert one.starts[order] == pytest.approx(two.starts)


@fixed
@given(chains, inner, horizons)
def test_a_state_cut_in_two_alike_changes_nothing(chain, share, horizon):
    def cut(law):
        return np.concatenate([law[..., :1] * share, law[..., :1] * (1 - share), law[..., 1:]], -1)

    twice = np.r_[0, np.arange(chain.states)]
    other = AcceptanceChain(
        cut(chain.start),
        cut(chain.step[:, twice]),
        chain.accept[twice],
        chain.clock,
        chain.slowdown[twice],
    )
    for k in range(chain.depth + 1):
        same(solve(chain, k, **horizon), solve(other, k, **horizon))
    if chain.depth > 1:
        one, two = (count_moments(c, chain.depth, 4) for c in (chain, other))
        assert one.covariance == pytest.approx(two.covariance)


def histories(chain, depth, rounds):
    """Every history of accepted drafts, with its probability: by the law of a round."""
    law = round_law(chain, depth)
    for history in product(range(depth + 1), repeat=rounds):
        at = reduce(lambda state, accepted: state @ law[accepted], history, chain.start)
        yield history, at.sum()


@few
@given(chains)
def test_moments_of_counts_are_those_of_all_histories(chain):
    depth, rounds = min(chain.depth, 2), 4
    told = list(histories(chain, depth, rounds))
    counts, weights = np.array([h for h, _ in told], float), np.array([p for _, p in told])
    mean = weights @ counts
    second = (counts * weights[:, None]).T @ counts
    found = count_moments(chain, depth, rounds)
    assert found.mean == pytest.approx(mean)
    assert found.square == pytest.approx(np.diag(second))
    assert found.covariance == pytest.approx(second - np.outer(mean, mean), abs=1e-12)
    pooled = np.diag(second).mean() - mean.mean() ** 2
    assert found.variance == pytest.approx(pooled)
    total = weights @ (counts.sum(1) - mean.sum()) ** 2
    assert found.design_effect == pytest.approx(total / (rounds * pooled))
    early, late = mean[:-2], mean[2:]
    apart = np.mean([second[0, 2], second[1, 3]]) - early.mean() * late.mean()
    assert found.autocorrelation(2) == pytest.approx(apart / pooled, abs=1e-12)
    assert found.lasting_share == pytest.approx(found.covariance[0, 3] / pooled, abs=1e-12)


@few
@given(chains)
def test_totals_of_a_request_are_those_of_all_histories(chain):
    """By tokens: a round begins at each position below the limit that some history comes to."""
    depth, tokens = min(chain.depth, 2), 5
    law = round_law(chain, depth)
    rounds, slow, ended = 0.0, 0.0, np.zeros(depth + 1)
    waiting = [(0, chain.start)]
    while waiting:
        position, at = waiting.pop()
        rounds, slow = rounds + at.sum(), slow + at @ chain.slowdown
        for accepted in range(depth + 1):
            after = at @ law[accepted]
            ended[accepted] += after.sum()
            if position + accepted + 1 < tokens:
                waiting.append((position + accepted + 1, after))
    found = solve(chain, depth, tokens=tokens)
    assert (found.tokens, found.rounds) == (tokens, pytest.approx(rounds))
    assert found.slow_rounds == pytest.approx(slow)
    assert found.accepted == pytest.approx(ended / rounds)


# Requests through the kernel


@few
@given(seeds, st.sampled_from([{"rounds": 6}, {"tokens": 15}]))
def test_columns_of_a_depth_stay_when_deeper_ones_are_simulated(seed, horizon):
    chain = chain_of(seed, outcomes=1)
    deep = chain.depth
    latency = Latency(target=17, verify=20, draft=3)
    whole = plan_of(chain, latency.compile(deep), seed=1, **horizon)
    rows = simulate_requests(whole, 0, 70)
    for k in range(1, deep):
        cut = replace(chain, accept=chain.accept[:, :k])
        plan = plan_of(cut, latency.compile(k), seed=1, **horizon)
        fewer, layout = simulate_requests(plan, 0, 70), plan.layout
        for part in ("tokens", "seconds", "rounds"):
            ours, theirs = getattr(layout, part), getattr(whole.layout, part)
            assert (fewer[:, ours] == rows[:, theirs][:, : k + 1]).all()
        kept = fewer[:, layout.accepted(k)]
        assert (kept == rows[:, whole.layout.accepted(k)][:, :k]).all()


# Tallies and intervals


def rows_of(seed, count, columns=3):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(columns, columns))
    return rng.normal(size=(count, columns)) @ mix + rng.uniform(1, 50, columns)


def alike(one, other):
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
        alike(reduce(lambda a, b: a + b, order), whole)
        alike(reduce(lambda a, b: b + a, order), whole)
    half = len(parts) // 2
    ends = [sum(some, Tally.empty(3)) for some in (parts[:half], parts[half:])]
    alike(ends[0] + ends[1], whole)
    alike(ends[1] + ends[0], whole)
    assert whole + Tally.empty(3) is whole
    assert Tally.empty(3) + whole is whole


@fixed
@given(seeds, st.floats(-100, 100).filter(lambda c: abs(c) > 1e-3), st.floats(0.6, 0.99))
def test_intervals_go_with_their_quantity(seed, factor, confidence):
    tally = Tally.of(rows_of(seed, 12))

    def ratio(means):
        return means[..., 1:] / means[..., :1]

    found = delta(ratio, tally, confidence)
    scaled = delta(lambda means: factor * ratio(means), tally, confidence)
    assert scaled.values == pytest.approx(factor * found.values)
    assert scaled.half_width == pytest.approx(abs(factor) * found.half_width)
    assert scaled.high - scaled.values == pytest.approx(scaled.half_width)
    assert scaled.values - scaled.low == pytest.approx(scaled.half_width)
    wider = delta(ratio, tally, confidence + 0.005)
    assert (wider.half_width > found.half_width).all()
    change = np.array([[factor, -1.0]])
    combined = delta(lambda means: ratio(means) @ change.T, tally, confidence)
    assert found.apply(change).half_width == pytest.approx(combined.half_width, rel=1e-6, abs=1e-9)
    again = delta(ratio, tally + tally, confidence)  # as much again: the error by its root
    shrunk = found.covariance * (11 / 23)
    assert again.covariance == pytest.approx(shrunk, rel=1e-9, abs=1e-9 * np.abs(shrunk).max())


def totals(seed, layout, requests=9):
    """Rows of requests with a plausible text, as the layout has them, without derived columns."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((requests, layout.columns))
    rows[:, layout.rounds] = rng.integers(5, 40, (requests, layout.depth + 1))
    rows[:, layout.seconds] = rng.uniform(100, 900, (requests, layout.depth + 1))
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
    layout = Layout(3, True, 3, positions=False)
    rows = totals(seed, layout)
    slow = rows.copy()
    slow[:, layout.seconds] *= factor
    one, two = Tally.of(rows), Tally.of(slow)
    for name in ("speedup", "marginal", "accept_length", "break_even_rate", "last_rate"):
        function = getattr(estimate, name)
        here, there = (delta(lambda m, f=function: f(m, layout), t, 0.95) for t in (one, two))
        assert there.values == pytest.approx(here.values, rel=1e-9)
        assert there.half_width == pytest.approx(here.half_width, rel=1e-5, abs=1e-9)
    here, there = (delta(lambda m: estimate.round_time(m, layout), t, 0.95) for t in (one, two))
    assert there.values == pytest.approx(factor * here.values)
    assert there.half_width == pytest.approx(factor * here.half_width, rel=1e-5)


@fixed
@given(seeds)
def test_measured_conditional_rates_leave_the_theory_no_error_at_their_depth(seed):
    """Whatever the requests, and its interval is as narrow: an identity has no uncertainty."""
    layout = Layout(3, True, 3, positions=False)
    tally = Tally.of(totals(seed, layout))
    times = estimate.round_time(tally.mean, layout)
    form = Theory(times)
    assert form.error(tally.mean, layout)[-1] == pytest.approx(0, abs=1e-12)
    assert form.length_error(tally.mean, layout)[-1] == pytest.approx(0, abs=1e-12)
    length = delta(lambda means: form.length_error(means, layout), tally, 0.95)
    assert length.half_width[-1] < 1e-6 * length.half_width[0] + 1e-7
    assert estimate.exactly_accepted(tally.mean, layout).sum() == pytest.approx(1)
