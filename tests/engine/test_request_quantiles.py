"""Quantiles of requests and their intervals: against known laws and a scalar reference."""

import numpy as np
import pytest
from scipy import stats

import mtpsim
from mtpsim.engine.simulate import (
    LEAST,
    compile_point,
    policy_tails,
    sample_policies,
    sample_rows,
    tails,
)
from mtpsim.policy import RoundContext, RoundOutcome
from mtpsim.report.tables.diagnostics import mean_sentence
from mtpsim.results.point_data import of_requests
from mtpsim.stats.quantiles import SHARES, quantiles
from tests.support import naive_policies
from tests.support.examples import (
    TWO_DEEP,
    acceptance,
    independent,
    latency,
    noise,
    problem_of,
    regime,
    section,
    simulation,
)
from tests.support.naive import quantile
from tests.support.policy_plans import by_outcome, engine_of, plan, two_states
from tests.support.recordings import by_hand, recording
from tests.support.scalar_reference import PATH, SEED, word

HEAD = independent(0.8, 0.7) + TWO_DEEP + noise(0.3)
TEXT = HEAD + simulation(rounds=1, requests=40000, confidence=0.999)


def coverage(confidence, share, runs=2000, n=200):
    """Share of samples of an exponential law whose interval holds the true quantile."""
    truth = stats.expon.ppf(share)
    samples = np.random.default_rng(1).exponential(size=(runs, n))
    found = np.stack([quantiles(row, (share,), confidence)[0] for row in samples])
    return ((found[:, 1] <= truth) & (truth <= found[:, 2])).mean()


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_intervals_have_their_nominal_coverage(share):
    error = np.sqrt(0.95 * 0.05 / 2000)
    assert 0.95 - 3 * error < coverage(0.95, share) < 0.99
    assert coverage(0.8, share) < 0.95 - 3 * error  # the control: narrower ones do not


@pytest.mark.parametrize(("count", "confidence"), [(2, 0.5), (4, 0.875), (6, 0.96875)])
def test_interval_ends_are_the_narrowest_possible(count, confidence):
    tail = (1 - confidence) / 2
    (found,) = quantiles(np.arange(float(count)), (0.5,), confidence)
    low, high = stats.binom.ppf([tail, 1 - tail], count, 0.5).astype(int)
    assert found[1:] == pytest.approx([low - 1 if low else np.nan, high], nan_ok=True)


def test_small_samples_have_no_interval_ends():
    low, middle, high = quantiles(np.arange(50.0), (0.01, 0.5, 0.99), 0.95)
    assert np.isnan(low[1])
    assert np.isnan(high[2])
    assert np.isfinite(middle).all()
    assert middle[0] == 24


def test_times_of_one_round_have_the_quantiles_of_the_noise():
    depths = mtpsim.run(mtpsim.parse(TEXT)).points[0]["depths"]
    sigma = np.sqrt(np.log(1 + 0.3**2))
    law = stats.lognorm(sigma, scale=np.exp(-(sigma**2) / 2))
    for depth, mean in zip(depths, (76, 98, 118), strict=True):
        for share in SHARES:
            cell = depth["request_time"][f"p{100 * share:g}"]
            assert cell["low"] <= mean * law.ppf(share) <= cell["high"]
    # the control: the quantile of another share lies outside
    cell = depths[0]["request_time"]["p95"]
    assert not cell["low"] <= 76 * law.ppf(0.97) <= cell["high"]


def test_request_speed_is_tokens_over_time_with_reversed_quantiles():
    text = TEXT.replace("rounds = 1", "tokens = 64")
    plain = mtpsim.run(mtpsim.parse(text)).points[0]["depths"][0]
    for slow, fast in (("p1", "p99"), ("p50", "p50")):
        time, speed = plain["request_time"][fast], plain["request_speed"][slow]
        assert speed["mean"] == pytest.approx(64_000 / time["mean"], rel=1e-3)


