"""Each policy on a short sequence with hand-computed results."""

import numpy as np
import pytest

from mtpsim.policy import RoundOutcome
from mtpsim.policy.window_lead import WindowLead
from tests.support.rule_player import Player, environment


def test_fixed_and_off():
    assert Player("fixed", depth=2).play(0, 3, 1) == [2, 2, 2]
    assert Player("off").play(3, 3) == [0, 0]


@pytest.mark.parametrize(
    ("batch", "off", "keep"),
    [
        (1, 0, 0), (2, 3, 3), (64, 3, 3), (64.5, 3, 3), (65, 1, 1), (128, 1, 1), (129, 0, 1),
        (250, 2, 2), (500, 0, 2),
    ],
)  # fmt: skip
def test_schedule_by_batch(batch, off, keep):
    """Between and beyond the rows TensorRT-LLM is off, and vLLM keeps the last depth."""
    rows = [[2, 64, 3], [65, 128, 1], [200, 300, 2]]
    for elsewhere, depth in (("off", off), ("keep", keep)):
        where = environment(batch=batch)
        assert Player("schedule", where, by_batch=rows, elsewhere=elsewhere).depth() == depth


def test_heuristic():
    # Start 20 is cut to the model's 8. Full rounds add 2, others take 1; never over 8 or under 1.
    where = environment(np.arange(10.0, 19.0))
    assert Player("heuristic", where).play(8, 3, 3, 9, 9, 0, 0) == [8, 8, 7, 6, 8, 8, 7]
    assert Player("heuristic", where, start=2).play(0, 0, 0, 1, 3, 5) == [2, 1, 1, 1, 3, 5]


def test_heuristic_transient_begins_each_call_at_the_initial_depth():
    where = environment(np.arange(10.0, 19.0))
    rounds = [0, 9, 0, 9, 9, 9, 9]
    assert Player("heuristic", where, start=2).play(*rounds) == [2, 1, 3, 2, 4, 6, 8]
    player = Player("heuristic_transient", where, start=2, request_rounds=3)
    assert player.play(*rounds) == [2, 1, 3, 2, 4, 6, 2]
    assert Player("heuristic_transient", where, start=2).play(*rounds) == [2, 1, 3, 2, 4, 6, 8]


def test_heuristic_at_depth_0():
    # Nothing was drafted, so nothing was rejected: 0 + 2.
    assert Player("heuristic", start=1, least=0).play(0, 0, 1) == [1, 0, 2]


def test_ema():
    # Ladder 1, 3, 5, 7 at batch 1; starts at 7 with an average of 7 - 1 = 6. The first look is
    # after 10 + 5 rounds of 2 accepted: 2 + 4 x 0.8^15 = 2.1407. Down while the average is at most
    # (rung below) - 0.5 - 0.25: 5 -> 4.25 yes; 3 -> 2.25 yes; 1 -> 0.25 no. So depth 3.
    where = environment(np.arange(10.0, 18.0))
    player = Player("ema", where, start=7)
    assert player.play(*[2] * 16) == [7] * 15 + [3]
    assert player.m[0] == pytest.approx(2 + 4 * 0.8**16)
    # Up needs more than 3 - 0.5 at a look (rounds 20, 25, ..): four rounds of 3 accepted give
    # 3 - (1 - 4 x 0.8^16) x 0.8^4 = 2.6365 at round 20.
    assert player.play(3, 3, 3, 3, 3) == [3, 3, 3, 3, 5]


@pytest.mark.parametrize(
    ("keys", "batch", "depth"),
    [
        ({}, None, 3), ({}, 8, 3), ({}, 31.5, 3), ({}, 32, 1), ({}, 64, 0),
        ({"start": 1}, 8, 1), ({"start": 1}, 64, 0),
        ({"ladder": [1, 3, 5, 7]}, None, 5), ({"ladder": [0, 2]}, 64, 2),
    ],
)  # fmt: skip
def test_ema_starts_at_3_or_in_the_middle_of_its_ladder(keys, batch, depth):
    where = environment(np.arange(10.0, 18.0), batch)
    assert Player("ema", where, **keys).depth() == depth


