"""Tests of a state that moves by round: false alarms, and engines whose state is of the text."""

import numpy as np
import pytest
from scipy.stats import binom

from mtpsim.fit.clock_test import FALSE_ALARM, clock_tests
from mtpsim.logs import Rounds
from tests.support.fitting import TRUTH, simulated
from tests.support.token_worlds import WORLDS, log_at, text_of

LOGS, REQUESTS, ROUNDS = 60, 60, 150


def log_of(section, seed):
    """Requests at depth 1 and 3 in turn that end at a number of tokens with a Pareto tail."""
    rng = np.random.default_rng([9, seed])
    limits = np.minimum(20 * (1 - rng.random(REQUESTS)) ** (-1 / 1.4), ROUNDS).astype(int)
    drafted = np.repeat(np.where(np.arange(REQUESTS) % 2, 1, 3), ROUNDS)
    rounds = simulated(section, REQUESTS, ROUNDS, drafted, seed=seed)
    at = rounds.offsets[:-1]
    ends = np.cumsum(rounds.accepted.reshape(REQUESTS, ROUNDS) + 1.0, axis=1)
    sizes = [int(np.searchsorted(row, limit)) + 1 for row, limit in zip(ends, limits, strict=True)]
    kept = np.concatenate([np.arange(a, a + n) for a, n in zip(at, sizes, strict=True)])
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return Rounds(rounds.accepted[kept], rounds.drafted[kept], offsets)


@pytest.mark.parametrize("name", ["beta", "regime2-round", "difficulty-round", "independent"])
def test_states_by_round_are_seldom_refuted(name):
    """At 5 %, of 60 logs; lengths in tokens tie rounds to difficulty."""
    p_values = np.array(
        [[t.p_value for t in clock_tests(log_of(TRUTH[name], s))] for s in range(LOGS)]
    )
    assert p_values.shape == (LOGS, 2)
    assert ((p_values < 0.05).sum(0) <= binom.ppf(0.9995, LOGS, 0.06)).all()
    assert (p_values < 0.5).mean() > 0.35


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "in full"])
@pytest.mark.parametrize("name", ["independent", "regime2-round"])
def test_requests_of_equal_length_raise_no_alarm(name, cut):
    """The round that ends 2,000 requests of 25 tokens accepts more than others, or is cut."""
    requests, most, tokens = 2000, 26, 25
    accepted = simulated(TRUTH[name], requests, most, 3, seed=3).accepted.reshape(requests, most)
    ends = np.cumsum(accepted + 1.0, axis=1)
    last = (ends < tokens).sum(1)
    if cut:
        row = np.arange(requests)
        accepted[row, last] -= (ends[row, last] - tokens).astype(accepted.dtype)
    kept = np.arange(most) <= last[:, None]
    rounds = Rounds(
        accepted[kept], np.full(kept.sum(), 3, np.uint8), np.concatenate([[0], np.cumsum(last + 1)])
    )
    (found,) = clock_tests(rounds)
    assert abs(found.statistic) < 3
    with_last = rounds.accepted[rounds.offsets[1:] - 1]  # control: these are unlike others
    assert abs(with_last.mean() - rounds.accepted.mean()) > 0.1


def test_states_of_the_text_are_refuted():
    """By the direction of time at one depth, and by first drafts at two."""
    text = text_of(WORLDS["lookup"], 300, np.random.default_rng(4))
    (one,) = clock_tests(log_at(text, 3)[0])
    assert one.rejected
    assert one.level == FALSE_ALARM
    assert one.statistic > 4
    assert "reversible in time, is refuted: of all pairs of rounds" in one.sentence()
    text = text_of(WORLDS["chain"], 300, np.random.default_rng(4))
    first, direction = clock_tests(log_at(text, np.where(np.arange(300) % 2, 1, 3))[0])
    assert first.rejected
    assert first.level == direction.level == FALSE_ALARM / 2
    rates = first.compared["at depth 1"], first.compared["at depth 3"]
    assert rates[0] > rates[1] + 0.02


def test_logs_that_tell_nothing_have_no_test():
    few = Rounds(np.uint8([1, 0] * 5), np.uint8([2] * 10), np.arange(6) * 2)
    assert clock_tests(few) == []
    mixed = Rounds(np.uint8([1, 0] * 20), np.uint8([1, 3] * 20), np.arange(21) * 2)
    assert clock_tests(mixed) == []
    same = Rounds(np.uint8([1] * 40), np.uint8([2] * 40), np.arange(21) * 2)
    (found,) = clock_tests(same)
    assert (found.statistic, found.p_value, found.rejected) == (0.0, 1.0, False)
