"""The server against a slow one, request by request and step by step."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from mtpsim import parse
from mtpsim.acceptance import AcceptanceChain
from mtpsim.engine.policy_player import EMPTY_CHAIN
from mtpsim.engine.server import (
    NO_LAWS,
    NO_RECORDING,
    compile_server,
    simulate_replication,
    workload,
)
from mtpsim.kernels import server_layout as column
from mtpsim.kernels.server_layout import BINS, COLUMNS, METRICS, SHARES, bin_edges
from mtpsim.kernels.server_requests import POSITIONS, RECORDED, ROUNDS
from mtpsim.latency.quantile_table import QuantileTable
from mtpsim.policy.confidence import Confidence, laws_by_outcome
from mtpsim.policy.fixed import Fixed
from tests.support.naive_budget import Budget
from tests.support.naive_server import Policy, Server
from tests.support.random_chains import random_chain
from tests.support.recordings import recording
from tests.support.scalar_reference import SEED
from tests.support.strategies import few, seeds

KINDS = {0: "constant", 1: "cells", 2: "samples"}
ARRIVALS = [
    *("{ rate = 3.0 }", "{ rate = 40.0, cv = 3.0 }", "{ rate = 500.0, cv = 0.0 }"),
    *("{ closed = 1 }", "{ closed = 9 }", "{ burst = 23 }"),
]
LENGTHS = [
    *("prompt = 7\noutput = 9", "prompt = { mean = 12, cv = 1.0 }\noutput = { mean = 28 }"),
    'prompt = 1\noutput = { mean = 6, distribution = "geometric" }',
    'prompt = { mean = 40, distribution = "gamma", cv = 0.5 }\noutput = { mean = 1, cv = 0.5 }',
]


def experiment_of(rng, depth, acceptance="", **more):
    """A server with small random limits, so that everything is short of something."""
    slots = rng.integers(1, 7)
    keys = {
        "arrivals": rng.choice(ARRIVALS),
        "max_requests": slots,
        "max_tokens": rng.integers(slots, 40),
        "kv_tokens": rng.integers(45, 90),
        "goals": "{ ttft = 60, tpot = 14, e2e = 300 }",
        "requests": rng.integers(2, 30),
        "warm_up": rng.integers(0, 12),
        **more,
    }
    if "burst" in keys["arrivals"] or "trace" in keys["arrivals"]:
        keys["warm_up"] = 0
    lines = "\n".join(f"{key} = {value}" for key, value in keys.items())
    known = "trace" in keys["arrivals"] or "output" in keys
    lengths = "" if known else rng.choice(LENGTHS)
    return parse(f"""
        simulation = {{ seed = {SEED} }}
        {acceptance or f'acceptance = {{ model = "independent", rate = 0.5, depth = {depth} }}'}
        [latency]
        model = "linear"
        base = 5
        per_token = 0.2
        per_cached = 0.01
        per_cached_token = 0.001
        draft = {{ base = 0.5, per_token = 1.0 }}
        {'noise = { distribution = "lognormal", cv = 0.3 }' if rng.random() < 0.7 else ""}
        [serving]
        {lines}
        {lengths}
    """)


def compiled(experiment, source, law=None):
    """The plan with another source of accepted drafts, and a law of their confidences."""
    plan = compile_server(experiment).plan
    if law:
        tables = Confidence.model_validate(law).tables()
        rates = source.accept if "states" in law else source.accept[:1]
        plan = replace(plan, laws=laws_by_outcome(tables, rates))
    if hasattr(source, "requests"):
        load = plan.load._replace(recorded_output=source.clock == "token")
        plan = replace(plan, laws=NO_LAWS)
        return replace(plan, kind=RECORDED, chain=EMPTY_CHAIN, recording=source.arrays(), load=load)
    kind = POSITIONS if source.clock == "token" else ROUNDS
    return replace(plan, kind=kind, chain=source.arrays(), recording=NO_RECORDING)


def naive(experiment, plan, source, replication, arm):
    load, noise = workload(experiment.serving), plan.noise
    tables = {
        "gap": QuantileTable(KINDS[load.gap_kind], load.gap_values),
        "prompt": QuantileTable(KINDS[load.kinds[0]], load.prompt_values),
        "output": QuantileTable(KINDS[load.kinds[1]], load.output_values),
        "noise": QuantileTable(KINDS[noise.kinds[1]], noise.verify),
    }
    batch, specs = plan.arms[arm].batch, experiment.serving.policies
    fixed = len(plan.arms) - len(specs)
    depth = plan.arms[arm].arm.depth
    spec = Fixed(depth=depth) if depth is not None else specs[arm - fixed]
    if spec.shares_budget:
        policy = Budget(spec, plan.depth, plan.laws)
    else:
        policy = Policy(spec, lambda n: batch.p[n, : batch.sizes[n]], plan.depth)
    server = Server(plan, source, experiment.serving, tables, replication, policy, depth != 0)
    return server.run().totals()


def check(experiment, source, replication, law=None):
    plan = compiled(experiment, source, law)
    row = np.zeros(plan.layout.columns)
    histograms = np.zeros((len(plan.arms), len(METRICS), BINS), np.int64)
    simulate_replication(plan, replication, row, histograms)
    edges = bin_edges()
    for arm in range(len(plan.arms)):
        expected, times = naive(experiment, plan, source, replication, arm)
        found = dict(zip(COLUMNS, row[plan.layout.arm(arm)].tolist(), strict=True))
        own = {name: found[name] for name in expected}
        assert own == pytest.approx(expected, rel=1e-9, abs=1e-7)
        quantiles = COLUMNS[column.QUANTILES : column.UNVERIFIED]
        assert set(COLUMNS) == set(expected) | set(quantiles)
        for place, values in enumerate(times):
            counts, _ = np.histogram(values, edges)
            assert np.abs(np.cumsum(counts - histograms[arm, place])).max() <= 1  # rounding
            assert counts.sum() == histograms[arm, place].sum()
            for share in SHARES if values else ():
                near = np.quantile(values, share, method="inverted_cdf")
                assert found[f"{METRICS[place]}_p{100 * share:.0f}"] == pytest.approx(
                    near, rel=8e-3
                )


@few
@given(seeds)
def test_chains_equal_a_slow_server(seed):
    rng = np.random.default_rng(seed)
    chain = random_chain(rng, rng.choice(["round", "token"]))
    check(experiment_of(rng, chain.depth), chain, int(rng.integers(3)))


@pytest.mark.parametrize("outcomes", [1, 2])
@pytest.mark.parametrize("depth", [4, 12, 13])
def test_deep_drafts_equal_a_slow_server(depth, outcomes):
    """The words of a round come from up to five calls of the generator."""
    rng = np.random.default_rng(depth)
    start, step = rng.dirichlet(np.ones(2)), rng.dirichlet(np.ones(2), (outcomes, 2))
    accept = rng.uniform(0.9, 1, (2, depth))
    chain = AcceptanceChain(start, step, accept, "token", np.ones(2))
    more = {"depths": [depth], "arrivals": "{ closed = 4 }", "requests": 12}
    check(experiment_of(rng, depth, max_tokens=200, kv_tokens=300, **more), chain, 0)


@pytest.mark.parametrize("in_order", [False, True])
@pytest.mark.parametrize("clock", ["round", "token"])
def test_recordings_equal_a_slow_server(clock, in_order):
    rng, source = np.random.default_rng(4), replace(recording(clock), in_order=in_order)
    check(experiment_of(rng, source.depth), source, 1)


POLICIES = [
    '{ rule = "schedule", by_batch = [[1, 2, 3], [3, 4, 1]] }',
    '"ema"',
    '{ rule = "ema", ladder = [0, 1, 3], every = 1, warm_up = 0, keep = 0.5 }',
    '{ rule = "goodput", warm_up = 1, probe = 4, keep = 0.9 }',
    '{ rule = "adaptive_k", weight = 0.5, prior = 0.5, probe = 3 }',
    '{ rule = "gate", window = 3, limit = 1.2 }',
    '"off"',
]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("clock", ["round", "token"])
def test_policies_equal_a_slow_server(policy, clock):
    rng = np.random.default_rng(len(policy))
    chain = random_chain(rng, clock, states=2, depth=3)
    more = {"depths": [3], "policies": f"[{policy}]", "max_requests": 9, "max_tokens": 60}
    more |= {"requests": 40, "arrivals": "{ closed = 6 }", "kv_tokens": 300}
    check(experiment_of(rng, 3, **more), chain, 0)


BUDGETS = [
    '{ rule = "budget" }',
    '{ rule = "budget", stale = 0, search = "early" }',
    '{ rule = "budget", stale = 3, smoothing = 0.8 }',
    '{ rule = "budget", per_request = true, smoothing = 0.3 }',
    '"oracle_budget"',
]
SOURCES = [("round", 1), ("round", 2), ("token", 1), ("token", 2)]
LAW = {"mean": 0.4, "sd": 1.2, "shift": 0.3, "at_one": [0.2, 0.05]}
LAWS = {
    "one": LAW,
    "positions": {"positions": [{**LAW, "mean": 1.0 - j} for j in range(4)]},
    "states": {"states": [LAW, {"edges": [0, 0.5, 1], "accepted": [1, 2], "rejected": [3, 1]}]},
}


def budget_experiment(rng, depth, policy, **more):
    """Few requests, in a server that is short of tokens and cache."""
    more |= {"depths": [depth], "policies": f"[{policy}]", "max_requests": 9, "max_tokens": 40}
    more |= {"requests": 40, "arrivals": "{ closed = 11 }", "kv_tokens": 300}
    return experiment_of(rng, depth, **more)


@pytest.mark.parametrize("policy", BUDGETS)
@pytest.mark.parametrize(("clock", "outcomes"), SOURCES)
def test_budgets_equal_a_slow_server(policy, clock, outcomes):
    rng = np.random.default_rng(len(policy) + outcomes)
    chain = random_chain(rng, clock, states=2 + outcomes, depth=5, outcomes=outcomes)
    check(budget_experiment(rng, 5, policy), chain, 0)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("clock", ["round", "token"])
def test_laws_of_the_confidence_equal_a_slow_server(law, clock):
    rng = np.random.default_rng(3)
    chain = random_chain(rng, clock, states=2, depth=4)
    check(budget_experiment(rng, 4, BUDGETS[0]), chain, 1, LAWS[law])


@pytest.mark.parametrize("policy", BUDGETS)
@pytest.mark.parametrize("clock", ["round", "token"])
def test_recorded_confidences_equal_a_slow_server(policy, clock):
    rng, source = np.random.default_rng(5), recording(clock, confident=True)
    check(budget_experiment(rng, source.depth, policy), source, 1)


CHANGES = {"switch_cost": 1.5, "catch_up": 4.0, "stale": 0.3, "resumed": 0.25}
PROBES = """[
    { rule = "schedule", by_batch = [[1, 2, 3], [3, 3, 0], [4, 6, 2]], elsewhere = "off" },
    { rule = "ema", name = "low", ladder = [0, 1, 3], every = 1, warm_up = 0, keep = 0.5 },
    { rule = "adaptive_k", weight = 0.5, prior = 0.5, probe = 3 },
]"""


@pytest.mark.parametrize("changes", [CHANGES, *({key: CHANGES[key]} for key in CHANGES)], ids=str)
@pytest.mark.parametrize(("clock", "outcomes"), [*SOURCES, ("recorded", 1)])
def test_changes_of_the_depth_equal_a_slow_server(changes, clock, outcomes):
    rng = np.random.default_rng(21 + outcomes)
    source = recording("token")
    if clock != "recorded":
        source = random_chain(rng, clock, states=2, depth=3, outcomes=outcomes)
    more = {"depths": [3], "policies": PROBES.replace("\n", " "), "max_requests": 7, **changes}
    more |= {"requests": 40, "arrivals": "{ closed = 8 }", "kv_tokens": 200, "max_tokens": 40}
    more |= {"prompt": 12, "output": "{ mean = 28 }"}
    experiment = experiment_of(rng, 3, **more)
    check(experiment, source, 0)
    plan = compiled(experiment, source)
    free = replace(plan, engine=plan.engine._replace(**dict.fromkeys(changes, 0.0)))
    rows = np.zeros((2, plan.layout.columns))
    for row, one in zip(rows, (plan, free), strict=True):
        simulate_replication(one, 0, row, np.zeros((4, len(METRICS), BINS), np.int64))
    same = (rows[0] == rows[1]).reshape(4, -1).all(1)
    assert same[:2].tolist() == [True, False]  # a fixed depth has no changes, a schedule has


TREE = """
acceptance = { model = "ranks", rates = [[0.5, 0.2, 0.1], [0.4, 0.2, 0.1], [0.5, 0.2, 0.2]] }
draft = { tree = [0, 0, 0, 1, 1, 2, 4, 5] }
"""


@pytest.mark.parametrize("seed", range(6))
def test_trees_equal_a_slow_server(seed):
    rng = np.random.default_rng(seed)
    more = {"policies": '["goodput", "ema"]'} if seed % 2 else {}
    experiment = experiment_of(rng, 3, acceptance=TREE, **more)
    plan = compiled(experiment, experiment.source)
    assert plan.engine.nodes.tolist() == [0, 3, 6, 8]
    check(experiment, experiment.source, seed % 3)
    row = np.zeros(plan.layout.columns)
    chains = replace(plan, engine=plan.engine._replace(nodes=np.arange(4)))  # negative control
    simulate_replication(chains, 0, row, np.zeros((len(plan.arms), len(METRICS), BINS), np.int64))
    expected, _ = naive(experiment, plan, experiment.source, 0, 3)
    found = dict(zip(COLUMNS, row[plan.layout.arm(3)].tolist(), strict=True))
    assert (found["drafted"] == expected["drafted"]) == (expected["drafted"] == 0)


SMOOTHED = f'[{BUDGETS[2]}, {{ rule = "budget", name = "live", stale = 0, smoothing = 0.7 }}]'
BUSY = {
    "arrivals": "{ closed = 6 }", "max_requests": 9, "max_tokens": 40, "kv_tokens": 300,
    "requests": 30, "prompt": 12, "output": "{ mean = 28 }",
}  # fmt: skip
LENGTHS_OF_DRAFTS = """
[acceptance]
model = "regime"
clock = "round"
rates = [[0.9, 0.9, 0.8], [0.4, 0.5, 0.5]]
sojourn = [5, 3]
slowdown = [1.0, 1.5]
[draft]
lengths = [[0.1, 0.1, 0.2, 0.6], [0.6, 0.2, 0.1, 0.1]]
BLOCK
"""


@pytest.mark.parametrize("seed", range(8))
def test_random_numbers_of_drafts_equal_a_slow_server(seed):
    """Each request proposes by its own words; steps, KV cache and rules count what it proposes."""
    rng = np.random.default_rng(seed)
    rules = ['["goodput", "ema"]', '["oracle_budget", "budget"]', '["goodput", "ema"]', SMOOTHED]
    more = {"policies": rules[seed % 4], "auc": 0.8} if seed % 4 else {}
    more |= BUSY if seed % 4 == 3 else {}
    text = LENGTHS_OF_DRAFTS.replace("BLOCK", "block = 5" if seed % 3 == 0 else "")
    experiment = experiment_of(rng, 3, acceptance=text, **more)
    plan = compiled(experiment, experiment.source)
    assert (plan.costs.draft[1] == plan.costs.draft[3]).all() == (seed % 3 == 0)
    check(experiment, experiment.source, seed % 3)
    rows = np.zeros((2, plan.layout.columns))
    always = replace(plan, engine=plan.engine._replace(proposed=np.zeros(0, np.int32)))
    for row, one in zip(rows, (plan, always), strict=True):
        counts = np.zeros((len(plan.arms), len(METRICS), BINS), np.int64)
        simulate_replication(one, 0, row, counts)
    proposed, all_of = (dict(zip(COLUMNS, row[plan.layout.arm(3)], strict=True)) for row in rows)
    if all_of["drafted"] > 20:  # negative control
        assert proposed["drafted"] < all_of["drafted"]


CONFIDENCES = ["{ own_rate = true }", "{ states = [{ mean = 2, sd = 1 }, { mean = -1, sd = 1 }] }"]


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_confidences_of_random_numbers_of_drafts_equal_a_slow_server(confidence):
    rules = '["budget", { rule = "budget", per_request = true, smoothing = 0.8, name = "own" }]'
    more = {"policies": rules, "confidence": confidence, "arrivals": "{ closed = 4 }"}
    text = LENGTHS_OF_DRAFTS.replace("BLOCK", "")
    rng = np.random.default_rng(3)
    experiment = experiment_of(rng, 3, acceptance=text, max_tokens=40, requests=40, **more)
    laws = compile_server(experiment).plan.laws
    assert laws.shape[:3] == (3, 3, 2)  # states of the drafter
    if "own" in confidence:
        assert (laws[..., 0] == np.float32([[0.9, 0.4], [0.9, 0.5], [0.8, 0.5]])).all()
    check(experiment, experiment.source, 0)


def test_a_server_that_gives_too_many_tokens_fails():
    """A test of a faulty server must not hang."""
    rng = np.random.default_rng(2)
    experiment, chain = experiment_of(rng, 2), random_chain(rng, "round", states=2, depth=2)
    plan = compiled(experiment, chain)
    faulty = pytest.MonkeyPatch()
    faulty.setattr(Server, "verify", lambda self, request, depth: depth + 1)
    with pytest.raises(AssertionError), faulty.context():
        naive(experiment, plan, chain, 0, 1)
    faulty.undo()


def test_another_chain_gives_other_totals():
    rng = np.random.default_rng(1)
    one, other = (random_chain(rng, "round", states=2, depth=2) for _ in range(2))
    experiment = experiment_of(rng, 2)
    plan = compiled(experiment, one)
    row = np.zeros(plan.layout.columns)
    simulate_replication(plan, 0, row, np.zeros((3, len(METRICS), BINS), np.int64))
    expected, _ = naive(experiment, plan, other, 0, 2)
    assert row[plan.layout.of("steps")][2] != expected["steps"]


def test_names_of_columns_are_their_places():
    assert COLUMNS[column.TOKENS] == "tokens"
    assert COLUMNS[column.HALF_E2E] == "half_e2e_ms"
    assert COLUMNS[column.QUANTILES] == "ttft_p50"
