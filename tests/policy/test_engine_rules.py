"""The policies against the engines' own arithmetic, on long random sequences of rounds."""

from copy import deepcopy

import numpy as np
import pytest

from mtpsim.policy import RoundOutcome
from mtpsim.policy.ema import LADDERS
from tests.support import engine_rules as engines
from tests.support.rule_player import Player, environment

ROUNDS, DEPTH = 4000, 7
TIMES = 20.0 + 3.1 * np.arange(DEPTH + 1) ** 1.1
SEEDS = [1, 2, 3]


def rounds_of(seed, count=ROUNDS, depth=DEPTH):
    """Drafts that a round would accept, confidences and noise; passages are easy or hard."""
    rng = np.random.default_rng(seed)
    rate = 0.0
    for _ in range(count):
        if rng.random() < 0.02:
            rate = rng.choice([0.0, 0.2, 0.5, 0.8, 0.97, 1.0])
        rejected = np.flatnonzero(rng.random(depth) >= rate)
        would = int(rejected[0]) if rejected.size else depth
        yield would, rng.beta(1 + 8 * rate, 1.5, depth), rng.gamma(25) / 25


def depths(player, engine, seed, count=ROUNDS, depth=DEPTH):
    """The depths of both, round by round, each on what it did itself."""
    pairs = []
    for would, hints, noise in rounds_of(seed, count, depth):
        chosen = player.depth(hints), engine.depth(list(hints))
        pairs.append(chosen)
        k = chosen[0]
        ms = TIMES[min(k, DEPTH)] * noise
        outcome = RoundOutcome(k, min(would, k), k, min(would, k), ms)
        player.rule.learn(player.p, player.m, outcome)
        engine.verified(chosen[1], min(would, chosen[1]), ms)
    return np.array(pairs).T


