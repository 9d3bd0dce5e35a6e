"""Servers whose requests share a budget of drafts, against servers that must do the same."""

import numpy as np
import pytest

import mtpsim
from mtpsim.engine.server import compile_server, simulate_replication
from mtpsim.kernels.server_layout import BINS, METRICS

RATES = [0.8, 0.7, 0.6, 0.5]
TEXT = """
acceptance = {{ model = "independent", rates = {rates} }}
latency = {{ model = "linear", base = 10, per_token = {slope}, draft = 0.1 }}
[serving]
arrivals = {{ closed = {clients} }}
prompt = 5
output = {{ mean = 60, distribution = "geometric" }}
max_requests = {clients}
requests = {requests}
depths = {depths}
policies = [{policies}]
{keys}
"""
LIVE = '{ rule = "budget", stale = 0 }'


def law(accepted, rejected):
    """A law of confidences near 0 and near 1, by the share of the latter."""
    yes, no = (f"[{1 - share:g}, 0, {share:g}]" for share in (accepted, rejected))
    return f"{{ edges = [0, 1e-6, 0.999999, 1], accepted = {yes}, rejected = {no} }}"


def rows(policies, *, keys="", clients=8, slope=0.4, depths="[4]", requests=200, rates=None):
    """Totals of the arms of a replication, by column."""
    text = TEXT.format(
        rates=rates or RATES, slope=slope, clients=clients, depths=depths, requests=requests,
        policies=policies, keys=keys,
    )  # fmt: skip
    plan = compile_server(mtpsim.parse(text)).plan
    row = np.zeros(plan.layout.columns)
    simulate_replication(plan, 0, row, np.zeros((len(plan.arms), len(METRICS), BINS), np.int64))
    return [
        {name: row[plan.layout.of(name)][arm] for name in COLUMNS} for arm in range(len(plan.arms))
    ]


COLUMNS = ("tokens", "window_ms", "steps", "drafted", "unverified", "rejected", "missed")
COLUMNS += ("accepted", "request_steps", "output_tokens")


def pace(row):
    return row["tokens"] / row["window_ms"]


@pytest.mark.parametrize("policy", ['"budget"', '{ rule = "budget", search = "early" }'])
def test_drafts_that_cost_nothing_are_verified_as_at_the_greatest_depth(policy):
    fixed, budget = rows(policy, slope=0)
    assert budget == fixed
    fixed, budget = rows(policy)  # negative control
    assert budget != fixed


@pytest.mark.parametrize("clients", [1, 8])
def test_perfect_confidence_knows_as_much_as_the_oracle(clients):
    """With one request it is the clairvoyant rule: as many drafts as will be accepted."""
    keys = (
        "confidence = { at_one = [1.0, 0.0], edges = [0, 1e-12], accepted = [1], rejected = [1] }"
    )
    _, budget, oracle = rows(f'{LIVE}, "oracle_budget"', keys=keys, clients=clients, slope=0.2)
    assert budget["rejected"] == budget["missed"] == 0
    assert budget == oracle


def test_a_confidence_without_information_gains_nothing():
    """The same confidences on shuffled labels: near 1 for a share of all drafts."""
    depths = [0, 1, 2, 3, 4]
    more = {"depths": depths, "slope": 1.0, "requests": 3000}
    *fixed, shuffled = rows(LIVE, keys=f"confidence = {law(0.7, 0.7)}", **more)
    *_, informed, oracle = rows(
        f'{LIVE}, "oracle_budget"', keys=f"confidence = {law(0.95, 0.1)}", **more
    )
    best = max(map(pace, fixed))
    assert pace(shuffled) < best
    assert best < pace(informed) < pace(oracle)


def test_the_oracle_is_the_fastest_of_all():
    policies = ['"budget"', '{ rule = "budget", stale = 0, name = "live" }']
    policies += ['{ rule = "budget", per_request = true, name = "own" }']
    for slope in (0.1, 0.6, 2.0):
        *others, oracle = rows(
            ", ".join([*policies, '"oracle_budget"']),
            slope=slope,
            depths="[0, 2, 4]",
            requests=1500,
        )
        assert max(map(pace, others)) < pace(oracle)


def test_a_budget_loses_no_draft_and_no_token():
    for row in rows(f'{LIVE}, "oracle_budget"', keys="auc = 0.7"):
        assert row["drafted"] == row["unverified"] + row["rejected"] + row["accepted"]
        assert row["missed"] <= row["unverified"]
    *_, oracle = rows('"oracle_budget"', keys="auc = 0.7")
    assert oracle["rejected"] == 0 < oracle["unverified"]
