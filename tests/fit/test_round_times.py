"""Laws of measured times, and a latency as far as a log tells it."""

import numpy as np
import pytest

from mtpsim.fit.round_times import Times, fit_laws, latency_keys, times_of
from mtpsim.logs import read_logs


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("lognormal", "cv", 0.3),
        ("gamma", "cv", 0.5),
        ("exponential", "offset", 0.6),
        ("pareto", "alpha", 3.0),
    ],
)
def test_laws_of_times(name, key, value):
    rng = np.random.default_rng(1)
    sigma = np.sqrt(np.log1p(value**2))
    times = {
        "lognormal": lambda n: rng.lognormal(-(sigma**2) / 2, sigma, n),
        "gamma": lambda n: rng.gamma(value**-2, value**2, n),
        "exponential": lambda n: value + rng.exponential(1 - value, n),
        "pareto": lambda n: (1 + rng.pareto(value, n)) * (value - 1) / value,
    }[name](20_000) * 90
    best, *others = fit_laws(times)
    assert best.name == name
    assert best.keys[key] == pytest.approx(value, rel=0.05)
    assert best.distance < 0.02
    assert best.distance < min(law.distance for law in others)


def test_times_that_tell_no_law():
    assert fit_laws(np.full(100, 5.0)) == []
    assert fit_laws(np.array([1.0, 2.0])) == []


def test_latency_as_far_as_it_is_known(tmp_path):
    path = tmp_path / "log"
    path.write_text(
        '{"accepted": [0, 1, 3], "drafted": [0, 1, 3], "seconds": [0.05, 0.06, 0.09]}\n'
    )
    times = times_of(read_logs([path]))
    keys, said = latency_keys(times, 3, None)
    assert keys == {"target": 50.0, "verify": pytest.approx([60.0, 75.0, 90.0]), "draft": 0.0}
    assert any("depth 2 were not measured" in text for text in said)
    keys, _ = latency_keys(times, 3, 40.0)
    assert keys["target"] == 40.0
    keys, said = latency_keys(times, 4, None)
    assert keys == {"target": 1.0, "verify": 1.0, "draft": 0.0}
    assert "NO TIMES were measured of rounds at depth 4" in said[0]


def test_what_is_missing_is_told_and_a_stated_step_is_used():
    nothing = Times({}, None, np.zeros(0), [])
    keys, said = latency_keys(nothing, 3, 30.0)
    assert keys == {"target": 30.0, "verify": 30.0, "draft": 0.0}
    assert "of rounds at depth 3: 30 ms is written" in said[0]
    assert "--target" not in said[0]
    assert "NO TIMES were measured: 1 ms" in latency_keys(nothing, 3, None)[1][0]
    deep = Times({3: 90.0}, None, np.zeros(0), [])
    (text,) = latency_keys(deep, 3, None)[1]
    assert "of plain steps" in text
    assert "state times with --target MS" in text
