"""Depth 0 of an engine with speculation enabled, beside an engine without, for every latency."""

import numpy as np
import pytest

import mtpsim
from mtpsim.engine.server import compile_server
from mtpsim.policy import Environment
from tests.support.cost_models import LAWS
from tests.support.examples import independent, section, simulation

DRAFT = {"base": 1.0, "per_token": 0.5}
TIMES = {
    name: {"model": name.partition(",")[0], "draft": DRAFT, **keys} for name, keys in LAWS.items()
}
TIMES["times"] = {"target": 9.0, "verify": DRAFT | {"base": 9.5}, "draft": DRAFT}
TIMES["times with noise"] = TIMES["times"] | {"noise": {"distribution": "lognormal", "cv": 0.3}}
RATES = independent(0.9, 0.8, 0.7, 0.6)
HELD = {"rule": "fixed", "depth": 0}
SHARE = 0.25


def text(name, **keys):
    return RATES + section("latency", **TIMES[name], **keys)


@pytest.mark.parametrize("name", TIMES)
def test_a_policy_at_depth_0_pays_and_plain_decoding_does_not(name):
    policies = section("adaptive", policies=["off", HELD])
    few = simulation(rounds=20, requests=40) + policies
    (point,) = mtpsim.run(mtpsim.parse(text(name, overhead_off=SHARE) + few)).data.points
    off, held = point.adaptive.policies[:2]
    for found, expected in ((off, 1.0), (held, 1 / (1 + SHARE))):
        assert found.speedup.mean == pytest.approx(expected)
        assert found.speedup.exact == pytest.approx(expected)
    (free,) = mtpsim.run(mtpsim.parse(text(name) + few)).data.points  # negative control
    assert free.adaptive.policies[1].speedup.mean == pytest.approx(1.0)


@pytest.mark.parametrize("name", [name for name in TIMES if "times" not in name])
def test_a_server_at_depth_0_pays_and_plain_decoding_does_not(name):
    serving = {"arrivals": {"closed": 3}, "prompt": 5, "output": 8, "requests": 30, "depths": [0]}
    serving |= {"max_requests": 8, "max_tokens": 100, "policies": [HELD, "goodput"]}
    given = text(name, overhead_off=SHARE) + section("serving", **serving)
    experiment = mtpsim.parse(given)
    off, held, _ = mtpsim.run(experiment).data.points[0].serving.arms
    assert off.throughput.mean == pytest.approx(held.throughput.mean * (1 + SHARE))
    batch, latency = compile_server(experiment).plan.arms[-1].batch, experiment.latency
    times = sum(latency.at_batch(5.0, 4)) * np.append(1 + SHARE, np.ones(4))
    goodput = experiment.serving.policies[1]
    known = goodput.parameters(Environment(times, np.full(4, np.nan), 5.0))
    np.testing.assert_array_equal(batch.p[5, : known.size], known)


def test_check_states_what_depth_0_costs():
    described = mtpsim.parse(text("times", overhead_off=SHARE)).latency.describe()
    assert "a plain step takes 25 % longer where a policy drafts nothing" in described
    assert described[:-1] == mtpsim.parse(text("times")).latency.describe()
