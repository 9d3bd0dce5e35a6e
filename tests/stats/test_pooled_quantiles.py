"""Clustered intervals of pooled quantiles, on times of a queue with known quantiles."""

import numpy as np
import pytest

from mtpsim.stats.estimators import Tally, delta_method
from mtpsim.stats.pooled_quantiles import cluster_counts, pooled_quantiles, ratios_to

SHARES = (0.5, 0.95, 0.99)
EDGES = np.exp(np.linspace(np.log(1e-3), np.log(1e4), 8001))  # bins of 0.2 %
LOAD, REPLICATIONS, REQUESTS, WARM_UP = 0.7, 30, 2000, 200


def times_in_system(random, load, replications=REPLICATIONS, requests=REQUESTS):
    """``[replications, requests]`` of M/M/1 with service time 1, by Lindley's recursion.

    Arrivals and services are stretched from the same numbers, so that two loads are paired.
    """
    shape = replications, requests + WARM_UP
    service, gaps = random.exponential(1, shape), random.exponential(1, shape)
    walk = np.cumsum(service[:, :-1] - gaps[:, 1:] / load, axis=1)
    walk = np.concatenate([np.zeros((replications, 1)), walk], 1)
    waits = walk - np.minimum.accumulate(walk, 1)
    return (waits + service)[:, WARM_UP:]


def exact(load, shares=SHARES):
    """The time in system of M/M/1 is exponential with rate 1 - load."""
    return -np.log(1 - np.array(shares)) / (1 - load)


def own_quantiles(times):
    return np.quantile(times, SHARES, axis=1).T


def pooled(times, edges=EDGES, own=None, confidence=0.95):
    """Quantiles of times ``[replications, requests]`` and their intervals."""
    bins = np.maximum(np.searchsorted(edges, times, "right") - 1, 0)
    counts = np.array([np.bincount(row, minlength=len(edges) - 1) for row in bins])
    totals = sum(cluster_counts(row) for row in counts)
    means = own_quantiles(times) if own is None else np.tile(own, (len(times), 1))
    own = means.mean(0), means.std(0, ddof=1) / np.sqrt(len(times))
    return pooled_quantiles(totals, edges, SHARES, own, len(times), confidence)


def sectioned(times, found):
    """Half-widths from the replications' own quantiles, as they deviate from the pooled ones."""
    squares = ((own_quantiles(times) - found.values) ** 2).sum(0)
    return 2.045 * np.sqrt(squares / len(times) / (len(times) - 1))


def test_quantiles_from_bins_are_those_of_the_values():
    times = times_in_system(np.random.default_rng(1), LOAD)
    assert pooled(times).values == pytest.approx(np.quantile(times, SHARES), rel=2e-3)
    coarse = np.exp(np.linspace(np.log(1e-3), np.log(1e4), 41))  # negative control
    wrong = pooled(times, coarse, own=np.zeros(3)).values
    assert wrong != pytest.approx(np.quantile(times, SHARES), rel=2e-3)


@pytest.mark.parametrize("inside", [0.0, 0.5])
def test_totals_add_up_by_replication(inside):
    """The error of a share is that of its mean over replications, with the ratio estimator.

    At the edge between two bins, and in the middle of one, where it is the mean of both edges.
    """
    random = np.random.default_rng(5)
    counts = random.integers(0, 9, (40, 3)) * random.integers(1, 9, (40, 1))
    every, edges = counts.sum(1), np.array([1.0, 2.0, 4.0, 8.0])
    shares, errors = np.zeros(4), np.zeros(4)  # above each edge
    for edge in range(4):
        above = counts[:, edge:].sum(1)
        shares[edge] = above.sum() / every.sum()
        residuals = above - shares[edge] * every
        errors[edge] = np.sqrt((residuals**2).sum() * 40 / 39) / every.sum()
    share, error = (np.average(v[1:3], weights=[inside, 1 - inside]) for v in (shares, errors))
    totals = sum(cluster_counts(row) for row in counts)
    found = pooled_quantiles(totals, edges, [1 - share], np.zeros((2, 1)), 40, 0.95)
    ends = [share, share * np.exp(2.0227 * error / share), share - 2.0227 * error]
    expected = 2 ** np.interp(ends, shares[::-1], [3.0, 2.0, 1.0, 0.0])
    assert np.concatenate(found) == pytest.approx(expected, rel=1e-4)


def test_quantiles_of_no_values_are_unknown():
    totals = np.stack([cluster_counts(np.zeros(8000, int)), cluster_counts(np.ones(8000, int))], 1)
    found = pooled_quantiles(2 * totals, EDGES, SHARES, np.zeros((2, 2, 3)), 2, 0.95)
    assert np.isnan(found.values[0]).all()
    assert np.isfinite(found.values[1]).all()


