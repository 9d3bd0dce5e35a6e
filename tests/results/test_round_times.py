"""Round times drawn for figures, compared with rounds that the engine plays."""

import numpy as np
import pytest

import mtpsim
from mtpsim.engine.round_traces import play_rounds
from mtpsim.engine.simulate import compile_point
from mtpsim.results.point_data import drawn_times
from tests.support.examples import acceptance, latency, noise, simulation

LOGNORMAL = {"distribution": "lognormal", "cv": 0.2}
TIMES = [{**LOGNORMAL, "mean": mean} for mean in (76, [90, 104], [50, 60])]
OWN = latency(*TIMES, correlation=0.8)
SHARED = latency(76, [90, 104], [8, 14], persistence=0.6) + noise(0.3)
SLOW = acceptance("regime", rates=[[0.9, 0.8], [0.5, 0.3]], sojourn=[20, 10], slowdown=[1, 2])
EVEN = acceptance("independent", rates=[0.8, 0.7])


def z_scores(text, drawn_of=None):
    """Of mean and of shares above two thresholds, by depth; standard errors by request."""
    experiment = mtpsim.parse(text + simulation(rounds=50, seed=3))
    compiled = compile_point(experiment)
    drawn = drawn_times(mtpsim.parse((drawn_of or text) + simulation(rounds=50, seed=3)))
    scores = []
    for depth in range(3):
        _, played = play_rounds(compiled.source, compiled.plan, depth, 4000)
        limits = np.quantile(drawn[depth], [0.5, 0.95])
        for value in (lambda t: t, *(lambda t, q=q: t > q for q in limits)):
            by_request, alone = value(played).mean(1), value(drawn[depth])
            errors = by_request.std() / len(by_request) ** 0.5, alone.std() / len(alone) ** 0.5
            scores.append((by_request.mean() - alone.mean()) / np.hypot(*errors))
    return np.abs(scores)


@pytest.mark.parametrize("text", [EVEN + OWN, EVEN + SHARED, SLOW + OWN, SLOW + SHARED])
def test_drawn_times_follow_those_of_played_rounds(text):
    assert z_scores(text).max() < 4


@pytest.mark.parametrize("changed", [EVEN + OWN, SLOW + OWN.replace("0.8", "-0.8")])
def test_drawn_times_of_another_model_differ(changed):
    assert z_scores(SLOW + OWN, changed).max() > 8
