"""The baselines of the benchmark simulate what mtpsim does; no time is asserted."""

import sys
from pathlib import Path

import numpy as np
import pytest

from mtpsim.acceptance import Regime
from mtpsim.exact import solve
from mtpsim.policy import RULES

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import numpy_baseline

ACCEPT = np.array([[0.90, 0.85, 0.80], [0.50, 0.40, 0.30]])


@pytest.mark.parametrize("clock", ["round", "token"])
@pytest.mark.parametrize("way", ["plain", "tuned"])
def test_numpy_baselines_are_right(clock, way):
    name = f"{'rounds' if clock == 'round' else 'positions'}_{way}"
    table = np.cumprod(ACCEPT, axis=1) if clock == "round" else ACCEPT
    rng = np.random.default_rng(4)
    function = getattr(numpy_baseline, name)
    tokens, seconds = function(rng, 4000, 50, np.array([0.05, 0.05]), table, 0.1)
    chain = Regime(model="regime", clock=clock, rates=ACCEPT.tolist(), sojourn=[20, 20]).chain()
    truth = solve(chain, 3, rounds=50).tokens
    assert abs(tokens.mean() - truth) < 5 * tokens.std() / np.sqrt(4000)
    assert seconds.mean() == pytest.approx(50, abs=5 * seconds.std() / np.sqrt(4000))


@pytest.mark.parametrize("clock", ["round", "token"])
def test_the_measured_kernel_is_the_one_that_is_right(clock):
    import run

    assert run.with_mtpsim(clock, 512)() > 0  # exits where the accept length is off


def test_a_policy_is_measured_without_the_oracle():
    import run

    assert run.with_policy({"rule": "fixed", "depth": 3}, 64, 2)() > 0
    assert {policy["rule"] for policy in run.POLICIES} < set(RULES)
