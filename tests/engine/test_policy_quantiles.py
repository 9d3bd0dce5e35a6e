"""Request times under policies: scalar reference, exact distribution and interval coverage."""

from collections import Counter

import numpy as np
import pytest

import mtpsim
from mtpsim.engine.simulate import (
    LEAST,
    compile_point,
    play_policies,
    policy_tails,
    sample_policies,
)
from mtpsim.policy import RoundContext, RoundOutcome
from mtpsim.results.point_data import request_quantiles
from mtpsim.stats.estimators import SHARES, quantiles
from tests.support import naive_policies
from tests.support.naive import quantile
from tests.support.policy_plans import by_outcome, engine_of, plan, two_states
from tests.support.scalar_reference import PATH, SEED, word

RULES = ["heuristic", "oracle", {"rule": "ema", "ladder": [0, 1, 3], "warm_up": 3, "every": 2}]


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


def played_by_the_reference(simulated, requests, options=None, **horizon):
    """``[policies, n, 2]`` tokens and ms, request by request."""
    chain, environment = (
        simulated.policy_set.optimal.problem.chain,
        simulated.policy_set.environment,
    )
    where, rng = engine_of(simulated, options or {}), np.random.default_rng(0)
    found = [
        [
            naive_policies.request(
                rng, chain, player.spec, environment, where, text=Words(chain, r), **horizon
            )[:2]
            for r in requests
        ]
        for player in simulated.policy_set.players
    ]
    return np.array(found, float)


REFERENCE_CASES = [
    (two_states, "round", {"rounds": 12}),
    (two_states, "token", {"tokens": 30}),
    (by_outcome, "round", {"tokens": 30}),
    (by_outcome, "token", {"rounds": 12}),
]
NAMES = ["two states, round", "two states, token", "by outcome, round", "by outcome, token"]


@pytest.mark.parametrize(("chain", "clock", "horizon"), REFERENCE_CASES, ids=NAMES)
def test_request_times_and_quantiles_equal_the_scalar_reference(chain, clock, horizon):
    options = {"switch_cost": 1.5, "catch_up": 4.0}
    simulated = plan(chain(clock), RULES, seed=SEED, options=options, **horizon)
    totals = sample_policies(simulated, 150, 64)
    slow = played_by_the_reference(simulated, range(64, 214), options, **horizon)
    assert (totals[..., 0] == slow[..., 0]).all()
    np.testing.assert_allclose(totals[..., 1], slow[..., 1], rtol=1e-12)
    for cells, (tokens, ms) in zip(
        request_quantiles(policy_tails(totals, 0.9)), slow.swapaxes(1, 2), strict=True
    ):
        for name, values in (("request_time", ms), ("request_speed", 1000 * tokens / ms)):
            for share in SHARES:
                got = np.array(list(vars(cells[name][f"p{100 * share:g}"]).values()), float)
                assert got == pytest.approx(quantile(values, share, 0.9), rel=1e-9, nan_ok=True)


def law_of(simulated, number, rounds, step=None):
    """Chances of (ms, tokens) of a request: every path of states, drafts and memory, summed.

    Without noise, under the round clock; ``step`` in place of the chain's own.
    """
    policy_set = simulated.policy_set
    chain, player = policy_set.optimal.problem.chain, policy_set.players[number]
    step = chain.step[0] if step is None else step
    rule, times = player.spec.functions(), policy_set.environment.times
    reach = np.concatenate([np.ones((2, 1)), np.cumprod(chain.accept, 1), np.zeros((2, 1))], 1)
    m = np.zeros(player.memory)
    rule.start(player.p, m)
    law = Counter({(s, tuple(m), -1, 0.0, 0): chance for s, chance in enumerate(chain.start)})
    for _ in range(rounds):
        after = Counter()
        for (s, m, previous, ms, tokens), chance in law.items():
            depth = rule.choose(player.p, np.array(m), RoundContext(s, previous, 0), np.zeros(3))
            time = times[depth] * chain.slowdown[s]
            for accepted in range(depth + 1):
                learnt = np.array(m)
                rule.learn(player.p, learnt, RoundOutcome(depth, accepted, depth, accepted, time))
                beyond = reach[s, accepted + 1] if accepted < depth else 0.0
                for to in range(2):
                    key = to, tuple(learnt), depth, round(ms + time, 6), tokens + accepted + 1
                    after[key] += chance * (reach[s, accepted] - beyond) * step[s, to]
        law = after
    found = Counter()
    for (*_, ms, tokens), chance in law.items():
        found[ms, tokens] += chance
    return found


def quantiles_of(law, value):
    """The quantiles of a value of (ms, tokens) under a law, at the shares that are reported."""
    values = np.array([value(*key) for key in law])
    order = np.argsort(values)
    below = np.cumsum(np.array(list(law.values()))[order])
    return values[order][np.searchsorted(below, np.array(SHARES) - 1e-12)]


