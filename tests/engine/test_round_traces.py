"""Every text position tried as the start of a round; and requests recorded round by round."""

import numpy as np
import pytest

from mtpsim.acceptance import Regime
from mtpsim.engine.round_traces import record_requests
from mtpsim.engine.simulate import compile_plan, simulate_requests
from mtpsim.exact.chain_solver import solve
from mtpsim.stats.estimators import measured
from tests.support.random_chains import latency_by_depth, random_chain


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