def test_requests_of_equal_weight_are_another_speedup_than_all_tokens_over_all_time():
    """By hand: of 10 tokens all drafts are accepted, 5 rounds, or none, 10 rounds."""
    parts = [{"weight": 1, "of": {"model": "independent", "rates": [r]}} for r in (1.0, 0.0)]
    text = acceptance("mixture", parts=parts) + latency(40, [25], [5])
    adaptive = section("adaptive", policies=[{"rule": "fixed", "depth": 1}])
    result = mtpsim.run(mtpsim.parse(text + simulation(tokens=10, requests=4000) + adaptive))
    depth = result.depth(1)
    assert depth.speedup.exact == pytest.approx(20 / 15 * 40 / 30)
    for found in (depth, result.data.points[0].adaptive.policies[0]):
        speed, ratio = found.mean_request_speed, found.mean_request_speedup
        error = 0.5 * 40 / 30 / np.sqrt(4000)
        assert ratio.mean == pytest.approx((2 + 1) / 2 * 40 / 30, abs=4 * error)
        assert ratio.mean > depth.speedup.exact + 4 * error  # the control
        assert speed.mean == pytest.approx(1000 / 40 * ratio.mean)
        assert (ratio.high - ratio.low) / 2 == pytest.approx(1.96 * error, rel=0.01)
    rows = {row["quantity"]: row["mean"] for row in result.rows() if row["depth"] == 1}
    assert rows["mean_request_speedup"] == depth.mean_request_speedup.mean
    assert f"{depth.mean_request_speedup.mean:.3f}" in mean_sentence(result.data.points[0])


def test_means_over_requests_are_not_stated_where_they_agree():
    result = mtpsim.run(mtpsim.parse(TEXT.replace("rounds = 1", "rounds = 200")))
    assert mean_sentence(result.data.points[0]) == ""


POLICIES = ["heuristic", "oracle", {"rule": "ema", "ladder": [0, 1, 3], "warm_up": 3, "every": 2}]