def agree(player, engine, seed, visited=2, **more):
    """Both choose the same depth in every round, and more than one depth over all rounds."""
    ours, theirs = depths(player, engine, seed, **more)
    assert (ours == theirs).all(), np.flatnonzero(ours != theirs)[:5]
    assert len(set(ours)) >= visited


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("ladder", "more", "own"),
    [
        ([1, 3, 5, 7], {}, {}),
        ([0, 1, 3], {"slack_down": 0.0}, {"down": 0.0}),
        ([0, 1], {"warm_up": 0, "every": 1}, {"wait": 0, "every": 1}),
        ([0, 1, 2, 3, 4, 5], {"start": 0}, {"initial": 0}),
        ([2, 4, 7], {"slack_down": 0.5, "keep": 0.9}, {"down": 0.5, "alpha": 0.1}),
        ([0, 3, 4, 7], {"slack_up": 0.5, "keep": 0.7}, {"up": 0.5, "alpha": 0.3}),
        ([1, 3, 5, 7], {"ceiling": 1.5, "start": 7}, {"cap": 1.5, "initial": 7}),
        ([0, 2, 6], {"ceiling": 0.5, "every": 3}, {"cap": 0.5, "every": 3}),
    ],
)  # fmt: skip
def test_sglang(ladder, more, own, seed):
    player = Player("ema", environment(TIMES), ladder=ladder, **more)
    agree(player, engines.SGLangSlot(ladder, **own), seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("depth", [2, 3, 5, 7])
def test_sglang_by_batch(depth, seed):
    """Batches change at random; each range of them has a ladder and an average of its own."""
    engine = engines.SGLang(depth)
    batches = [1, 7, 8, 31, 32, 63, 64, 500]
    players = {
        least: Player("ema", environment(TIMES[: depth + 1], batch=least)) for least in LADDERS
    }
    rng, batch, played = np.random.default_rng(seed), 1, {least: set() for least in LADDERS}
    for would, _, _ in rounds_of(seed, 3 * ROUNDS, depth):
        if rng.random() < 0.05:
            batch = int(rng.choice(batches))
        least = max(least for least in LADDERS if least <= batch)
        fresh = Player("ema", environment(TIMES[: depth + 1], batch=batch))
        assert (fresh.p == players[least].p).all()
        (k,) = players[least].play(would)
        assert k == engine.slot(batch).depth()
        played[least].add(k)
        engine.slot(batch).verified(k, min(would, k))
    table = {least: {k for k in ladder if k <= depth} for least, ladder in LADDERS.items()}
    assert played == table


def test_the_ladders_are_sglangs():
    assert {least: ladder for least, (ladder, _) in engines.SGLANG.items()} == LADDERS


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("schedule", ["heuristic", "heuristic_transient"])
@pytest.mark.parametrize("most", [3, 7, 64])
def test_hugging_face(schedule, most, seed):
    """Calls of 37 rounds, in a model that is deeper than any depth reached, or not."""
    call = {} if schedule == "heuristic" else {"request_rounds": 37}
    player = Player(schedule, environment(np.arange(10.0, 11.0 + most)), **call)
    engine = engines.HuggingFace(schedule, most)
    played = []
    for number, (would, _, _) in enumerate(rounds_of(seed, depth=most)):
        if number % 37 == 0:
            engine.end()
            engine.begin()
        (k,) = player.play(would)
        assert k == engine.depth()
        engine.verified(k, min(would, k))
        played.append(k)
    assert len(set(played)) >= 3
    first = set(played[37::37])
    assert (first == {min(20, most)}) == (schedule == "heuristic_transient")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("window", "limit", "length"), [(1, 0.4, 50), (3, 0.7, 20), (10, 1.0, 3), (50, 0.9, 1)]
)
def test_tensorrt_llm(window, limit, length, seed):
    keys = {"depth": 3, "window": window, "limit": limit, "request_rounds": length}
    player = Player("gate", environment(TIMES), **keys)
    agree(player, engines.TensorRTGate(3, window, limit, length), seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("start", [0.2, 0.6, 0.8])
def test_draft_and_verify(start, seed):
    player = Player("controller", environment(TIMES), start=start)
    engine = engines.DraftVerify(DEPTH, start)
    agree(player, engine, seed)
    assert player.m.tolist() == pytest.approx([engine.threshold, engine.share], rel=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("limit", "least", "most"), [(0.7, 2, 20), (0.3, 1, 5), (0.9, 4, 6)])
def test_specdecpp(limit, least, most, seed):
    keys = {"limit": limit, "least": least, "most": most}
    player = Player("specdecpp", environment(TIMES), **keys)
    agree(player, engines.SpecDecPlusPlus(limit, least, min(most, DEPTH)), seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("rule", "keys", "engine"),
    [
        ("goodput", {}, engines.GoodputManager(TIMES)),
        ("goodput", {"warm_up": 40}, engines.GoodputManager(TIMES, 40)),
        ("adaptive_k", {}, engines.AdaptiveK(TIMES)),
        ("adaptive_k", {"weight": 0.05, "cooldown": 5}, engines.AdaptiveK(TIMES, 0.05, cooldown=5)),
        ("bandit", {}, engines.Ucb(TIMES)),
        ("bandit", {"width": 1.5}, engines.Ucb(TIMES, 1.5)),
    ],
)
def test_goodput_adaptive_k_and_ucb(rule, keys, engine, seed):
    player = Player(rule, environment(TIMES), **keys)
    agree(player, deepcopy(engine), seed)


@pytest.mark.parametrize(
    ("more", "own"),
    [
        ({"warm_up": 9}, {}),
        ({"start": 1}, {}),
        ({"slack_down": 0.0}, {}),
        ({"keep": 0.79}, {}),
        ({}, {"cap": 1.5}),
    ],
)
def test_a_rule_that_differs_in_one_key_does_not_agree(more, own):
    player = Player("ema", environment(TIMES), ladder=[1, 3, 5, 7], **more)
    ours, theirs = depths(player, engines.SGLangSlot([1, 3, 5, 7], **own), 1)
    assert (ours != theirs).any()
