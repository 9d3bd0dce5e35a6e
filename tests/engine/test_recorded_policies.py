"""Rules on recorded requests: each request once, against a plain loop, and in a run."""

import json
from dataclasses import replace

import numpy as np
import pytest

import mtpsim
from mtpsim.engine.simulate import play_each_once, play_policies
from tests.support import naive_policies
from tests.support.examples import acceptance, latency, noise, problem_of, section, simulation
from tests.support.policy_plans import engine_of, plan, two_states
from tests.support.random_chains import LIMIT, z_scores
from tests.support.recordings import recording

RULES = [
    {"rule": "heuristic", "least": 0},
    {"rule": "ema", "ladder": [0, 1, 3], "warm_up": 3, "every": 2},
    {"rule": "bandit", "least": 0},
    {"rule": "oracle"},
    {"rule": "oracle", "name": "paying oracle", "pay_draft_at_zero": True},
    {"rule": "clairvoyant"},
    {"rule": "clairvoyant", "name": "paying", "pay_draft_at_zero": True},
]
CONFIDENT = [
    {"rule": "threshold", "theta": 0.5},
    {"rule": "threshold", "name": "p_min", "theta": 0.5, "drop": True},
    {"rule": "specdecpp", "least": 1, "limit": 0.4},
    {"rule": "controller"},
]
COSTLY = {"switch_cost": 1.5, "catch_up": 4.0}


def in_order(simulated):
    return replace(simulated, source=simulated.source._replace(in_order=True))


def each_once(recorded, policies, options, **horizon):
    """The plan, and totals of the kernel and of the plain loop, ``[P, R, 4 + K]``."""
    simulated = in_order(plan(recorded, policies, options=options, **horizon))
    fast, _ = play_policies(simulated, 0, recorded.requests)
    where, environment, slow = engine_of(simulated, options), simulated.policy_set.environment, []
    records = np.split(recorded.accepted, recorded.offsets[1:-1])
    unit = "tokens" if recorded.clock == "token" else "rounds"
    for player in simulated.policy_set.players:
        for number, record in enumerate(records):
            row = number * horizon["tokens"] if horizon else recorded.offsets[number]
            end, here = horizon or {unit: len(record)}, slice(*recorded.offsets[number:][:2])
            known = None if recorded.confidence is None else recorded.confidence[here]
            text = naive_policies.Record(record, row, known)
            given = np.random.default_rng(1), recorded, player.spec, environment, where
            slow.append(naive_policies.request(*given, text=text, **end))
    return simulated, fast, np.reshape(slow, fast.shape)


@pytest.mark.parametrize("options", [{}, COSTLY], ids=["plain", "costly"])
@pytest.mark.parametrize("horizon", [{}, {"tokens": 30}], ids=str)
def test_every_rule_plays_each_recorded_request_as_a_plain_loop_does(options, horizon):
    recorded = recording("token", depth=3)
    simulated, fast, slow = each_once(recorded, RULES, options, **horizon)
    counts = [0, 2, 3, 4, 5, 6]  # of all but the time: to the last round
    assert (fast[..., counts] == slow[..., counts]).all()
    np.testing.assert_allclose(fast[..., 1], slow[..., 1], rtol=1e-12)
    paces = slow[..., 0].sum(1) / slow[..., 1].sum(1)
    np.testing.assert_allclose(play_each_once(simulated), paces, rtol=1e-12)
    players = zip(simulated.policy_set.players, paces, strict=True)
    for player, pace in [(p, pace) for p, pace in players if p.spec.knows]:
        exact = player.spec.exact_throughput(simulated.policy_set.environment)
        assert exact == pytest.approx(pace, rel=1e-12), player.spec.label
    best = paces.max()
    assert best == paces[3]
    assert (paces[[4, 6]] < paces[[3, 5]]).all()  # paying for the draft costs time