def test_the_sample_is_of_the_first_requests_and_stays_small():
    def compiled(rounds):
        text = regime([0.9, 0.8], [0.3, 0.2], sojourn=[8, 8]) + TWO_DEEP
        text += simulation(rounds=rounds, requests=400_000)
        return compile_point(mtpsim.parse(text + section("adaptive", policies=POLICIES))).plan

    rows = sample_rows(compiled(1), 400_000)
    assert len(rows) == 50_000
    assert (sample_rows(compiled(1), 100) == rows[:100]).all()
    assert len(sample_rows(compiled(10**6), 400_000)) == 100
    long = compiled(1000)
    assert sample_policies(long, 400_000).shape == (3, 2**23 // 3000, 2)
    whole = sample_policies(long, 200, 64)
    assert (whole[:, :100] == sample_policies(long, 100, 64)).all()
    assert (whole[0] != sample_policies(long, 200, 128)[0]).any()
    assert sample_policies(compiled(10**5), 400_000).shape[1] == LEAST


def compare(cells, slow):
    """Reported quantiles, with those of tokens and ms ``[n, 2]`` of the reference."""
    for cell, (tokens, ms) in zip(cells, (np.asarray(rows).T for rows in slow), strict=True):
        for name, values in (("request_time", ms), ("request_speed", 1000 * tokens / ms)):
            for share in SHARES:
                got = np.array(list(vars(cell[name][f"p{100 * share:g}"]).values()), float)
                assert got == pytest.approx(quantile(values, share, 0.9), rel=1e-9, nan_ok=True)
        assert cell["mean_request_speed"].mean == pytest.approx((1000 * tokens / ms).mean())


class Words(naive_policies.Text):
    """The text of a request that the random words of the kernel define."""

    def __init__(self, chain, request):
        super().__init__(None, chain)
        self.request = request

    def at(self, tick, rejected=None):
        while len(self.ticks) <= tick:
            law = self.chain.start
            if self.ticks:
                row = 0 if rejected or len(self.chain.step) == 1 else 1
                law = self.chain.step[row][self.ticks[-1][0]]
            u = (word(self.request, len(self.ticks), PATH) % 2**31 + 0.5) / 2**31
            edges = np.cumsum([0.0, *law])
            state = int(np.searchsorted(edges, u, side="right")) - 1
            self.ticks.append((state, (u - edges[state]) / law[state], 0.0))
        return self.ticks[tick]


@pytest.mark.parametrize(
    ("chain", "clock", "horizon"),
    [
        (two_states, "round", {"rounds": 12}),
        (two_states, "token", {"tokens": 30}),
        (by_outcome, "round", {"tokens": 30}),
        (by_outcome, "token", {"rounds": 12}),
    ],
)
def test_requests_under_policies_equal_the_scalar_reference(chain, clock, horizon):
    options, source = {"switch_cost": 1.5, "catch_up": 4.0}, chain(clock)
    simulated = plan(source, POLICIES, seed=SEED, options=options, **horizon)
    totals, environment = sample_policies(simulated, 150, 64), simulated.policy_set.environment
    where, rng = engine_of(simulated, options), np.random.default_rng(0)

    def played(player, request):
        given = {"text": Words(source, request), **horizon}
        return naive_policies.request(rng, source, player.spec, environment, where, **given)[:2]

    players = simulated.policy_set.players
    slow = np.array([[played(p, r) for r in range(64, 214)] for p in players], float)
    assert (totals[..., 0] == slow[..., 0]).all()
    np.testing.assert_allclose(totals[..., 1], slow[..., 1], rtol=1e-12)
    rows = sample_rows(simulated, 200, 64)
    compare(of_requests(policy_tails(totals, rows, simulated, 0.9)), slow)


RECORDS = 37  # no share that is reported falls between two of them


def played_by_hand(part, first, clock, environment, player):
    """Tokens and ms of a recorded request under a policy; its entries begin at ``first``."""
    rule, m = player.spec.functions(), np.zeros(player.memory)
    rule.start(player.p, m)
    at, made, ms, previous = 0, 0, 0.0, -1
    while at < len(part):
        context = RoundContext(0, previous, 0, first + at)
        depth = rule.choose(player.p, m, context, np.zeros(0))
        accepted = min(int(part[at]), depth)
        time = environment.times[depth]
        rule.learn(player.p, m, RoundOutcome(depth, accepted, depth, accepted, time))
        at += accepted + 1 if clock == "token" else 1
        made, ms, previous = made + accepted + 1, ms + time, depth
    return min(made, len(part)) if clock == "token" else made, ms


@pytest.mark.parametrize("clock", ["round", "token"])
def test_requests_as_long_as_recorded_equal_the_recording(clock):
    source = recording(clock, seed=6, requests=RECORDS)
    policies = ["heuristic", {"rule": "ema", "ladder": [1, 2, 4], "warm_up": 3, "every": 2}]
    simulated = plan(source, policies, seed=SEED)
    environment, layout = simulated.policy_set.environment, simulated.layout
    drawn = [word(request, 0, PATH) * RECORDS >> 32 for request in range(64, 264)]
    parts = np.split(source.accepted, source.offsets[1:-1])
    rows, totals = sample_rows(simulated, 200, 64), sample_policies(simulated, 200, 64)
    players, found = simulated.policy_set.players, [*totals]
    records = list(zip(parts, source.offsets, strict=False))
    slow = [[played_by_hand(*one, clock, environment, p) for one in records] for p in players]
    for k, time in enumerate(environment.times):
        found.append(rows[:, [k, layout.time_ms.start + k]])
        played = [by_hand(part, clock, k)[0] for part in parts]
        slow.append([(tokens, rounds * time) for tokens, rounds, *_ in played])
    slow = [np.array(values, float)[drawn] for values in slow]
    for fast, reference in zip(found, slow, strict=True):
        np.testing.assert_allclose(fast, reference, rtol=1e-12)
    cells = of_requests(policy_tails(totals, rows, simulated, 0.9))
    compare(cells + of_requests(tails(rows, simulated, 0.9)), slow)


def test_unsupported_mixed_lengths_name_as_recorded():
    for given in ("[64, 512]", '"lengths.csv"', "{ mean = 512 }"):
        message = problem_of(HEAD + f"[simulation]\ntokens = {given}\n")
        assert "one length for all requests" in message
        assert "as_recorded = true" in message
    assert mtpsim.parse(HEAD + simulation(tokens=512)).simulation.tokens == 512


def test_a_run_reports_quantiles_of_every_policy():
    text = regime([0.9, 0.8], [0.3, 0.2], sojourn=[8, 8]) + TWO_DEEP + noise(0.3)
    text += simulation(rounds=20, requests=3000)
    adaptive = section("adaptive", policies=["heuristic", {"rule": "fixed", "depth": 2}])
    result = mtpsim.run(mtpsim.parse(text + adaptive))
    (point,) = result.points
    policies = point["adaptive"]["policies"]
    assert [p["name"] for p in policies] == ["heuristic", "depth 2", "oracle"]
    fixed, depth = policies[1], point["depths"][2]
    for name in ("request_time", "request_speed"):
        for share, cell in depth[name].items():
            assert fixed[name][share] == pytest.approx(cell, rel=1e-9)
        # the control: another policy takes other times
        assert policies[0][name]["p50"] != pytest.approx(depth[name]["p50"], rel=1e-3)
    rows = {(row["policy"], row["quantity"]): row for row in result.rows() if row["policy"]}
    row = rows["heuristic", "request_speed_p1"]
    assert row["low"] == policies[0]["request_speed"]["p1"]["low"]
    plain = mtpsim.run(mtpsim.parse(text)).points[0]
    for one, other in zip(plain["depths"], point["depths"], strict=True):
        assert one["request_time"] == other["request_time"]  # policies change nothing of depths
