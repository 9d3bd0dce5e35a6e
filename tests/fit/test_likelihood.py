"""The likelihood of a log, its surrogate, and replicas simulated from a chain."""

from itertools import pairwise

import numpy as np
import pytest

from mtpsim.acceptance import AcceptanceChain
from mtpsim.exact.chain_solver import solve
from mtpsim.fit.likelihood import PositionCounts, RoundSequence, position_counts
from mtpsim.fit.replicas import simulate_replica
from tests.support import naive
from tests.support.fitting import TRUTH, candidate, chain_of, random_chain, shape, simulated


@pytest.mark.parametrize("outcomes", [1, 2])
@pytest.mark.parametrize("clock", ["round", "token"])
def test_likelihood_is_the_sum_over_state_paths(clock, outcomes):
    rng = np.random.default_rng(5)
    for _ in range(12):
        chain = random_chain(rng, rng.integers(1, 4), 3, clock, outcomes)
        rounds = simulate_replica(chain, shape(4, 4, rng.integers(0, 4, 16)), rng)
        found = RoundSequence(rounds, 3).log_likelihood(chain)
        for r, (first, last) in enumerate(pairwise(rounds.offsets)):
            part = rounds.drafted[first:last].tolist(), rounds.accepted[first:last].tolist()
            assert found[r] == pytest.approx(naive.log_likelihood(chain, *part), rel=1e-12)
    other = random_chain(rng, chain.states, 3, clock, outcomes)
    assert abs(found - RoundSequence(rounds, 3).log_likelihood(other)).max() > 0.01


def test_counts_and_rounds_agree_for_static_chains():
    rounds = simulated(TRUTH["beta"], 50, 20, [1, 3, 2])
    chain = chain_of(TRUTH["beta"])
    counts = position_counts(rounds, 3)
    # A step that differs from the identity by rounding only is evaluated round by round.
    nearly = np.eye(chain.states) * (1 - 1e-13)
    nearly[:, 0] += 1 - nearly.sum(1)
    dynamic = AcceptanceChain(chain.start, nearly[None], chain.accept, "round", chain.slowdown)
    assert RoundSequence(rounds, 3).log_likelihood(dynamic) == pytest.approx(
        counts.log_likelihood(chain), rel=1e-9
    )
    with pytest.raises(ValueError, match="counts have no likelihood"):
        counts.log_likelihood(chain_of(TRUTH["regime2-round"]))


def test_likelihood_of_counts_by_hand():
    counts = PositionCounts(np.array([[4, 3]]), np.array([[3, 1]]), np.array([4]))
    chain = chain_of({"model": "independent", "rates": [0.75, 1 / 3]})
    expected = np.log([0.75**3 * 0.25 * (1 / 3) * (2 / 3) ** 2])
    assert counts.log_likelihood(chain) == pytest.approx(expected)


@pytest.mark.parametrize("name", TRUTH)
def test_surrogate_has_the_gradient_of_the_likelihood(name):
    model = candidate(name)
    data = RoundSequence(simulated(TRUTH["regime2-token"], 30, 20, [3, 1, 2]), 3)
    parameters = model.initial(np.array([0.8, 0.7, 0.6]))[0]
    total, surrogate = data.surrogate(model.chain(parameters))
    assert total == pytest.approx(data.log_likelihood(model.chain(parameters)).sum())
    for step in 1e-4 * np.eye(parameters.size):
        above, below = (model.chain(parameters + sign * step) for sign in (1, -1))
        slope = data.log_likelihood(above).sum() - data.log_likelihood(below).sum()
        assert surrogate(above) - surrogate(below) == pytest.approx(slope, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("clock", ["round", "token"])
def test_replicas_follow_the_distribution_of_the_chain(clock):
    """Against the exact distribution and the naive simulator, position by position."""
    rng = np.random.default_rng(2)
    chain = random_chain(rng, 3, 3, clock)
    found = simulate_replica(chain, shape(20_000, 12, 3), rng)
    law = solve(chain, 3, rounds=12).accepted
    share = np.bincount(found.accepted, minlength=4) / found.accepted.size
    assert share == pytest.approx(law, abs=5 * np.sqrt(1 / 20_000))
    first = found.accepted[found.offsets[:-1]]
    slow = [naive.counts(rng, chain, 3, 1)[0] for _ in range(3000)]
    assert first.mean() == pytest.approx(np.mean(slow), abs=5 * np.std(slow) / 3000**0.5)
    wrong = random_chain(rng, 3, 3, clock)
    assert abs(share - solve(wrong, 3, rounds=12).accepted).max() > 5 * np.sqrt(1 / 20_000)