def test_ema_decreases_by_several_rungs_and_increases_by_one():
    # 15 rounds of nothing: 6 x 0.8^15 = 0.211 is at most 5 - .75, 3 - .75 and 1 - .75: three rungs
    # down in one look, from 7 to 1.
    player = Player("ema", environment(np.arange(10.0, 18.0)), start=7)
    assert player.play(*[0] * 16) == [7] * 15 + [1]
    # The text turns easy, but depth 1 shows no more than 1 accepted draft: a look can raise the
    # depth by one rung only. 1 - (1 - 6 x 0.8^16) x 0.8^4 = 0.66 > 1 - .5.
    assert player.play(*[7] * 5) == [1] * 4 + [3]


def test_ema_tries_depth_1_after_an_interval_at_depth_0():
    # At batch 8: 2 x 0.8^15 = 0.07 is at most 1 - .5 and, for the rung 0, at most .5. At depth 0
    # the average stands still; the next look tries depth 1, which is rejected too.
    player = Player("ema", environment(batch=8))
    assert player.play(*[0] * 26) == [3] * 15 + [0] * 5 + [1] * 5 + [0]
    assert player.m[0] == pytest.approx(2 * 0.8**20)


def test_ema_increases_by_several_rungs_with_full_feedback():
    player = Player("ema", environment(np.arange(10.0, 18.0)), start=1)
    # Starts at an average of 0; 15 rounds of 7 seen: 7 (1 - 0.8^15) = 6.75, over 5 - .5.
    assert player.play(*[7] * 16, seen=7) == [1] * 15 + [7]


def test_goodput():
    # Three rounds at the greatest depth with 1, 0, 3 accepted: q = 2/3, 1/3, 1/3.
    # (1 + sum q) / T: 1/10; 1.667/12 = .1389; 2/14 = .1429; 2.333/16 = .1458.
    player = Player("goodput", warm_up=3)
    assert player.play(1, 0, 3, 0) == [3, 3, 3, 3]
    # q = 2/4, 1/4, 1/4: .1; 1.5/12 = .125; 1.75/14 = .125; 2/16 = .125: a tie, so the shallowest.
    assert player.play(0) == [1]
    # Only position 1 is counted now: q = 2/5, 1/4, 1/4.
    # 1.4/12 = .11667; 1.65/14 = .11786; 1.9/16 = .11875.
    assert player.depth() == 3


def test_goodput_stays_off_without_probe():
    assert Player("goodput", warm_up=1).play(0, 3, 3, 3) == [3, 0, 0, 0]
    # After 2 rounds of rest depth 1 is tried: q1 = 1/2, the others 0: 1.5/12 = .125 > .1.
    assert Player("goodput", warm_up=1, probe=2).play(0, 3, 3, 3, 3) == [3, 0, 0, 1, 1]
    assert Player("goodput", warm_up=1, least=1).play(0, 3) == [3, 1]


def test_goodput_with_decaying_counts():
    # Two rounds, none and then one accepted, old counts halved: q1 = 1 / 1.5.
    player = Player("goodput", warm_up=9, keep=0.5)
    player.play(0, 1)
    assert player.m[2] == pytest.approx(2 / 3)
    assert player.m[3] == 0


def test_adaptive_k():
    # Rates start at .85: 1.85/12 = .1542; 2.5725/14 = .1838; 3.1866/16 = .1992.
    player = Player("adaptive_k")
    assert player.play(0) == [3]
    # Rejected at once: .85 - .3 x .85 = .595; the others were not judged.
    assert player.m[3:].tolist() == pytest.approx([0.595, 0.85, 0.85])
    # 1.595/12 = .1329; 2.1008/14 = .1501; 2.5306/16 = .1582: still 3, also by the cooldown.
    # .4165: 1.4165/12 = .1180; 1.7705/14 = .12647; 2.0714/16 = .12946: 3.
    # .29155: 1.29155/12 = .10763; 1.5394/14 = .10996; 1.7500/16 = .10938: 2.
    assert player.play(0, 0, 0) == [3, 3, 2]
    # .2041: 1.2041/12 = .10034; 1.3776/14 = .0984: 1, but the cooldown keeps 2 for this round.
    assert player.play(0) == [2]
    # .1429: 1.1429/12 = .0952 < .1: below plain decoding, so off; and there it stays.
    assert player.play(3, 3, 3, 3) == [0, 0, 0, 0]


