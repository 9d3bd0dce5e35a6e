"""Properties of all chains, solved or simulated, and of all couplings of drafts."""

from dataclasses import replace
from functools import reduce
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtpsim.acceptance import AcceptanceChain, Bounds
from mtpsim.exact.chain_solver import count_moments, round_distribution, solve, speedups
from mtpsim.formula import closed_form
from tests.support.random_chains import random_chain
from tests.support.strategies import factors, few, fixed, inner, seeds, times_of, unit

horizons = st.sampled_from([{}, {"rounds": 1}, {"rounds": 7}, {"tokens": 1}, {"tokens": 19}])


def chain_of(seed, clock=None, outcomes=None):
    rng = np.random.default_rng(seed)
    return random_chain(rng, clock or str(rng.choice(["round", "token"])), outcomes=outcomes)


chains = seeds.map(chain_of)


def same(one, other):
    """Two solutions agree up to rounding."""
    assert one.accept_length == pytest.approx(other.accept_length)
    assert one.accepted == pytest.approx(other.accepted, abs=1e-12)
    assert one.slow_rounds == pytest.approx(other.slow_rounds)
    assert one.rounds == pytest.approx(other.rounds)


# The extreme couplings


@fixed
@given(seeds, st.integers(1, 5), st.floats(0.05, 3))
def test_frechet_bounds_contain_every_coupling(seed, depth, spread):
    """Any joint distribution of draft outcomes with given marginals."""
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
def test_closed_form_is_exact_at_the_measured_depth(chain, horizon):
    for k in range(1, chain.depth + 1):
        solved = solve(chain, k, **horizon)
        produced = 1 + solved.accepted @ np.arange(k + 1)
        assert closed_form.accept_length(solved.conditional)[-1] == pytest.approx(produced)
        if "tokens" not in horizon:
            assert solved.accept_length == pytest.approx(produced)


@fixed
@given(chains, horizons, unit)
def test_depth_is_independent_of_deeper_rates(chain, horizon, other):
    for k in range(chain.depth):
        changed = chain.accept.copy()
        changed[:, k:] = other
        same(solve(chain, k, **horizon), solve(replace(chain, accept=changed), k, **horizon))


@fixed
@given(seeds, seeds)
def test_accept_length_increases_with_rates_if_outcomes_do_not_matter(seed, where):
    chain, rng = chain_of(seed, "round", 1), np.random.default_rng(where)
    raised = chain.accept.copy()
    at = tuple(rng.integers(raised.shape))
    raised[at] = max(raised[at], rng.random())
    for k in range(chain.depth + 1):
        better = solve(replace(chain, accept=raised), k, rounds=9).accept_length
        assert better >= solve(chain, k, rounds=9).accept_length - 1e-12


@fixed
@given(chains, factors, horizons)
def test_speedup_is_independent_of_units(chain, factor, horizon):
    times = times_of(chain.depth)
    here = speedups(chain, times, **horizon)
    assert speedups(chain, factor * times, **horizon) == pytest.approx(here)
    slower = replace(chain, slowdown=factor * chain.slowdown)
    assert speedups(slower, times, **horizon) == pytest.approx(here)


@fixed
@given(chains, seeds, horizons)
def test_order_of_states_does_not_matter(chain, seed, horizon):
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
def test_split_state_changes_nothing(chain, share, horizon):
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
    """Every sequence of accepted drafts and its probability."""
    law = round_distribution(chain, depth)
    for history in product(range(depth + 1), repeat=rounds):
        at = reduce(lambda state, accepted: state @ law[accepted], history, chain.start)
        yield history, at.sum()


@few
@given(chains)
def test_moments_of_counts_by_enumeration(chain):
    depth, rounds = min(chain.depth, 2), 4
    found, chances = zip(*histories(chain, depth, rounds), strict=True)
    counts, weights = np.array(found, float), np.array(chances)
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
def test_request_totals_by_enumeration(chain):
    """By tokens: a round begins at each position below the limit."""
    depth, tokens = min(chain.depth, 2), 5
    law = round_distribution(chain, depth)
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
