"""The search for the capacity of a server, on shares of requests made up by rate."""

from types import SimpleNamespace

import numpy as np
import pytest

import mtpsim
from mtpsim.common.errors import InputError
from mtpsim.config.experiment import Point
from mtpsim.engine.server_data import Arm, ServerLayout
from mtpsim.runs.capacity import capacity_of, has_capacity
from mtpsim.stats.estimators import Tally
from tests.support.examples import independent, linear, section

TOML = independent(0.8, 0.7) + linear(10, 0.05, 1)
TOML += section("serving", arrivals={"rate": 4}, prompt=200, output=100, goals={"tpot": 9})
TOML += 'capacity = { share = 0.9 }\npolicies = ["ema"]\n'


def with_share(slope, grows_above=np.inf):
    """A simulation in which the share of good requests falls with the rate, and what it was of."""
    seen = []

    def simulate(point):
        serving = point.experiment.serving
        depths = [0, 1, 2] if serving.depths == "each" else serving.depths
        seen.append((serving.arrivals.rate, serving.depths, len(serving.policies)))
        names = [f"depth {k}" if k else "off" for k in depths]
        arms = [Arm(name) for name in [*names, *(p.label for p in serving.policies)]]
        layout = ServerLayout(len(arms))
        rows = np.ones((30, layout.columns))
        noise = np.linspace(-0.01, 0.01, 30)[:, None]
        share = 1 - slope * serving.arrivals.rate + noise
        rows[:, layout.of("first_waiting")] = rows[:, layout.of("last_waiting")] = 0
        if serving.arrivals.rate > grows_above:
            rows[:, layout.of("last_waiting")] = 20 + 100 * noise
        rows[:, layout.of("requests")], rows[:, layout.of("good")] = 100, 100 * share
        return SimpleNamespace(layout=layout, tally=Tally.of(rows), arms=arms)

    return simulate, seen


@pytest.mark.parametrize(("arm", "depths"), [(Arm("depth 2", 2), [2]), (Arm("ema"), [0])])
def test_capacity_is_the_rate_at_which_the_share_is_reached(arm, depths):
    experiment, (simulate, seen) = mtpsim.parse(TOML), with_share(0.01)
    data = SimpleNamespace(experiment=experiment, **vars(simulate(Point({}, experiment))))
    seen.clear()
    found = capacity_of(data, arm, simulate)
    assert found.load == pytest.approx(10.0, rel=1e-3)
    assert 4.0 not in {rate for rate, *_ in seen}
    assert 0.1 < (found.high - found.low) / 2 < 0.5
    assert {(given, policies) for _, (given, *_), policies in seen} == {
        (depths[0], int(arm.name == "ema"))
    }


def test_a_rate_at_which_the_queue_grows_is_above_the_capacity():
    experiment, (simulate, _) = mtpsim.parse(TOML), with_share(0.001, grows_above=30)
    data = SimpleNamespace(experiment=experiment, **vars(simulate(Point({}, experiment))))
    found = capacity_of(data, Arm("depth 2", 2), simulate)
    assert found.load == pytest.approx(30, rel=0.02)
    assert found.low < 0.975 * found.load


def test_capacity_is_searched_once_for_all_rates():
    rate, slots = "serving.arrivals.rate", "serving.max_requests"
    points = mtpsim.parse(f'{TOML}[sweep]\n"{slots}" = [8, 16]\n"{rate}" = [2, 4]\n').points()
    assert has_capacity(points) == [True, False, True, False]
    assert has_capacity([Point({}, mtpsim.parse(TOML.replace("capacity", "#")))]) == [False]


@pytest.mark.parametrize(
    ("change", "missing"),
    [(("goals = { tpot = 9 }", ""), "goals"), (("rate = 4", "closed = 8"), "arrivals.rate")],
)
def test_a_capacity_needs_goals_and_a_rate(change, missing):
    with pytest.raises(InputError, match=rf"needs serving\.{missing}"):
        mtpsim.parse(TOML.replace(*change))
