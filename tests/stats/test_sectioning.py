"""Sectioned intervals of quantiles, on waiting times of a queue with known quantiles."""

import numpy as np
import pytest

from mtpsim.stats.estimators import Tally
from mtpsim.stats.sectioning import pooled_quantiles, ratios_to, sectioned

SHARES = (0.5, 0.95, 0.99)
EDGES = np.exp(np.linspace(np.log(1e-3), np.log(1e4), 8001))  # bins of 0.2 %
LOAD, REPLICATIONS, REQUESTS, WARM_UP = 0.7, 30, 2000, 200


def times_in_system(random, load, replications=REPLICATIONS):
    """``[replications, REQUESTS]`` of M/M/1 with service time 1, by Lindley's recursion.

    Arrivals and services are stretched from the same numbers, so that two loads are paired.
    """
    shape = replications, REQUESTS + WARM_UP
    service, gaps = random.exponential(1, shape), random.exponential(1, shape)
    walk = np.cumsum(service[:, :-1] - gaps[:, 1:] / load, axis=1)
    walk = np.concatenate([np.zeros((replications, 1)), walk], 1)
    waits = walk - np.minimum.accumulate(walk, 1)
    return (waits + service)[:, WARM_UP:]


def exact(load, shares=SHARES):
    """The time in system of M/M/1 is exponential with rate 1 - load."""
    return -np.log(1 - np.array(shares)) / (1 - load)


def counted(times):
    return np.histogram(times, EDGES)[0]


def own_quantiles(times):
    return np.quantile(times, SHARES, axis=1).T


def test_quantiles_from_bins_are_those_of_the_values():
    times = times_in_system(np.random.default_rng(1), LOAD)
    found = pooled_quantiles(counted(times), EDGES, SHARES)
    assert found == pytest.approx(np.quantile(times, SHARES), rel=2e-3)
    coarse = np.exp(np.linspace(np.log(1e-3), np.log(1e4), 41))  # negative control
    wrong = pooled_quantiles(np.histogram(times, coarse)[0], coarse, SHARES)
    assert wrong != pytest.approx(np.quantile(times, SHARES), rel=2e-3)


def test_quantiles_of_no_values_are_unknown():
    counts = np.stack([np.zeros(8000), np.ones(8000)])
    found = pooled_quantiles(counts, EDGES, SHARES)
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


def test_equal_values_have_the_quantile_of_the_replications():
    """30 or 40: their bins are 1 % wide, the replications' own quantiles exact."""
    times = np.random.default_rng(4).choice([30.0, 40.0], (30, 500), p=[0.7, 0.3])
    coarse = np.exp(np.linspace(0, np.log(100), 461))
    counts, own = np.histogram(times, coarse)[0], own_quantiles(times).mean(0)
    assert pooled_quantiles(counts, coarse, SHARES, own).tolist() == [30.0, 40.0, 40.0]
    assert pooled_quantiles(counts, coarse, SHARES)[0] != pytest.approx(30, rel=1e-4)  # control
    assert pooled_quantiles(counts, coarse, SHARES, 2 * own)[0] != pytest.approx(60, rel=0.1)


def test_intervals_cover_quantiles_of_a_queue():
    """Coverage of p50, p95 and p99; waiting times as if independent cover far less (control)."""
    random, runs, confidence = np.random.default_rng(2), 300, 0.95
    hits, naive = np.zeros(3), np.zeros(3)
    for _ in range(runs):
        times = times_in_system(random, LOAD)
        pooled = pooled_quantiles(counted(times), EDGES, SHARES)
        found = sectioned(pooled, Tally.of(own_quantiles(times)), slice(0, 3), confidence)
        hits += (found.low <= exact(LOAD)) & (exact(LOAD) <= found.high)
        density = (1 - LOAD) * (1 - np.array(SHARES))
        error = np.sqrt(np.array(SHARES) * (1 - np.array(SHARES)) / times.size) / density
        naive += np.abs(pooled - exact(LOAD)) <= 1.96 * error
    slack = 4 * np.sqrt(confidence * (1 - confidence) / runs)
    assert (np.abs(hits / runs - confidence) < slack + 0.01).all(), hits / runs
    assert (naive / runs < 0.8).all(), naive / runs


def test_ratios_of_paired_options_are_narrow_and_cover():
    """Two loads on the same numbers: the ratio of p95 covers; as if unpaired it is far wider."""
    random, runs = np.random.default_rng(3), 300
    loads, hits, widths = (0.7, 0.6), 0, []
    for _ in range(runs):
        seed = random.integers(1 << 40)
        both = [times_in_system(np.random.default_rng(seed), load) for load in loads]
        pooled = pooled_quantiles(np.stack([counted(t) for t in both]), EDGES, (0.95,))[:, 0]
        rows = np.stack([np.quantile(t, 0.95, axis=1) for t in both], 1)
        values = sectioned(pooled, Tally.of(rows), slice(0, 2), 0.95)
        ratio = ratios_to(values, 0)
        truth = exact(0.6, (0.95,))[0] / exact(0.7, (0.95,))[0]
        hits += ratio.low[1] <= truth <= ratio.high[1]
        apart = np.sqrt(((values.half_width / values.values) ** 2).sum()) * ratio.values[1]
        widths.append(ratio.half_width[1] / apart)
    assert hits / runs == pytest.approx(0.95, abs=0.01 + 4 * np.sqrt(0.95 * 0.05 / runs))
    assert np.mean(widths) < 0.7
    assert ratio.half_width[0] == 0


def test_two_replications_are_needed():
    with pytest.raises(ValueError, match="at least 2 replications, not 1"):
        sectioned(np.ones(1), Tally.of(np.ones((1, 1))), slice(0, 1), 0.95)
