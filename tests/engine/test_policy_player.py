"""Policies in the kernel against the naive simulator, fixed depths and exact solutions."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mtpsim.acceptance.draft_lengths import propose
from mtpsim.config.adaptive import Adaptive
from mtpsim.engine.simulate import play_policies, simulate_requests
from mtpsim.policy import RULES
from mtpsim.policy.base import Rule, learn_nothing, start_empty
from tests.support import naive_policies
from tests.support.policy_plans import NOISE, by_outcome, engine_of, latency, plan, two_states
from tests.support.random_chains import LIMIT, random_chain, z_scores
from tests.support.recordings import recording

SOURCES = {
    "round": two_states("round", slowdown=1.5),
    "token": two_states("token", slowdown=1.5),
    "by outcome, round": by_outcome("round"),
    "by outcome, token": by_outcome("token"),
    "many states": random_chain(np.random.default_rng(4), "token"),
    "recorded rounds": recording("round"),
    "recorded positions": recording("token"),
}
HORIZONS = [{"rounds": 40}, {"tokens": 300}, {"rounds": 700}]


@pytest.fixture
def without_oracle(monkeypatch):
    """Plans without the bound that is added to each: a kernel less to compile."""
    monkeypatch.setattr("mtpsim.exact.oracle_mdp.LARGEST", 1)


@pytest.mark.usefixtures("without_oracle")
@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("horizon", HORIZONS, ids=str)
def test_a_constant_policy_equals_the_fixed_depth(source, noise, horizon):
    """Two kernels with nothing in common but the words: the same tokens, rounds and times."""
    chain = SOURCES[source]
    policies = [{"rule": "fixed", "depth": depth} for depth in range(chain.depth + 1)]
    simulated = plan(chain, policies, noise, **horizon)
    rows, layout = simulate_requests(simulated, 3, 300), simulated.layout
    for depth in range(chain.depth + 1):
        played = rows[:, layout.policy(depth)]
        assert (played[:, 0] == rows[:, layout.tokens][:, depth]).all()
        np.testing.assert_allclose(played[:, 1], rows[:, layout.time_ms][:, depth], rtol=1e-9)
        assert (played[:, 2] == rows[:, layout.rounds][:, depth]).all()
        assert (played[:, 3 + depth] == played[:, 2]).all()


COSTLY = {"switch_cost": 1.5, "catch_up": 4.0, "stale": 0.4}
RESUMED = {"switch_cost": 0.2, "stale": 0.2, "resumed": 0.3}
ENGINES = {"plain": {}, "costly": COSTLY, "full feedback": {"feedback": "full"}}
ENGINES["resumed"] = RESUMED
EXAMPLES = [
    {"rule": "heuristic", "least": 0},
    {"rule": "heuristic_transient", "request_rounds": 4},
    {"rule": "ema", "ladder": [0, 1, 3], "warm_up": 3, "every": 2},
    {"rule": "goodput", "warm_up": 3, "probe": 4, "keep": 0.9},
    {"rule": "adaptive_k", "probe": 3},
    {"rule": "threshold", "theta": 0.6},
    {"rule": "threshold", "name": "p_min", "theta": 0.6, "drop": True},
    {"rule": "specdecpp", "least": 1, "limit": 0.4},
    {"rule": "controller"},
    {"rule": "bandit", "least": 0},
    {"rule": "bandit", "method": "thompson"},
    {"rule": "gate", "window": 2, "request_rounds": 5, "limit": 1.6},
    {"rule": "window_lead", "depth": 1, "warm_up": 2, "window": 4, "abort_after": 2, "wait": 1},
    {"rule": "tiers", "depths": [1, 2], "patience": 2, "cooldown": 3},
    {"rule": "oracle"},
    {"rule": "filter"},
    {"rule": "clairvoyant"},
]
# Of rules whose kernels read the same inputs, pauses are tested with one, or with one that reads
# times: each has a kernel of its own for them, from the same template.
READ_THE_SAME = ("heuristic_transient", "ema", "adaptive_k", "specdecpp", "controller", "gate")
READ_THE_SAME += ("window_lead", "tiers")


def examples(engine):
    """Policies to compare in an engine."""
    pauses = {"stale", "resumed"} & ENGINES[engine].keys()
    return [one for one in EXAMPLES if not (pauses and one["rule"] in READ_THE_SAME)]


REFERENCE_CASES = [
    (clock, engine, horizon)
    for clock in ("round", "token")
    for engine in ENGINES
    for horizon in ({"rounds": 25}, {"tokens": 40})
]


@pytest.mark.parametrize(("clock", "engine", "horizon"), REFERENCE_CASES, ids=str)
def test_kernels_agree_with_the_naive_simulator(clock, engine, horizon):
    """8 x (17 + 9) x 7 comparisons of two means: a false alarm in fewer than one run in 1,000."""
    chain, options = two_states(clock, slowdown=1.4), ENGINES[engine]
    simulated = plan(chain, examples(engine), options=options, seed=11, **horizon)
    totals, _ = play_policies(simulated, 0, 6_000)
    rng, where = np.random.default_rng(12), engine_of(simulated, options)
    for fast, player in zip(totals, simulated.policy_set.players, strict=True):
        environment = simulated.policy_set.environment
        slow = naive_policies.simulate(rng, chain, player.spec, environment, where, 300, **horizon)
        assert np.abs(two_samples(fast, slow)).max() < LIMIT, player.spec.label


LAW = np.array([[0.1, 0.1, 0.2, 0.6], [0.6, 0.2, 0.1, 0.1]])


@pytest.mark.parametrize("engine", ["plain", "costly", "full feedback"])
def test_policies_with_random_numbers_of_drafts(engine):
    """Policies whose depth caps what the drafter proposes, in one state or another."""
    chain, options = two_states("round", slowdown=1.4), ENGINES[engine]
    times = latency(3)
    proposing = propose(chain, LAW, verify=times.verify, draft=times.draft, block=False)
    simulated = plan(proposing, examples(engine), options=options, seed=11, rounds=25)
    totals, _ = play_policies(simulated, 0, 6_000)
    where, environment = engine_of(simulated, options), simulated.policy_set.environment
    wrong = []
    for fast, player in zip(totals, simulated.policy_set.players, strict=True):
        for law, found in ((LAW, LIMIT), (None, np.inf)):  # the latter: a negative control
            rng, spec = np.random.default_rng(12), player.spec
            rows = [
                naive_policies.request(rng, chain, spec, environment, where, rounds=25, law=law)
                for _ in range(300 if law is not None else 40)
            ]
            off = np.abs(two_samples(fast, np.array(rows, float))).max()
            assert off < found, spec.label
            wrong += [off > LIMIT] * (law is None and spec.rule_name() not in ("oracle", "filter"))
    assert np.mean(wrong) > 0.9
    optimal = simulated.policy_set.optimal
    for name, choice in (("oracle", optimal.oracle), ("clairvoyant", optimal.cap)):
        solved = optimal.totals(choice, name == "clairvoyant")
        rows = totals[simulated.policy_set.labels.index(name)]
        assert np.abs(z_scores(rows[:, :2], np.array([solved.tokens, solved.time]))).max() < LIMIT


@pytest.mark.usefixtures("without_oracle")
def test_a_constant_policy_proposes_as_the_fixed_depth_does():
    times, policies = latency(3, "shared"), [{"rule": "fixed", "depth": k} for k in range(4)]
    chain = two_states("round", slowdown=1.4)
    chain = propose(chain, LAW, verify=times.verify, draft=times.draft, block=False)
    simulated = plan(chain, policies, "shared", rounds=40)
    rows, layout = simulate_requests(simulated, 3, 300), simulated.layout
    for depth in range(4):
        played = rows[:, layout.policy(depth)]
        assert (played[:, 0] == rows[:, layout.tokens][:, depth]).all()
        np.testing.assert_allclose(played[:, 1], rows[:, layout.time_ms][:, depth], rtol=1e-9)


def two_samples(one, two):
    error = np.sqrt(one.var(0) / len(one) + two.var(0) / len(two))
    apart = one.mean(0) - two.mean(0)
    return np.where(error > 1e-9, apart / np.maximum(error, 1e-9), apart / 1e-6)


@pytest.mark.usefixtures("without_oracle")
def test_comparison_detects_a_missing_cost():
    """Negative control."""
    chain, options = two_states("round"), {"switch_cost": 0.4}
    simulated = plan(chain, ["heuristic"], options=options, seed=11, rounds=25)
    totals, _ = play_policies(simulated, 0, 6_000)
    rng, where = np.random.default_rng(12), engine_of(simulated, {})
    environment, spec = simulated.policy_set.environment, simulated.policy_set.players[0].spec
    slow = naive_policies.simulate(rng, chain, spec, environment, where, 300, rounds=25)
    assert np.abs(two_samples(totals[0], slow)).max() > LIMIT


def test_a_draft_that_lost_acceptance_makes_the_oracle_stay_on():
    """Three rows know a request that was off; avoiding a permanent loss is worth a slow round."""
    found = []
    for resumed in (0.0, 0.5):
        given = {"rounds": 200, "options": {"resumed": resumed, "catch_up": 1e-9}}
        optimal = plan(two_states("round"), ["oracle"], **given).policy_set.optimal
        found.append((optimal, (optimal.oracle[:5] == 0).sum()))
    (usual, off), (lossy, still_off) = found
    assert (usual.oracle.shape, lossy.oracle.shape) == ((5, 2), (8, 2))
    assert still_off < off
    as_usual = np.concatenate([usual.oracle, usual.oracle[2:]])
    assert lossy.pace(lossy.oracle) > lossy.pace(as_usual)
    assert usual.pace(usual.oracle) > lossy.pace(lossy.oracle)


@pytest.mark.parametrize("horizon", [{"rounds": 30}, {"tokens": 60}], ids=str)
@pytest.mark.parametrize("engine", ["plain", "costly", "resumed"])
@pytest.mark.parametrize("source", ["round", "token", "by outcome, round", "many states"])
def test_bounds_are_as_fast_as_solved(source, engine, horizon):
    chain, bounds = SOURCES[source], ["oracle", "clairvoyant"]
    if source == "by outcome, round":
        bounds = ["oracle"]
    simulated = plan(chain, bounds, options=ENGINES[engine], seed=15, **horizon)
    optimal = simulated.policy_set.optimal
    totals, _ = play_policies(simulated, 0, 30_000)
    for name, rows in zip(bounds, totals, strict=True):
        clairvoyant = name == "clairvoyant"
        solved = optimal.totals(optimal.cap if clairvoyant else optimal.oracle, clairvoyant)
        truth = np.array([solved.tokens, solved.time])
        assert np.abs(z_scores(rows[:, :2], truth)).max() < LIMIT


@pytest.mark.parametrize("horizon", [{"rounds": 6}, {"rounds": 60}], ids=str)
@pytest.mark.parametrize("source", ["round", "token", "by outcome, token"])
def test_oracle_is_at_least_as_fast_as_any_state_policy(source, horizon):
    """All of them tried: 16 ways to give a depth to each of two states."""
    simulated = plan(SOURCES[source], ["oracle"], **horizon)
    optimal = simulated.policy_set.optimal
    best = optimal.pace(optimal.oracle)
    paces = [optimal.pace(np.array([[a, b]] * 5)) for a in range(4) for b in range(4)]
    assert best == pytest.approx(max(paces), rel=1e-12)
    assert best <= optimal.pace(optimal.cap, clairvoyant=True) * (1 + 1e-12)


def test_switching_costs_make_the_oracle_switch_less():
    free = plan(two_states("round", stay=2), ["oracle"], rounds=50).policy_set.optimal
    given = {"rounds": 50, "options": {"switch_cost": 30.0}}
    costly = plan(two_states("round", stay=2), ["oracle"], **given).policy_set.optimal
    assert len(set(free.oracle[1])) == 2
    assert all(len(set(costly.oracle[:, s][1:])) > 1 for s in range(2))  # it stays where it is
    fixed = max(costly.pace(np.full((5, 2), k)) for k in range(4))
    assert costly.pace(costly.oracle) >= fixed


def test_confidence_has_the_stated_auc():
    """AUC and calibration of the scores of the naive simulator."""
    rng = np.random.default_rng(3)
    engine = naive_policies.Engine(np.ones(2), np.ones(2), np.array([0.7]), auc=0.85)
    full = rng.binomial(1, 0.7, 20_000)
    sure = np.array([naive_policies.confidences(rng, engine, f, [rng.normal()])[0] for f in full])
    good, bad = sure[full == 1], sure[full == 0]
    area = (good[:4000, None] > bad[None, :4000]).mean()
    assert area == pytest.approx(0.85, abs=5 * 0.5 / np.sqrt(4000))
    for low in (0.2, 0.5, 0.8):
        inside = (sure > low) & (sure < low + 0.15)
        error = np.sqrt(0.25 / inside.sum())
        assert full[inside].mean() == pytest.approx(sure[inside].mean(), abs=5 * error)


def test_uninformative_confidence_is_the_rate_itself():
    rule = {"rule": "threshold", "theta": 0.4}
    simulated = plan(two_states("round"), [rule], options={"auc": 0.5}, rounds=30)
    rates = simulated.policy_set.engine.rates
    totals, _ = play_policies(simulated, 0, 100)
    assert (rates > 0.4).all()
    assert (totals[0][:, -1] == 30).all()


def test_the_filter_has_the_posterior_of_the_state():
    """Against the sum over all paths of states, by hand."""
    from itertools import product

    chain = two_states("round", stay=3)
    simulated = plan(chain, ["filter"], rounds=10)
    player = simulated.policy_set.players[0]
    rule, m = player.spec.functions(), np.zeros(player.memory)
    rule.start(player.p, m)
    seen = [(3, 2), (1, 0), (2, 2), (0, 0)]
    law = np.zeros(2)
    reach = np.concatenate([np.ones((2, 1)), np.cumprod(chain.accept, 1), np.zeros((2, 1))], 1)
    for path in product(range(2), repeat=len(seen) + 1):
        weight = chain.start[path[0]]
        for (depth, accepted), here, after in zip(seen, path, path[1:], strict=False):
            beyond = reach[here, accepted + 1] if accepted < depth else 0.0
            weight *= (reach[here, accepted] - beyond) * chain.step[0][here, after]
        law[path[-1]] += weight
    for depth, accepted in seen:
        rule.learn(player.p, m, naive_policies.RoundOutcome(depth, accepted, depth, accepted, 1.0))
    np.testing.assert_allclose(m[1:3], law / law.sum(), rtol=1e-12)


@pytest.mark.parametrize("horizon", [{"rounds": 30}, {"tokens": 60}], ids=str)
@pytest.mark.parametrize("engine", ["plain", "costly", "resumed"])
@pytest.mark.parametrize("clock", ["round", "token"])
def test_the_filter_is_as_fast_as_its_dynamic_program(clock, engine, horizon):
    chain = two_states(clock, stay=6)
    simulated = plan(chain, ["filter", "heuristic"], options=ENGINES[engine], seed=17, **horizon)
    optimal = simulated.policy_set.optimal
    beliefs = optimal.beliefs
    pace = beliefs.pace(optimal.by_belief[: len(optimal._costs)])
    totals, _ = play_policies(simulated, 0, 20_000)
    filtered, heuristic = (rows[:, 0].sum() / rows[:, 1].sum() for rows in totals[:2])
    rows = totals[0]
    error = np.std(rows[:, 0] - filtered * rows[:, 1]) / rows[:, 1].mean() / np.sqrt(len(rows))
    assert abs(filtered - pace) < LIMIT * error + 1e-4 * pace  # lines between grid points
    assert heuristic < filtered < optimal.pace(optimal.oracle)


def test_optimal_belief_policy_beats_the_greedy_choice():
    """The dynamic program over beliefs beats the greedy choice under the same belief."""
    chain = two_states("round", stay=20)
    simulated = plan(chain, ["filter"], rounds=200)
    optimal = simulated.policy_set.optimal
    grid = np.linspace(0, 1, optimal.by_belief.shape[1])
    easy, hard = (optimal.values[:, state, None] for state in (0, 1))
    values = easy * (1 - grid)[:, None] + hard * grid[:, None]
    greedy = values.argmax(-1)[:1]
    assert optimal.beliefs.pace(optimal.by_belief[:1]) > optimal.beliefs.pace(greedy)


@pytest.mark.usefixtures("without_oracle")
def test_a_request_depends_on_its_number_alone():
    given = "own, lasting, correlated", 1, ENGINES["costly"]
    simulated = plan(two_states("token"), EXAMPLES[2:3], *given, tokens=90)
    together, logs = play_policies(simulated, 0, 700, logged=30)
    some, their_logs = play_policies(simulated, 500, 30, logged=30)
    assert (some == together[:, 500:530]).all()
    assert (their_logs == logs[:, 500:530]).all()


@pytest.mark.usefixtures("without_oracle")
def test_sizes_that_are_constants_of_a_kernel_change_nothing(monkeypatch):
    found, rules = [], ["gate", "ema", "goodput", "adaptive_k", "threshold"]
    for sizes in ({}, {"MOST_COPIED": 0, "MOST_UNROLLED": 0, "DEEPEST_UNROLLED": 0}):
        for name, most in sizes.items():
            monkeypatch.setattr(f"mtpsim.engine.policy_player.{name}", most)
        found.append(play_policies(plan(two_states("token"), rules, rounds=300), 0, 20)[0])
    assert (found[0] == found[1]).all()


# A third draft that pays while no acceptance is lost, so that the table of the clairvoyant differs
STEEP = {"target": 40.0, "verify": [45.0, 65.0, 92.0], "draft": [5.0, 10.0, 15.0]}
EASY = np.array([[0.998, 0.95, 0.9], [0.997, 0.9, 0.9]])


@pytest.mark.parametrize("times", ["none", "steep"])
@pytest.mark.parametrize("clock", ["round", "token"])
def test_the_length_of_the_tape_changes_nothing(clock, times, monkeypatch):
    """Requests that wait for the next tape while others play make no round and learn nothing."""
    monkeypatch.setitem(NOISE, "steep", STEEP)
    found, chain, options = [], two_states(clock), RESUMED
    if times == "steep":
        chain, options = replace(chain, accept=EASY), {"resumed": 0.7}
    simulated = plan(chain, examples("resumed"), times, options=options, rounds=400)
    for ticks in (2048, 64):
        monkeypatch.setattr("mtpsim.engine.policy_player.TICKS", ticks)
        found.append(play_policies(simulated, 0, 128, logged=400))
    (totals, log), (by_parts, its_log) = found
    assert (log == its_log).all()
    np.testing.assert_allclose(by_parts, totals, rtol=1e-12)


def play_rule(monkeypatch, choose, source, count=70, **horizon):
    """Log of a rule of one number of memory, which is compiled for this test alone."""
    monkeypatch.setattr("mtpsim.kernels.jit.CACHE_FOLDER", None)
    simulated = plan(source, [{"rule": "fixed", "depth": 1}], **horizon)
    rule, policies = Rule(start_empty, choose, learn_nothing), simulated.policy_set
    spec = SimpleNamespace(rule_name=lambda: choose.__qualname__, functions=lambda: rule)
    player = replace(policies.players[0], spec=spec)
    simulated = replace(simulated, policy_set=replace(policies, players=[player]))
    return play_policies(simulated, 0, count, logged=1500)[1][0]


def choose_in_turn(p, m, context, hints):
    m[0] += 1
    return int(m[0]) % 4


@pytest.mark.usefixtures("without_oracle")
@pytest.mark.parametrize("source", ["round", "token", "recorded positions"])
def test_a_rule_chooses_once_per_round(source, monkeypatch):
    horizon = {} if source.startswith("recorded") else {"tokens": 1500}
    depth = play_rule(monkeypatch, choose_in_turn, SOURCES[source], **horizon)[:, :, 0]
    played = depth >= 0
    assert len(set(played.sum(1))) >= 10  # requests of many lengths
    assert (depth == np.arange(1, 1501) % 4)[played].all()


def choose_and_fail(p, m, context, hints):
    m[0] += 1
    if m[0] == 4:
        raise ValueError("broken rule")
    return 1


def choose_too_deep(p, m, context, hints):
    m[0] += 1
    return 4 if m[0] == 4 else 1


def choose_below_zero(p, m, context, hints):
    m[0] += 1
    return -1 if m[0] == 4 else 1


ABSENT = "a depth that the acceptance model does not have"
WRONG = [(choose_and_fail, "broken rule"), (choose_too_deep, ABSENT), (choose_below_zero, ABSENT)]


@pytest.mark.usefixtures("without_oracle")
@pytest.mark.parametrize(("choose", "message"), WRONG)
def test_errors_of_a_rule_are_raised(choose, message, monkeypatch):
    assert (play_rule(monkeypatch, choose, SOURCES["round"], rounds=3)[:, :3, 0] == 1).all()
    with pytest.raises(ValueError, match=message):
        play_rule(monkeypatch, choose, SOURCES["round"], rounds=4)


def test_recorded_log_equals_the_totals():
    simulated = plan(two_states("token"), ["heuristic", "bandit"], rounds=60)
    totals, logs = play_policies(simulated, 0, 40, logged=100)
    assert (logs[:, :, 60:] == -1).all()
    depth, accepted = logs[:, :, :60, 0], logs[:, :, :60, 1]
    assert ((accepted >= 0) & (accepted <= depth)).all()
    assert (totals[:, :, 0] == (accepted + 1).sum(-1)).all()
    for k in range(4):
        assert (totals[:, :, 3 + k] == (depth == k).sum(-1)).all()


def test_an_oracle_that_is_too_large_is_omitted_or_reported(monkeypatch):
    monkeypatch.setattr("mtpsim.exact.oracle_mdp.LARGEST", 1)
    chain, more = two_states("round"), {"options": ENGINES["costly"], "rounds": 5}
    assert plan(chain, ["heuristic"], **more).policy_set.labels == ["heuristic"]
    with pytest.raises(ValueError, match="10 unknowns are too many"):
        plan(chain, ["oracle"], **more)


def test_equal_policies_get_different_names():
    twice = [{"rule": "ema"}, {"rule": "heuristic", "name": "ema"}]
    with pytest.raises(ValueError, match="2 policies have the label 'ema'"):
        Adaptive.model_validate({"policies": twice})
    with pytest.raises(ValueError, match="the name 'oracle' is reserved"):
        Adaptive.model_validate({"policies": [{"rule": "ema", "name": "oracle"}]})


def test_every_rule_is_in_the_kernel_tests():
    others = {name for name, rule in RULES.items() if rule.shares_budget}  # of servers
    assert {entry["rule"] for entry in EXAMPLES} | {"fixed", "off", "schedule"} | others == set(
        RULES
    )
