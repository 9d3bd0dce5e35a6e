"""Reaction curves around changes of the hidden state, on hand-made logs."""

import numpy as np
import pytest

from mtpsim.report.document import Reaction
from mtpsim.results.policies import reaction

ACCEPTED = np.array([2.5, 0.5])


def log_of(depth, state):
    depth, state = np.array(depth), np.array(state)
    return np.stack([depth, depth, state], axis=-1).astype(np.int16)


def delayed_policy(delay, requests=40, rounds=200, period=50):
    """A policy that follows the state ``delay`` rounds late: depth 3 in easy text, 1 in hard."""
    state = (np.arange(rounds) // period) % 2
    depth = np.where(np.concatenate([np.zeros(delay, int), state])[:rounds] == 0, 3, 1)
    return log_of([depth] * requests, [state] * requests)


@pytest.mark.parametrize("delay", [0, 1, 7, 20])
def test_half_reaction_round_equals_the_delay(delay):
    found = reaction(delayed_policy(delay), ACCEPTED)
    easier, harder = found.easier, found.harder
    rounds, depth = np.array(harder.rounds), np.array(harder.depth)
    assert (easier.half, harder.half) == (delay, delay)
    assert (easier.changes, harder.changes) == (40, 80)
    assert depth[rounds < delay].tolist() == [3.0] * (5 + delay)
    assert (depth[rounds >= delay] == 1).all()
    assert rounds[-1] == 49  # a request counts only until its next change


def test_constant_depth_has_no_half_reaction_round():
    state = (np.arange(100) // 25) % 2
    found = reaction(log_of([np.full(100, 2)] * 40, [state] * 40), ACCEPTED)
    assert found.easier.half is None
    assert found.harder.half is None


def test_too_few_changes_give_no_curve():
    assert reaction(delayed_policy(3, requests=10), ACCEPTED) == Reaction()


def test_rounds_after_the_end_of_a_request_are_ignored():
    log = delayed_policy(2)
    log[:, 120:] = -1
    found = reaction(log, ACCEPTED)
    assert (found.easier.changes, found.harder.changes) == (40, 40)
    assert found.easier.rounds[-1] == 19
