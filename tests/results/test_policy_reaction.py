"""Curves around a change of the text, on logs that were made by hand."""

import numpy as np
import pytest

from mtpsim.results.policy_reaction import learning

EASE = np.array([2.5, 0.5])


def log_of(depth, state):
    depth, state = np.array(depth), np.array(state)
    return np.stack([depth, depth, state], axis=-1).astype(np.int16)


def late_by(delay, requests=40, rounds=200, stretch=50):
    """A policy that follows the state after so many rounds: depth 3 in easy text, 1 in hard."""
    state = (np.arange(rounds) // stretch) % 2
    depth = np.where(np.concatenate([np.zeros(delay, int), state])[:rounds] == 0, 3, 1)
    return log_of([depth] * requests, [state] * requests)


@pytest.mark.parametrize("delay", [0, 1, 7, 20])
def test_half_of_the_way_is_done_after_the_delay(delay):
    easier, harder = learning(late_by(delay), EASE)
    assert (easier.half, harder.half) == (delay, delay)
    assert (easier.changes, harder.changes) == (40, 80)
    assert harder.depth[harder.rounds < delay].tolist() == [3.0] * (5 + delay)
    assert (harder.depth[harder.rounds >= delay] == 1).all()
    assert harder.rounds[-1] == 49  # no request is counted beyond its own stretch


def test_a_depth_that_does_not_move_has_no_half():
    state = (np.arange(100) // 25) % 2
    easier, harder = learning(log_of([np.full(100, 2)] * 40, [state] * 40), EASE)
    assert easier.half is None
    assert harder.half is None


def test_nothing_is_said_of_too_few_changes():
    assert learning(late_by(3, requests=10), EASE) == (None, None)


def test_rounds_after_the_end_of_a_request_count_for_nothing():
    log = late_by(2)
    log[:, 120:] = -1
    easier, harder = learning(log, EASE)
    assert (easier.changes, harder.changes) == (40, 40)
    assert easier.rounds[-1] == 19