def test_equal_values_have_the_quantile_of_the_replications():
    """30 or 40: their bins are 1 % wide, the replications' own quantiles exact."""
    times = np.random.default_rng(4).choice([30.0, 40.0], (30, 500), p=[0.7, 0.3])
    coarse = np.exp(np.linspace(0, np.log(100), 461))
    found, means = pooled(times, coarse), own_quantiles(times).mean(0)
    for part in found:
        assert part.tolist() == [30.0, 40.0, 40.0]
    assert pooled(times, coarse, 0 * means).values[0] != pytest.approx(30, rel=1e-4)  # control
    assert pooled(times, coarse, 2 * means).values[0] != pytest.approx(60, rel=0.1)


def test_intervals_of_values_within_a_bin_cover():
    """30 +- 0.05: the values share one bin, and their place in it follows from the replications."""
    random, hits, coarse = np.random.default_rng(7), 0, np.exp(np.linspace(0, np.log(100), 461))
    for _ in range(400):
        times = 29.9 + random.normal(0, 0.01, (30, 1)) + random.normal(0, 0.05, (30, 50))
        found = pooled(times, coarse)
        hits += found.low[0] <= 29.9 <= found.high[0]
    assert hits / 400 == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 400))


def test_a_quantile_that_one_replication_decides_has_no_upper_end():
    times = np.ones((30, 100)) + np.random.default_rng(6).random((30, 100))
    times[0, :40] = 50.0 + np.arange(40)
    found = pooled(times)
    assert np.isfinite(found.high[:2]).all()
    assert np.isnan(found.high[2])
    assert found.low[2] < 2 < 50 < found.values[2]


@pytest.mark.parametrize(("load", "requests"), [(LOAD, REQUESTS), (0.9, 500)])
def test_intervals_cover_quantiles_of_a_queue(load, requests):
    """Coverage of p50, p95 and p99; waiting times as if independent cover far less (control).

    At a high load few replications hold most of the waiting: there intervals from the replications'
    own p99 cover far less too. The truth is of many replications, since short ones start empty.
    """
    random, runs, confidence = np.random.default_rng(2), 300, 0.95
    samples = [times_in_system(random, load, requests=requests) for _ in range(runs)]
    truth = np.quantile(np.array(samples), SHARES)
    hits, naive, by_section = np.zeros(3), np.zeros(3), np.zeros(3)
    for times in samples:
        found = pooled(times)
        hits += (found.low <= truth) & ~(found.high < truth)
        density = (1 - load) * (1 - np.array(SHARES))
        error = np.sqrt(np.array(SHARES) * (1 - np.array(SHARES)) / times.size) / density
        naive += np.abs(found.values - truth) <= 1.96 * error
        by_section += np.abs(found.values - truth) <= sectioned(times, found)
    error = 4 * np.sqrt(confidence * (1 - confidence) / runs)
    assert (np.abs(hits / runs - confidence) < error + 0.01).all(), hits / runs
    assert (naive / runs < 0.8).all(), naive / runs
    assert load < 0.9 or by_section[2] / runs < 0.85, by_section / runs


def test_ratios_of_paired_options_are_narrow_and_cover():
    """Two loads on the same numbers: the ratio of means covers; as if unpaired it is far wider."""
    random, runs = np.random.default_rng(3), 300
    loads, hits, widths = (0.7, 0.6), 0, []
    for _ in range(runs):
        seed = random.integers(1 << 40)
        both = [times_in_system(np.random.default_rng(seed), load).mean(1) for load in loads]
        values = delta_method(lambda m: m, Tally.of(np.stack(both, 1)), 0.95)
        ratio = ratios_to(values, 0)
        hits += ratio.low[1] <= (1 - 0.7) / (1 - 0.6) <= ratio.high[1]
        apart = np.sqrt(((values.half_width / values.values) ** 2).sum()) * ratio.values[1]
        widths.append(ratio.half_width[1] / apart)
    assert hits / runs == pytest.approx(0.95, abs=0.01 + 4 * np.sqrt(0.95 * 0.05 / runs))
    assert np.mean(widths) < 0.7
    assert ratio.half_width[0] == 0


def test_two_replications_are_needed():
    with pytest.raises(ValueError, match="at least 2 replications, not 1"):
        pooled_quantiles(np.ones((3, 8000), int), EDGES, SHARES, np.zeros((2, 3)), 1, 0.95)