@pytest.mark.parametrize("clock", ["token", "round"])
def test_rules_read_recorded_confidences_as_a_plain_loop_does(clock):
    recorded = recording(clock, depth=3, confident=True)
    simulated, fast, slow = each_once(recorded, CONFIDENT, {})
    np.testing.assert_allclose(fast[:4], slow[:4], rtol=1e-12)
    paces = slow[..., 0].sum(1) / slow[..., 1].sum(1)
    np.testing.assert_allclose(play_each_once(simulated), paces, rtol=1e-12)
    other = replace(recorded, confidence=recorded.confidence[::-1])  # negative control
    assert (each_once(other, CONFIDENT, {})[1][0] != fast[0]).any()
    drawn = plan(recorded, CONFIDENT[:1], options={"auc": 0.9})
    assert np.isnan(play_each_once(drawn)[0])


def test_rounds_and_the_comparison_detects_a_wrong_record():
    recorded = recording("round", depth=3)
    _, fast, slow = each_once(recorded, RULES[:3], COSTLY)
    np.testing.assert_allclose(fast, slow, rtol=1e-12)
    assert (np.roll(fast, 1, axis=1) != slow).any()  # negative control


def test_resampled_requests_are_recorded_ones():
    simulated = plan(recording("token", depth=3), RULES)
    drawn, _ = play_policies(simulated, 0, 500)
    known, _ = play_policies(in_order(simulated), 0, 12)
    for rows, all_rows in zip(drawn, known, strict=True):
        assert {tuple(row) for row in rows} == {tuple(row) for row in all_rows}