def time_of(ms, tokens):
    return ms


def speed_of(ms, tokens):
    return 1000 * tokens / ms


ROUNDS = 8
INDEPENDENT = np.full((2, 2), 0.5)  # each state is independent of the one before


@pytest.mark.parametrize("number", [0, 1], ids=["heuristic", "oracle"])
def test_quantiles_are_those_of_the_exact_distribution(number):
    """Solved over all paths; the control is the law that rounds would have without dependence."""
    chain = two_states("round")
    simulated = plan(chain, RULES[:2], seed=3, rounds=ROUNDS)
    found = policy_tails(sample_policies(simulated, 20_000), 0.9999)
    law = law_of(simulated, number, ROUNDS)
    assert sum(law.values()) == pytest.approx(1)
    other = law_of(simulated, number, ROUNDS, INDEPENDENT)
    for cells, value in zip(found, (time_of, speed_of), strict=True):
        _, low, high = cells[number].T
        truth, wrong = quantiles_of(law, value), quantiles_of(other, value)
        assert ((low - 1e-5 <= truth) & (truth <= high + 1e-5)).all()
        assert ((wrong < low - 1e-5) | (wrong > high + 1e-5)).any()


def coverage(values, truth, confidence):
    """Share of samples whose interval holds the true quantiles, ``[SHARES]``."""
    found = np.stack([quantiles(row, SHARES, confidence) for row in values])
    return ((found[..., 1] - 1e-5 <= truth) & (truth <= found[..., 2] + 1e-5)).mean(0)


def test_intervals_have_their_nominal_coverage():
    """Requests are the unit: 1,000 samples of 200 under a rule with memory across rounds."""
    simulated = plan(two_states("round"), ["heuristic"], seed=4, rounds=ROUNDS)
    tokens, ms = play_policies(simulated, 0, 200_000)[0][0].T[:2]
    law, other = law_of(simulated, 0, ROUNDS), law_of(simulated, 0, ROUNDS, INDEPENDENT)
    least = 0.9 - 3 * np.sqrt(0.9 * 0.1 / 1000)
    inner = slice(1, -1)  # 200 requests have no lower end for p1, nor an upper one for p99
    for value in (time_of, speed_of):
        values, truth = value(ms, tokens).reshape(1000, 200), quantiles_of(law, value)
        assert (coverage(values, truth, 0.9)[inner] > least).all()
        # the control: the law of rounds without dependence
        assert (coverage(values, quantiles_of(other, value), 0.9)[inner] < least).all()
    # and narrower intervals, of the speed: it takes enough values that they are short of it
    assert (coverage(values, truth, 0.6)[inner] < least).any()


TEXT = """
[acceptance]
model = "regime"
rates = [[0.9, 0.8], [0.3, 0.2]]
sojourn = [8, 8]
[latency]
target = 76
verify = [90, 104]
draft = [8, 14]
noise = { distribution = "lognormal", cv = 0.3 }
[simulation]
rounds = 20
requests = 3000
[adaptive]
policies = ["heuristic", { rule = "fixed", depth = 2 }]
"""


def test_a_run_reports_quantiles_of_every_policy():
    result = mtpsim.run(mtpsim.parse(TEXT))
    (point,) = result.points
    policies = point["adaptive"]["policies"]
    assert [p["name"] for p in policies] == ["heuristic", "depth 2", "oracle"]
    fixed, depth = policies[1], point["depths"][2]
    for name in ("request_time", "request_speed"):
        for share, cell in depth[name].items():
            assert fixed[name][share] == pytest.approx(cell, rel=1e-9)
        # the control: another policy takes other times
        assert policies[0][name]["p50"] != pytest.approx(depth[name]["p50"], rel=1e-3)
    message = {(row["policy"], row["quantity"]): row for row in result.rows() if row["policy"]}
    row = message["heuristic", "request_speed_p1"]
    assert row["low"] == policies[0]["request_speed"]["p1"]["low"]
    plain = mtpsim.run(mtpsim.parse(TEXT[: TEXT.index("[adaptive]")])).points[0]
    for one, other in zip(plain["depths"], point["depths"], strict=True):
        assert one["request_time"] == other["request_time"]  # policies change nothing of depths


def test_the_sample_is_of_the_first_requests_and_stays_small():
    def work(**changes):
        text = TEXT
        for key, value in changes.items():
            text = text.replace(f"{key} = ", f"{key} = {value} # ")
        return compile_point(mtpsim.parse(text)).plan

    short = work(rounds=1000)
    assert sample_policies(short, 400_000).shape == (3, 2**23 // 3000, 2)
    whole = sample_policies(short, 200, 64)
    assert (whole[:, :100] == sample_policies(short, 100, 64)).all()
    assert (whole[0] != sample_policies(short, 200, 128)[0]).any()
    assert sample_policies(work(rounds=100_000), 400_000).shape[1] == LEAST
