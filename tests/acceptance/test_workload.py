"""Classes of requests with names and output lengths of their own."""

import numpy as np
import pytest

import mtpsim
from mtpsim.cli.sample import sample_requests
from mtpsim.engine.simulate import compile_point, lengths_of, simulate_requests
from mtpsim.exact.chain_solver import solve
from mtpsim.report.experiment_text import explain
from tests.support.examples import TWO_DEEP, problem_of

CHAT = (
    '{ name = "chat", weight = 3, tokens = 40, '
    'of = { model = "independent", rates = [0.9, 0.85] } }'
)
TEXT = '{ name = "long texts", weight = 1, of = { model = "independent", rates = [0.4, 0.3] } }'
CODE = (
    '{ name = "code", weight = 2, tokens = 90, slowdown = 1.5, of = { model = "regime", '
    'clock = "token", rates = [[0.9, 0.8], [0.5, 0.4]], sojourn = [9, 5] } }'
)


def experiment(*parts, tokens=200, more="requests = 4000"):
    classes = f'[acceptance]\nmodel = "mixture"\nparts = [{", ".join(parts)}]\n'
    return mtpsim.parse(f"{classes}{TWO_DEEP}\n[simulation]\ntokens = {tokens}\n{more}\n")


def test_the_exact_answer_is_the_weighted_sum_of_the_classes():
    mixed = experiment(CHAT, CODE, TEXT).acceptance
    chain = mixed.chain()
    assert chain.lengths.tolist() == [40, 90, 90, 0]
    for depth in range(3):
        totals = np.zeros(3)
        for part, tokens in zip(mixed.parts, (40, 90, 200), strict=True):
            alone = solve(part.of.chain(), depth, tokens=tokens)
            row = alone.tokens, alone.rounds, alone.slow_rounds * part.slowdown
            totals += part.weight / 6 * np.array(row)
        found = solve(chain, depth, tokens=200)
        assert (found.tokens, found.rounds, found.slow_rounds) == pytest.approx(tuple(totals))
        assert found.accepted.sum() == pytest.approx(1)
        assert found.starts.sum() == pytest.approx(1)


@pytest.mark.parametrize("parts", [(CHAT, TEXT), (CHAT, CODE, TEXT)], ids=["rounds", "tokens"])
def test_a_request_is_the_one_of_a_run_with_its_length_alone(parts):
    plan = compile_point(experiment(*parts)).plan
    rows, own = simulate_requests(plan, 64, 192), lengths_of(plan, 64, 192)
    assert set(own) == ({40, 200} if len(parts) == 2 else {40, 90, 200})
    for length in set(own.tolist()):
        alone = compile_point(experiment(*(p.replace(", tokens = 40", "").replace(
            ", tokens = 90", "") for p in parts), tokens=length)).plan  # fmt: skip
        assert (rows[own == length] == simulate_requests(alone, 64, 192)[own == length]).all()
    assert (rows[:, plan.layout.tokens][:, 0] == own).all()


def naive_totals(depth, n=4000):
    """Mean tokens and rounds of chat and long texts, draft by draft."""
    rng, totals = np.random.default_rng(3), np.zeros((n, 2))
    for row in totals:
        rates, tokens = ([0.9, 0.85], 40) if rng.random() < 0.75 else ([0.4, 0.3], 200)
        made = rounds = 0
        while made < tokens:
            made += 1 + int((rng.random(depth) < rates[:depth]).cumprod().sum())
            rounds += 1
        row[:] = tokens, rounds
    return totals


def test_simulated_naive_and_exact_answers_agree():
    result = mtpsim.run(experiment(CHAT, TEXT))
    for depth, time in ((1, 98), (2, 118)):
        speedup = result.depth(depth).speedup
        error = (speedup.high - speedup.low) / 2 / 1.96
        assert abs(speedup.mean - speedup.exact) <= 4 * error
        totals = naive_totals(depth)
        tokens, rounds = totals.mean(0)
        naive = tokens / rounds * 76 / time
        residual = totals[:, 0] - tokens / rounds * totals[:, 1]
        naive_error = residual.std() / np.sqrt(len(totals)) / rounds * 76 / time
        assert abs(naive - speedup.exact) <= 4 * naive_error
        equal = solve(experiment(CHAT, TEXT).acceptance.chain(), depth, rounds=1)
        assert abs(equal.accept_length * 76 / time - speedup.exact) > 10 * error  # the control


@pytest.mark.parametrize("executor", ["threads:2", "processes:2"])
def test_control_variates_and_workers_know_the_lengths(executor):
    more = "requests = 600\ncontrol_variates = true"
    result = mtpsim.run(experiment(CHAT, CODE, TEXT, more=more), executor=executor)
    assert not [text for text in result.points[0]["warnings"] if "control variates" in text]
    speedup = result.depth(2).speedup
    assert abs(speedup.mean - speedup.exact) <= speedup.high - speedup.low
    again = mtpsim.run(experiment(CHAT, CODE, TEXT, more=more), executor="threads:1")
    assert again.depth(2) == result.depth(2)


def test_logs_have_requests_of_every_length():
    found = list(sample_requests(experiment(CHAT, CODE, TEXT), [2], 60))
    assert {one.tokens for one in found} == {40, 90, 200}


def test_names_shares_and_lengths_are_explained():
    text = explain(experiment(CHAT, CODE, TEXT))
    assert "chat: 50 % of the requests, independent, 40 tokens" in text
    assert "code: 33.3 % of the requests, regime, 90 tokens" in text
    assert "long texts: 16.7 % of the requests, independent\n" in text
    assert "requests of 200 tokens or as long as their class" in text


def test_a_benchmark_plan_has_no_other_lengths():
    plan = mtpsim.plan_benchmark(
        experiment(CHAT, TEXT), effect=0.2, power=0.8, pairs=[(1, 2)], pinned=[]
    )
    assert (plan.horizon, plan.by_length) == ({}, [])


def test_lengths_need_tokens():
    parts = f'[acceptance]\nmodel = "mixture"\nparts = [{CHAT}, {TEXT}]\n{TWO_DEEP}\n'
    assert "a part with `tokens` needs simulation.tokens" in problem_of(parts)
    both = parts + "[simulation]\ntokens = 64\nlengths = { cv = 0.5 }\n"
    assert "the parts have `tokens` of their own" in problem_of(both)


def test_policies_play_requests_of_every_length():
    adaptive = '[adaptive]\npolicies = [{ rule = "fixed", depth = 2 }]\n'
    mixed = experiment(CHAT, CODE, TEXT, more=f"requests = 600\n{adaptive}")
    plan = compile_point(mixed).plan
    rows, own = simulate_requests(plan, 64, 192), lengths_of(plan, 64, 192)
    assert (rows[:, plan.layout.policy(0)][:, 0] == own).all()
    times = rows[:, plan.layout.time_ms][:, 2]
    np.testing.assert_allclose(rows[:, plan.layout.policy(0)][:, 1], times, rtol=1e-9)
    policies = mtpsim.run(mixed).data.points[0].adaptive.policies
    assert [policy.speedup.exact for policy in policies] == [None, None]