def trace(tmp_path, by="position", **keys):
    rng = np.random.default_rng(7)
    lines = [{"accepted": rng.integers(0, 4, rng.integers(4, 30)).tolist()} for _ in range(40)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return acceptance("trace", file="t.jsonl", by=by, depth=3, **keys)


TIMES = latency(20, [22, 23, 24], [2, 3, 4])


def test_a_run_states_the_exact_speedup_of_every_rule(tmp_path):
    policies = ["heuristic", "clairvoyant", {"rule": "bandit"}, "off"]
    text = trace(tmp_path) + TIMES + noise(0.2) + simulation(requests=20_000, as_recorded=True)
    text += section("adaptive", policies=policies)
    result = mtpsim.run(mtpsim.parse(text, folder=tmp_path))
    found = {policy.name: policy for policy in result.data.points[0].adaptive.policies}
    assert found["bandit ucb"].speedup.exact is None  # its choices depend on the noise
    assert found["oracle"].knows == "the whole recording"
    for name in ("heuristic", "clairvoyant", "oracle", "off"):
        speedup = found[name].speedup
        assert abs(speedup.mean - speedup.exact) < 2.2 * (speedup.high - speedup.low) / 2 + 1e-9
    assert "Knowing the whole recording would gain" in str(result)


@pytest.mark.parametrize(
    ("by", "rule", "horizon", "message"),
    [
        ("round", "clairvoyant", {}, 'it requires text positions (by = "position")'),
        ("position", "oracle", {"rounds": 9}, "give simulation.as_recorded = true"),
        ("position", "filter", {}, "it requires a model of hidden states"),
    ],
)
def test_bounds_that_can_not_be_played_are_refused(tmp_path, by, rule, horizon, message):
    text = trace(tmp_path, by) + TIMES + simulation(**horizon or {"as_recorded": True})
    text += section("adaptive", policies=[rule])
    assert message in problem_of(text, folder=tmp_path)


def test_a_paying_bound_of_a_chain_is_as_fast_as_solved():
    rules = [{**rule, "pay_draft_at_zero": True} for rule in ({"rule": "oracle"}, RULES[5])]
    simulated = plan(two_states("token", slowdown=1.5), rules, tokens=60, seed=5)
    totals, _ = play_policies(simulated, 0, 20_000)
    assert (totals[1][:, 3] > 0).any()  # the clairvoyant does not draft where nothing is accepted
    for player, rows in zip(simulated.policy_set.players, totals, strict=True):
        pace = player.spec.exact_throughput(simulated.policy_set.environment)
        assert abs(z_scores(rows[:, 1:2], np.array([60 / pace]))[0]) < LIMIT


def test_requests_in_recorded_order_have_the_exact_speedup(tmp_path):
    policies = ["heuristic", "ema", "clairvoyant", "oracle"]
    text = trace(tmp_path, order="recorded") + TIMES + section("adaptive", policies=policies)
    result = mtpsim.run(
        mtpsim.parse(text + simulation(requests=40, as_recorded=True), folder=tmp_path)
    )
    for policy in result.data.points[0].adaptive.policies:
        assert policy.speedup.mean == pytest.approx(policy.speedup.exact, rel=1e-12)


def confident_log(tmp_path, form="jsonl"):
    rng = np.random.default_rng(9)
    accepted = [rng.integers(0, 3, 12).tolist() for _ in range(30)]
    sure = [[[0.9] * a + [0.2] * (2 - a) for a in rounds] for rounds in accepted]
    if form == "jsonl":
        pairs = zip(accepted, sure, strict=True)
        lines = [json.dumps({"accepted": a, "confidence": c}) for a, c in pairs]
    else:
        rows = (
            f"{number};{a};2;{' '.join(map(str, c))}"
            for number, pair in enumerate(zip(accepted, sure, strict=True))
            for a, c in zip(*pair, strict=True)
        )
        lines = ["request;accepted;drafted;confidence", *rows]
    (tmp_path / f"t.{form}").write_text("\n".join(lines))
    return acceptance("trace", file=f"t.{form}", by="position") + latency(20, [22, 23], [2, 3])


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_perfect_recorded_confidence_is_the_clairvoyant_without_a_cap(tmp_path, form):
    """A draft that will be rejected has a low confidence, and is dropped."""
    rule = {"rule": "threshold", "theta": 0.5, "drop": True}
    text = confident_log(tmp_path, form) + simulation(requests=400, as_recorded=True)
    text += section("adaptive", policies=[rule, "clairvoyant"])
    result = mtpsim.run(mtpsim.parse(text, folder=tmp_path))
    sure, knowing, _ = result.data.points[0].adaptive.policies
    assert sure.accept_length.mean == pytest.approx(knowing.accept_length.mean)
    assert sure.depths == pytest.approx(knowing.depths)


def test_rules_need_a_recorded_or_a_stated_confidence(tmp_path):
    text = trace(tmp_path) + TIMES + simulation(as_recorded=True)
    rules = section("adaptive", policies=["threshold"])
    message = problem_of(text + rules, folder=tmp_path)
    assert "threshold (number 1): it reads the draft's confidence, which is not" in message
    assert "log `confidence` (docs/logs.md), or give adaptive.auc" in message
    mtpsim.parse(text + rules + "auc = 0.8\n", folder=tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"confidence": [[0.5, 0.5]]}, "rounds with confidences is 1, but rounds is 2"),
        ({"confidence": [[0.5], [0.5]], "drafted": [2, 2]}, "round 1 has 1 confidence for 2"),
        ({"confidence": [[0.5, 2], [0.5, 0.5]]}, "round 1 has the confidence 2; it must be from"),
        ({"confidence": [0.5, 0.5]}, "must be a list with a list of numbers per round"),
    ],
)
def test_wrong_confidences_are_refused(tmp_path, line, message):
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"accepted": [1, 0], "drafted": [2, 2]} | line))
    with pytest.raises(mtpsim.InputError) as caught:
        mtpsim.read_logs(path)
    assert message in str(caught.value)


def test_some_requests_without_confidences_are_padded(tmp_path):
    lines = [{"accepted": [1], "drafted": [2]}, {"accepted": [2], "confidence": [[0.9, 0.75]]}]
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    found = mtpsim.read_logs(path).sequence.subset(np.array([1, 0])).confidence
    assert found[0].tolist() == pytest.approx([0.9, 0.75])
    assert np.isnan(found[1]).all()
