"""The load at which a share of requests is fast enough, on a queue with a known answer."""

import numpy as np
import pytest

from mtpsim.stats.estimators import Tally, delta_method
from mtpsim.stats.root_search import greatest_load

SHARE, GOAL, REPLICATIONS, REQUESTS, WARM_UP = 0.9, 6.0, 20, 1000, 300
EXACT = 1 + np.log(1 - SHARE) / GOAL  # M/M/1 with service rate 1: P(T > t) = exp(-(1 - load) t)


def share_of(seed, load, *, common=True):
    """Share within the goal, and its half-width, from replications of M/M/1."""
    random = np.random.default_rng(seed if common else (seed, round(1e6 * load)))
    shape = REPLICATIONS, REQUESTS + WARM_UP
    service, gaps = random.exponential(1, shape), random.exponential(1, shape)
    walk = np.cumsum(service[:, :-1] - gaps[:, 1:] / load, axis=1)
    walk = np.concatenate([np.zeros((REPLICATIONS, 1)), walk], 1)
    times = walk - np.minimum.accumulate(walk, 1) + service
    good = (times[:, WARM_UP:] <= GOAL).mean(1)
    found = delta_method(lambda m: m, Tally.of(good[:, None]), 0.95)
    return float(found.values[0]), float(found.half_width[0])


def test_intervals_cover_the_load():
    runs, covered, errors, others = 200, 0, [], []
    for seed in range(runs):
        found = greatest_load(lambda load, seed=seed: share_of(seed, load), SHARE, 0.3)
        covered += found.low <= EXACT <= found.high
        errors.append(found.load - EXACT)
        others.append(found.high - found.low)
        assert found.evaluations < 10
    assert covered / runs == pytest.approx(0.95, abs=4 * np.sqrt(0.05 * 0.95 / runs) + 0.01)
    assert np.mean(others) / 2 == pytest.approx(2.1 * np.std(errors), rel=0.15)


def test_without_common_numbers_intervals_cover_too():
    """Noise between loads near each other must not pass for the slope."""
    runs = 100
    roots = [
        greatest_load(lambda load, seed=seed: share_of(seed, load, common=False), SHARE, 0.3)
        for seed in range(runs)
    ]
    covered = np.mean([root.low <= EXACT <= root.high for root in roots])
    assert covered > 0.95 - 4 * np.sqrt(0.05 * 0.95 / runs)
    narrow = [abs(root.load - EXACT) < (root.high - root.low) / 8 for root in roots]  # control
    assert np.mean(narrow) < 0.6


def test_a_known_share_is_not_simulated_again():
    calls = []

    def evaluate(load):
        calls.append(load)
        return 1 - load / 100, 0.001

    known = {8.0: (0.92, 0.001)}
    found = greatest_load(evaluate, 0.9, 8.0, known)
    assert found.load == pytest.approx(10.0, rel=1e-3)
    assert 8.0 not in calls
    assert found.evaluations == len(calls)
    assert known.keys() == {8.0, *calls}


@pytest.mark.parametrize(("share", "load"), [(0.5, 0.0), (1.0, np.inf)])
def test_goals_that_are_met_at_no_load_or_at_any(share, load):
    found = greatest_load(lambda _: (share, 0.01), 0.9, 1.0)
    assert found.load == load
    assert found.evaluations <= 17


@pytest.mark.parametrize("target", [0.9999, 0.99999])
def test_a_share_near_one_has_a_load(target):
    found = greatest_load(lambda load: (1 - (load / 1000) ** 2, 1e-7), target, 1.0)
    assert found.load == pytest.approx(1000 * np.sqrt(1 - target), rel=0.02)


@pytest.mark.parametrize("start", [0.3, 3.0, 640.0, 5000.0])
def test_an_interval_is_one_percent_wide_at_least_and_begins_at_no_load(start):
    """A search that starts far above ends as soon as one from below."""
    narrow, wide = (
        greatest_load(lambda load, half=half: (1 - load / 100, half), 0.9, start)
        for half in (0.0, 0.5)
    )
    assert narrow.load == wide.load == pytest.approx(10, rel=0.01)
    assert (narrow.low, narrow.high) == pytest.approx((0.99 * narrow.load, 1.01 * narrow.load))
    assert wide.low == 0
    assert narrow.evaluations <= 14