def test_adaptive_k_probe():
    player = Player("adaptive_k", probe=2, cooldown=0)
    player.m[3:] = 0.1
    # Off for two rounds; then a try that is accepted: .1 + .3 x .9 = .37: 1.37/12 = .1142 pays.
    assert player.play(0, 0, 1, 0) == [0, 0, 1, 1]
    assert player.m[3] == pytest.approx(0.37 * 0.7)


def test_threshold():
    player = Player("threshold", theta=0.5)
    assert player.depth([0.9, 0.4, 0.9]) == 2  # the draft below is verified too
    assert player.depth([0.5, 0.5, 0.5]) == 3  # at the threshold is not below it
    assert player.depth([0.1, 0.9, 0.9]) == 1


def test_threshold_discards_too_few_drafts():
    player = Player("threshold", theta=0.5, drop=True, n_min=2)
    assert player.depth([0.9, 0.8, 0.1]) == 2
    assert player.m[0] == 1
    assert player.depth([0.9, 0.1, 0.8]) == 0
    assert player.m[0] == 2  # both were drafted
    assert Player("threshold", theta=0.5, n_min=2).depth([0.9, 0.1, 0.8]) == 2  # without drop


def test_threshold_with_drop():
    player = Player("threshold", theta=0.5, drop=True)
    assert (player.depth([0.9, 0.4, 0.9]), player.m[0]) == (1, 1)
    assert (player.depth([0.4, 0.9, 0.9]), player.m[0]) == (0, 1)
    assert (player.depth([0.9, 0.9, 0.9]), player.m[0]) == (3, 0)


def test_specdecpp():
    where = environment(np.arange(10.0, 15.0))
    player = Player("specdecpp", where)
    # When 2 are drafted 1 - .5 = .5 is known, when 3 are 1 - .25 = .75 > .7: three drafts.
    assert player.depth([0.5, 0.5, 0.5, 0.5]) == 3
    assert player.depth([0.1, 0.9, 0.9, 0.9]) == 2  # never fewer than 2
    assert player.depth([0.99] * 4) == 4  # the model's depth, below 20


def test_controller():
    # 3 of 3 accepted: share .5, below the target, so up: .6 + .1 x .01. Then 1 of 2 (the second is
    # not confident): .5 x .5 + .5 x .5 = .5, up again.
    player = Player("controller")
    assert player.play(3, hints=[0.9] * 3) == [3]
    assert player.m.tolist() == pytest.approx([0.601, 0.5])
    assert player.play(1, hints=[0.9, 0.2, 0.9]) == [2]
    assert player.m.tolist() == pytest.approx([0.602, 0.5])
    # Above a target of .4: kept where no more could be drafted, else down.
    player = Player("controller", target=0.4)
    player.play(3, hints=[0.9] * 3)
    assert player.m[0] == 0.6
    player.play(1, hints=[0.9, 0.2, 0.9])
    assert player.m[0] == pytest.approx(0.599)


def test_bandit_ucb():
    # Rewards (accepted + 1) / time x 10 of arms 3, 2, 1: 2 x 10/16, 1 x 10/14, 2 x 10/12.
    player = Player("bandit", width=0.0)
    assert player.play(1, 0, 1, 1) == [3, 2, 1, 1]
    # The fifth round: arm 1 has 1.667 over two pulls, arm 3 has 1.25.
    assert player.depth() == 1
    player = Player("bandit", width=1.0)
    player.play(1, 0, 1, 1)
    # sqrt(2 ln 4) = 1.6651: arm 1: 1.667 + 1.6651/sqrt(2) = 2.844; arm 2: .714 + 1.665 = 2.379;
    # arm 3: 1.25 + 1.665 = 2.915.
    assert player.depth() == 3


def test_bandit_thompson():
    player = Player("bandit", method="thompson", width=1.0)
    player.play(1, 0, 1, hints=[0.0, 0.0, 0.0])
    # Means 1.667, .714, 1.25; one pull each.
    assert player.depth([0.0, 0.0, 0.0]) == 1
    assert player.depth([0.0, 1.0, 0.0]) == 2
    assert player.depth([-1.0, 0.0, 0.0]) == 3


