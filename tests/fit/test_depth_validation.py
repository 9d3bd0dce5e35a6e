"""Requests of one depth predict those of another."""

import numpy as np
import pytest

from mtpsim.fit.by_depth import measured_at
from mtpsim.fit.depth_validation import HeldOutDepth, held_out_depths
from mtpsim.fit.rates import Interval
from mtpsim.logs import Rounds, read_logs
from tests.support.fitting import json_lines
from tests.support.token_worlds import WORLDS, log_at, text_of


def test_depths_are_predicted_by_the_others(tmp_path):
    """A log of depths 1 and 3 in turn; if the depths have other workloads it shows (control)."""
    text = text_of(WORLDS["lookup, short runs"], 300, np.random.default_rng(2))
    rounds, _ = log_at(text, np.where(np.arange(300) % 2, 1, 3))
    found = held_out_depths(rounds)
    assert [one.depth for one in found] == [1, 3]
    path = tmp_path / "log.jsonl"
    path.write_text(json_lines(rounds))
    log = read_logs([path])
    for one in found:
        assert one.measured == measured_at(log, one.depth, 0.95)  # as the table has it
        assert one.agrees
        assert abs(one.error) < 0.05
        assert f"depth {one.depth}, held out: predicted" in one.sentence()
    hard = text_of(WORLDS["lookup"], 40, np.random.default_rng(3))
    other, _ = log_at(hard, 3)
    deep = np.flatnonzero(rounds.drafted[rounds.offsets[:-1]] == 1)
    shallow = rounds.subset(deep[:60])
    mixed = Rounds(
        np.concatenate([shallow.accepted, other.accepted]),
        np.concatenate([shallow.drafted, other.drafted]),
        np.concatenate([shallow.offsets, shallow.offsets[-1] + other.offsets[1:]]),
    )
    assert not all(one.agrees for one in held_out_depths(mixed))


def test_few_requests_and_single_depths_hold_out_nothing():
    text = text_of(WORLDS["chain"], 30, np.random.default_rng(2))
    assert held_out_depths(log_at(text, 3)[0]) == []
    assert held_out_depths(log_at(text, np.where(np.arange(30) < 20, 1, 3))[0]) == []
    far = HeldOutDepth(2, Interval(2.0, 1.9, 2.1), Interval(2.3, 2.2, 2.4))
    assert far.error == pytest.approx(0.15)
    assert "they differ" in far.sentence()
