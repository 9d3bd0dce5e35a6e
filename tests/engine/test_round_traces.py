"""Every text position tried as the start of a round; and requests recorded round by round."""

import numpy as np
import pytest

from mtpsim.acceptance import AcceptanceChain, Independent, Regime
from mtpsim.engine.round_traces import record_requests
from mtpsim.engine.simulate import compile_plan, simulate_requests
from mtpsim.exact.chain_solver import solve
from mtpsim.stats.estimators import measured
from tests.support import naive
from tests.support.random_chains import LIMIT, latency_by_depth, random_chain, z_scores


def window_rows(chain, measured_at, seed, requests=20_000, **horizon):
    plan = compile_plan(
        chain, latency_by_depth(chain.depth), seed=seed, measured_at=measured_at, **horizon
    )
    return simulate_requests(plan, 0, requests)[:, plan.layout.windows]


def one_outcome(seed):
    rng = np.random.default_rng(seed)
    while True:
        chain = random_chain(rng, "token")
        if len(chain.step) == 1:
            return chain


@pytest.mark.parametrize("seed", range(8))
def test_windows_agree_with_the_exact_distribution(seed):
    """The state of position t has distribution start step^t; drafts are verified in order."""
    chain, tokens = one_outcome(seed), 17
    for at in range(1, chain.depth + 1):
        rows = window_rows(chain, at, seed, tokens=tokens)
        starts = tokens - at + 1
        truth, law = np.zeros(1 + at), chain.start
        for _ in range(starts):
            alive = law
            truth[0] += 1
            for j in range(at):
                alive = alive * chain.accept[:, j]
                truth[1 + j] += alive.sum()
                alive = alive @ chain.step[0]
            law = law @ chain.step[0]
        # The last round may read on beyond the limit, but no further position begins a window.
        spare = rows[:, 0] - starts
        assert (spare >= 0).all()
        assert (spare <= at).all()
        rates = rows[:, 1:].mean(0) / rows[:, 0].mean()
        assert rates == pytest.approx(truth[1:] / truth[0], abs=0.03)


@pytest.mark.parametrize("outcomes", [1, 2])
def test_windows_agree_with_the_naive_simulator(outcomes):
    rng = np.random.default_rng(outcomes)
    chain = AcceptanceChain(
        np.array([0.7, 0.3]),
        rng.dirichlet(np.ones(2), (outcomes, 2)),
        np.array([[0.9, 0.8, 0.7], [0.4, 0.3, 0.5]]),
        "token",
        np.ones(2),
    )
    for at in (1, 2, 3):
        fast = window_rows(chain, at, 9, rounds=6)
        slow = np.array([naive.windows(rng, chain, at, rounds=6) for _ in range(4000)], float)
        error = np.hypot(fast.std(0) / np.sqrt(len(fast)), slow.std(0) / np.sqrt(len(slow)))
        assert (np.abs(fast.mean(0) - slow.mean(0)) < LIMIT * error + 1e-9).all()


def test_rates_over_all_positions_exceed_rates_at_round_starts():
    """A round begins where the last one was rejected; negative control for the weighting."""
    chain = Regime(
        model="regime", clock="token", rates=[[0.9, 0.9], [0.4, 0.4]], sojourn=[20, 20]
    ).chain()
    plan = compile_plan(chain, latency_by_depth(2), seed=1, tokens=400)
    rows = simulate_requests(plan, 0, 4000)
    everywhere, _ = measured(rows.mean(0), plan.layout, "every-position")
    rounds, _ = measured(rows.mean(0), plan.layout, "round-pooled")
    assert everywhere[0] == pytest.approx(0.65, abs=0.01)
    assert rounds[0] == pytest.approx(solve(chain, 2, tokens=400).conditional[0], abs=0.005)
    assert everywhere[0] - rounds[0] > 0.05


@pytest.mark.parametrize("clock", ["round", "token"])
@pytest.mark.parametrize("horizon", [{"rounds": 9}, {"tokens": 23}])
@pytest.mark.parametrize("seed", range(4))
def test_recorded_rounds_add_up_to_the_totals(clock, horizon, seed):
    chain = random_chain(np.random.default_rng(seed), clock)
    for at in range(1, chain.depth + 1):
        plan = compile_plan(
            chain, latency_by_depth(chain.depth), seed=seed, measured_at=at, **horizon
        )
        rows = simulate_requests(plan, 0, 200)
        counts = record_requests(plan, 200, max(horizon.values()))
        live = counts >= 0
        assert (live.sum(1) == rows[:, plan.layout.rounds][:, at]).all()
        for j in range(1, at + 1):
            accepted = rows[:, plan.layout.accepted(at)][:, j - 1]
            assert ((counts >= j).sum(1) == accepted).all()
        tokens = np.where(live, counts + 1, 0).sum(1)
        cut = np.minimum(tokens, horizon.get("tokens", 10**9))
        assert (cut == rows[:, plan.layout.tokens][:, at]).all()


def test_request_means_average_the_rates_of_requests():
    chain = Independent(model="independent", rates=[0.5, 0.5]).chain()
    plan = compile_plan(chain, latency_by_depth(2), seed=1, rounds=3)
    rows = simulate_requests(plan, 0, 5000)
    counts = record_requests(plan, 5000, 3)
    survival, conditional = measured(rows.mean(0), plan.layout, "request-mean")
    one, two = (counts >= 1).sum(1), (counts >= 2).sum(1)
    assert survival == pytest.approx([(one / 3).mean(), (two / 3).mean()])
    has = one > 0
    assert conditional == pytest.approx([(one / 3).mean(), (two[has] / one[has]).mean()])


def test_first_rate_at_each_depth_with_a_token_limit():
    """Depths have different numbers of rounds, so each needs counts of its own."""
    chain = Regime(model="regime", rates=[[0.9, 0.8], [0.3, 0.2]], sojourn=[5, 5]).chain()
    latency = latency_by_depth(2)
    plan = compile_plan(chain, latency, seed=3, tokens=40)
    rows = simulate_requests(plan, 0, 20_000)
    for depth in (1, 2):
        part = plan.layout.accepted(depth)
        rounds = rows[:, plan.layout.rounds][:, depth]
        exact = solve(chain, depth, tokens=40)
        truth = exact.rounds * np.cumsum(exact.accepted[::-1])[::-1][1:]
        assert np.abs(z_scores(rows[:, part], truth)).max() < LIMIT
        assert rounds.mean() == pytest.approx(exact.rounds, rel=0.01)
