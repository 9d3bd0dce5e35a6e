"""Random lengths of requests, tied to the state in which a request begins."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import mtpsim
from mtpsim.acceptance.lengths import length_table
from mtpsim.engine.simulate import compile_point, lengths_of, simulate_requests
from mtpsim.exact import chain_solver
from mtpsim.exact.chain_solver import solve
from tests.support import naive
from tests.support.examples import TWO_DEEP, beta, problem_of, regime, simulation
from tests.support.policy_plans import two_states
from tests.support.random_chains import LIMIT, z_scores

EASY_AND_HARD = regime([0.95, 0.9], [0.3, 0.2], sojourn=[60, 60], clock="token")
HARD_ARE_LONG = {"cv": 0.8, "correlation": -0.7}


def experiment(lengths, text=EASY_AND_HARD, **more):
    given = {"tokens": 60, "lengths": lengths, "requests": 4000, **more}
    return mtpsim.parse(text + TWO_DEEP + simulation(**given))


@pytest.mark.parametrize(
    ("distribution", "cv", "law"),
    [
        ("lognormal", 0.5, stats.lognorm(np.sqrt(np.log(1.25)), scale=300 / np.sqrt(1.25))),
        ("gamma", 1.5, stats.gamma(1.5**-2, scale=300 * 1.5**2)),
        ("geometric", 1.0, stats.geom(1 / 300)),
    ],
)
def test_lengths_follow_their_distribution_in_every_state(distribution, cv, law):
    given = {"mean": 300, "cv": cv, "distribution": distribution}
    table = length_table(two_states("token"), **given, correlation=0.0)
    assert table.shares[0] == pytest.approx(table.shares[1])
    assert table.shares[0] @ table.tokens == pytest.approx(300, rel=2e-3)
    medians = law.ppf((np.arange(32) + 0.5) / 32)
    found = np.repeat(table.tokens, np.rint(32 * table.shares[0]).astype(int))
    assert found[1:-1] == pytest.approx(medians[1:-1], rel=0.05, abs=1)


@pytest.mark.parametrize("correlation", [-1.0, -0.6, 0.3, 0.9])
def test_lengths_have_the_rank_correlation(correlation):
    """Of many states, each of a narrow range of ease."""
    model = beta(0.7, 5, 2) + TWO_DEEP + simulation(tokens=200)
    chain = mtpsim.parse(model).acceptance.chain()
    given = {"mean": 200, "cv": 1.0, "distribution": "gamma", "correlation": correlation}
    table = length_table(chain, **given)
    joint = chain.start[:, None] * table.shares
    assert joint.sum(0) @ table.tokens == pytest.approx(200, rel=0.02)
    order = np.argsort(chain.survival.sum(1))
    ranks = [joint.sum(axis)[some].cumsum() - joint.sum(axis)[some] / 2 for axis, some in (
        (1, order), (0, slice(None)))]  # fmt: skip
    apart = [rank - 0.5 for rank in ranks]
    product = apart[0] @ joint[order] @ apart[1] * 12
    assert product == pytest.approx(correlation, abs=0.02)


def test_lengths_at_once_are_the_sum_over_lengths(monkeypatch):
    chain = experiment(HARD_ARE_LONG).source
    at_once = [solve(chain, depth, tokens=60) for depth in range(3)]
    monkeypatch.setattr(chain_solver, "FEW_LENGTHS", 99)
    for found, depth in zip(at_once, range(3), strict=True):
        one_by_one = solve(chain, depth, tokens=60)
        assert found.rounds == pytest.approx(one_by_one.rounds, rel=1e-10)
        assert found.tokens == pytest.approx(one_by_one.tokens, rel=1e-10)
        assert found.accepted == pytest.approx(one_by_one.accepted, rel=1e-10)
        assert found.starts == pytest.approx(one_by_one.starts, rel=1e-10)


@pytest.mark.parametrize("clock", ["round", "token"])
def test_kernel_slow_twin_and_exact_answer_agree(clock):
    text = EASY_AND_HARD.replace("token", clock)
    made = experiment(HARD_ARE_LONG, text)
    plan, chain = compile_point(made).plan, made.source
    rows, own = simulate_requests(plan, 0, 20_000), lengths_of(plan, 0, 20_000)
    assert (rows[:, plan.layout.tokens][:, 1] == own).all()
    rng, table = np.random.default_rng(8), chain.length_table
    for depth in (1, 2):
        exact = solve(chain, depth, tokens=60)
        truth = np.array([exact.tokens, exact.rounds])
        columns = rows[:, [plan.layout.tokens.start + depth, plan.layout.rounds.start + depth]]
        assert np.abs(z_scores(columns, truth)).max() < LIMIT
        slow = []
        for _ in range(1500):
            state = naive.pick(rng, chain.start)
            tokens = int(rng.choice(table.tokens, p=table.shares[state]))
            begun = replace(chain, start=np.eye(2)[state], length_table=None)
            found = naive.request(rng, begun, depth, tokens=tokens)
            slow.append([found[0], found[2]])
        assert np.abs(z_scores(np.array(slow), truth)).max() < LIMIT
    other = experiment({**HARD_ARE_LONG, "correlation": 0.7}, text).source  # negative control
    truth[1] = solve(other, 2, tokens=60).rounds
    assert abs(z_scores(columns, truth)[1]) > LIMIT


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"rounds": 9, "lengths": {"cv": 0.5}}, "needs `tokens`, the mean"),
        ({"tokens": 9, "lengths": {"cv": 0.5, "distribution": "geometric"}}, "its mean only"),
        ({"tokens": 9, "lengths": {"cv": 0.5, "correlation": 2}}, "it must be at most 1"),
        ({"tokens": {"mean": 9, "cv": 0.5}}, "or give tokens and `lengths`, such as { cv = 0.8 }"),
    ],
)
def test_wrong_lengths_are_refused(keys, message):
    assert message in problem_of(EASY_AND_HARD + TWO_DEEP + simulation(**keys))
