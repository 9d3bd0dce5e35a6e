"""Noise distributions of measured times, and the latency section made of them."""

import numpy as np
import pytest

from mtpsim.fit.round_times import RoundTimes, fit_noise, latency_section, round_times_of
from mtpsim.logs import read_logs


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        *[("lognormal", "cv", 0.3), ("gamma", "cv", 0.5)],
        *[("exponential", "offset", 0.6), ("pareto", "alpha", 3.0)],
    ],
)
def test_true_noise_distribution_fits_best(name, key, value):
    rng = np.random.default_rng(1)
    sigma = np.sqrt(np.log1p(value**2))
    times = {
        "lognormal": lambda n: rng.lognormal(-(sigma**2) / 2, sigma, n),
        "gamma": lambda n: rng.gamma(value**-2, value**2, n),
        "exponential": lambda n: value + rng.exponential(1 - value, n),
        "pareto": lambda n: (1 + rng.pareto(value, n)) * (value - 1) / value,
    }[name](20_000) * 90
    best, *others = fit_noise(times)
    assert best.name == name
    assert best.section[key] == pytest.approx(value, rel=0.05)
    assert best.distance < 0.02
    assert best.distance < min(fit.distance for fit in others)


@pytest.mark.parametrize("times", [np.full(100, 5.0), np.array([1.0, 2.0])])
def test_equal_or_few_times_have_no_distribution(times):
    assert fit_noise(times) == []


def test_latency_of_measured_times(tmp_path):
    path = tmp_path / "log"
    path.write_text(
        '{"accepted": [0, 1, 3], "drafted": [0, 1, 3], "seconds": [0.05, 0.06, 0.09]}\n'
    )
    times = round_times_of(read_logs([path]))
    section, notes = latency_section(times, 3, None)
    assert section == {"target": 50.0, "verify": pytest.approx([60.0, 75.0, 90.0]), "draft": 0.0}
    assert "depth 2 are interpolated" in notes[0]
    assert latency_section(times, 3, 40.0)[0]["target"] == 40.0
    section, notes = latency_section(times, 4, None)
    assert section == {"target": 1.0, "verify": 1.0, "draft": 0.0}
    assert "No round times at depth 4 given" in notes[0]


@pytest.mark.parametrize(
    ("by_depth", "target", "note"),
    [
        ({}, None, 'No step times given: 1 ms is used for every round, so "speedup" equals'),
        ({}, 30.0, "No round times at depth 3 given: 30 ms is used for every round"),
        ({3: 90.0}, None, "No times of plain steps given: 1 ms is used for every round"),
    ],
)
def test_missing_times_are_noted_and_a_given_step_is_used(by_depth, target, note):
    times = RoundTimes(by_depth, None, np.zeros(0), [])
    section, (text,) = latency_section(times, 3, target)
    assert section == {"target": target or 1.0, "verify": target or 1.0, "draft": 0.0}
    assert text.startswith(note)
    assert ("Pass --target MS" in text) == bool(by_depth)
