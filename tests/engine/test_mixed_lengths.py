"""Requests of mixed lengths: quantiles are those over the mixture, each as long as its record."""

import numpy as np
import pytest
from scipy import optimize, stats

import mtpsim
from mtpsim.common.errors import InputError
from mtpsim.engine.simulate import (
    compile_plan,
    policy_tails,
    sample_policies,
    sample_rows,
    simulate_requests,
    tails,
)
from mtpsim.latency import Latency
from mtpsim.results.point_data import request_quantiles
from mtpsim.stats.estimators import SHARES, Tails, quantiles
from tests.support import naive_policies
from tests.support.naive import quantile
from tests.support.policy_plans import plan
from tests.support.recordings import by_hand, recording
from tests.support.scalar_reference import PATH, SEED, word

RECORDS = 37  # no share that is reported falls between two of them
POLICIES = ["heuristic", {"rule": "ema", "ladder": [1, 2, 4], "warm_up": 3, "every": 2}]
CLOCKS = ["round", "token"]


def recorded(clock):
    """Short easy requests among long ones."""
    return recording(clock, seed=6, requests=RECORDS)


def parts_of(source):
    return np.split(source.accepted, source.offsets[1:-1])


def at_depth(source, times, depth):
    """Tokens and ms of every record at a depth, ``[R, 2]``."""
    played = [by_hand(part, source.clock, depth)[0] for part in parts_of(source)]
    return np.array([[tokens, rounds * times[depth]] for tokens, rounds, *_ in played])


def under(source, environment, player):
    """The same under a policy."""
    return np.array(
        [one_under(part, source.clock, environment, player) for part in parts_of(source)]
    )


def one_under(part, clock, environment, player):
    rule, m = player.spec.functions(), np.zeros(player.memory)
    rule.start(player.p, m)
    at, made, ms, previous = 0, 0, 0.0, -1
    while at < len(part):
        depth = rule.choose(player.p, m, naive_policies.RoundContext(0, previous, 0), np.zeros(0))
        accepted = min(int(part[at]), depth)
        time = environment.times[depth]
        rule.learn(player.p, m, naive_policies.RoundOutcome(depth, accepted, depth, accepted, time))
        at += accepted + 1 if clock == "token" else 1
        made, ms, previous = made + accepted + 1, ms + time, depth
    return min(made, len(part)) if clock == "token" else made, ms


def drawn(request):
    """Which record a request is, by its word."""
    return word(request, 0, PATH) * RECORDS >> 32


def values_of(rows):
    """Time and speed of rows of tokens and ms."""
    return rows[:, 1], 1000 * rows[:, 0] / rows[:, 1]


def atoms(values):
    """Quantiles of a law that gives each of the values the same chance."""
    return np.array([quantile(values, share, 0.5)[0] for share in SHARES])


@pytest.mark.parametrize("clock", CLOCKS)
def test_request_times_and_quantiles_equal_the_recording(clock):
    source = recorded(clock)
    simulated = plan(source, POLICIES, seed=SEED)
    times = simulated.policy_set.environment.times
    numbers = [drawn(request) for request in range(64, 264)]
    rows, layout = sample_rows(simulated, 200, 64), simulated.layout
    totals = sample_policies(simulated, 200, 64)
    found = [rows[:, [k, layout.time_ms.start + k]] for k in range(source.depth + 1)]
    slow = [at_depth(source, times, k)[numbers] for k in range(source.depth + 1)]
    slow += [
        under(source, simulated.policy_set.environment, p)[numbers]
        for p in simulated.policy_set.players
    ]
    for fast, reference in zip([*found, *totals], slow, strict=True):
        np.testing.assert_allclose(fast, reference, rtol=1e-12)
    cells = request_quantiles(tails(rows, simulated, 0.9)) + request_quantiles(
        policy_tails(totals, 0.9)
    )
    for cell, reference in zip(cells, slow, strict=True):
        for name, values in zip(
            ("request_time", "request_speed"), values_of(reference), strict=True
        ):
            for share in SHARES:
                got = np.array(list(vars(cell[name][f"p{100 * share:g}"]).values()), float)
                assert got == pytest.approx(quantile(values, share, 0.9), rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("clock", CLOCKS)
def test_quantiles_are_those_of_the_mixture(clock):
    """Each record has the same chance; the control is a request of the mean length."""
    source = recorded(clock)
    simulated = plan(source, POLICIES, seed=8)
    environment = simulated.policy_set.environment
    fixed = tails(sample_rows(simulated, 20_000), simulated, 0.9999)
    adaptive = policy_tails(sample_policies(simulated, 20_000), 0.9999)
    laws = [at_depth(source, environment.times, k) for k in range(source.depth + 1)]
    laws += [under(source, environment, player) for player in simulated.policy_set.players]
    found = Tails(*(np.concatenate(pair) for pair in zip(fixed, adaptive, strict=True)))
    for number, law in enumerate(laws):
        for table, values in zip(found, values_of(law), strict=True):
            middle, low, high = table[number].T
            assert ((low - 1e-9 <= atoms(values)) & (atoms(values) <= high + 1e-9)).all()
            assert middle == pytest.approx(atoms(values))
    horizon = {"rounds" if clock == "round" else "tokens": round(source.lengths.mean())}
    equal_lengths = plan(source, POLICIES, seed=8, **horizon)
    other = tails(sample_rows(equal_lengths, 20_000), equal_lengths, 0.9999).time[0, :, 0]
    assert (np.abs(other / fixed.time[0, :, 0] - 1)[[0, -1]] > 0.2).all()


def times_law(lengths, share):
    """Quantile of the time of plain steps of mean 9 ms with gamma noise of cv 1/2: a mixture."""

    def short(x):
        return stats.gamma.cdf(x / 9, 4.0 * np.asarray(lengths), scale=0.25).mean() - share

    return optimize.brentq(short, 0, 9 * 200)


def test_intervals_of_the_mixture_have_their_nominal_coverage():
    """1,000 samples of 200 requests; the control assumes requests of equal length."""
    source = recorded("round")
    noise = {"target": 9, "verify": 9, "draft": 1, "noise": {"distribution": "gamma", "cv": 0.5}}
    simulated = compile_plan(source, Latency.model_validate(noise).compile(source.depth), seed=9)
    rows = simulate_requests(simulated, 0, 200_000)
    values = rows[:, simulated.layout.time_ms][:, 0].reshape(1000, 200)
    cells = np.stack([quantiles(row, SHARES, 0.9) for row in values])[:, 1:-1]

    def held(lengths):
        truth = np.array([times_law(lengths, share) for share in SHARES[1:-1]])
        return ((cells[..., 1] <= truth) & (truth <= cells[..., 2])).mean(0)

    error = np.sqrt(0.9 * 0.1 / 1000)
    assert (held(source.lengths) > 0.9 - 3 * error).all()
    assert (held(source.lengths) < 0.96).all()
    assert (held([source.lengths.mean()])[[0, -1]] < 0.5).all()


def test_unsupported_mixed_lengths_name_as_recorded():
    text = """
[acceptance]
model = "independent"
rates = [0.8]
[latency]
target = 9
verify = 10
draft = 1
[simulation]
tokens = {}
"""
    for given in ("[64, 512]", '"lengths.csv"', "{ mean = 512 }"):
        with pytest.raises(InputError, match=r"one length for all requests.*as_recorded = true"):
            mtpsim.parse(text.format(given))
    assert mtpsim.parse(text.format(512)).simulation.tokens == 512