def test_bandit_rewards():
    player = Player("bandit", least=0)
    player.play(2, 2, 0, 0, time=5.0)
    # 3/5 x 10, 3/5 x 10, 1/5 x 10, 1/5 x 10 of arms 3, 2, 1, 0; arm 0 first here.
    assert player.m[1:5].tolist() == pytest.approx([2.0, 2.0, 6.0, 6.0])


def test_bandit_beyond_its_table():
    player = Player("bandit")
    assert player.play(*[3] * 1500)[-1] == 3
    assert player.m[0] == 1500
    assert player.m[-1] == pytest.approx(player.m[-5] ** -0.5)


def test_gate_switches_off_permanently():
    # Requests of 2 rounds, windows of 2 requests, limit 1. Means: .5; then (.5 + 1.5) / 2 = 1, not
    # below 1; then (1.5 + 0) / 2 = .75: shut.
    player = Player("gate", window=2, request_rounds=2, limit=1.0)
    assert player.play(0, 1, 1, 2, 0, 0, 3, 3, 3) == [3] * 6 + [0] * 3


def test_gate_requires_a_full_window():
    assert Player("gate", depth=1, window=3, request_rounds=1).play(0, 0, 0, 0) == [1, 1, 1, 0]


def test_full_feedback():
    # Depth 1 is run, but the outcomes of three drafts are known: all positions are counted.
    player = Player("goodput", warm_up=1)
    player.rule.learn(player.p, player.m, RoundOutcome(1, 1, 3, 2, 12.0))
    assert player.m[2:].tolist() == [1, 1, 0, 1, 1, 1]


def test_window_lead_holds_the_depth_that_is_faster():
    """Depth 1 takes 12 ms, depth 3 takes 16 ms: all accepted, 4 / 16 beats 2 / 12."""
    player = Player("window_lead", depth=1, warm_up=2, window=4)
    assert player.play(*[3] * 14) == [1] * 6 + [3] * 8  # warm-up and window, challenge, held
    # Text without accepted drafts: 1 / 12 of the next challenge beats the rate of the last window,
    # 1 / 16. It comes after 4 windows of the held depth, and is held from the next one on.
    assert player.play(*[0] * 16)[-6:] == [3] * 2 + [1] * 4


def test_window_lead_needs_two_depths():
    rule = WindowLead(depth=3, challenger=3)
    assert rule.mismatch(8, None).startswith("challenger is 3, as `depth`")
    assert WindowLead(depth=3).mismatch(3, None) is None  # the default follows the model


def test_window_lead_abandons_a_challenger_that_trails_and_waits_longer():
    """At depth 3 nothing more is accepted, and a round takes 16 instead of 12 ms: 25 % slower."""
    player = Player("window_lead", depth=1, warm_up=0, window=4, abort_after=2, deficit=0.2)
    depths = player.play(*[1] * 4, *[1] * 2, *[1] * 64, *[1] * 2)
    assert depths == [1] * 4 + [3] * 2 + [1] * 64 + [3] * 2  # 4 x 4 windows of 4 rounds between
    closer = Player("window_lead", depth=1, warm_up=0, window=4, abort_after=2, deficit=0.3)
    assert closer.play(*[1] * 10) == [1] * 4 + [3] * 4 + [1] * 2  # a full window


def test_tiers_move_after_some_rounds_in_a_row_and_rest():
    where = environment(np.arange(10.0, 19.0))  # tiers 3, 5, 8
    player = Player("tiers", where, keep=0.0, patience=2, cooldown=3)
    # 1 of 8, then 1 of 5 is below 0.4; two rounds call for a move, three rest, then two again.
    assert player.play(*[1] * 8) == [8, 8, 5, 5, 5, 5, 5, 3]
    # Its first round at 3 was one of the three; all of 3 calls for a move up.
    assert player.play(3, 3, 3, 3, 3, 3) == [3, 3, 3, 3, 5, 5]
    assert Player("tiers", environment(np.arange(10.0, 19.0), batch=4)).play(*[0] * 40) == [8] * 40


def test_tiers_stay_between_the_thresholds():
    where = environment(np.arange(10.0, 19.0))
    player = Player("tiers", where, keep=0.0, patience=1, cooldown=0)
    assert player.play(5, 5, 4, 3, 5, 8) == [8, 8, 8, 8, 5, 8]  # 3 of 8 is below 0.4, 5 of 5 above
