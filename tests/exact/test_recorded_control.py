"""Bounds on recorded text positions: against all sequences of depths, and played."""

from functools import cache
from itertools import product

import numpy as np
import pytest

from mtpsim.acceptance import Recording
from mtpsim.exact.recorded_control import RecordedControl

RECORDS = [[2, 0, 1, 3, 0], [0, 0, 3], [1, 2, 0, 3, 3, 0, 1]]
TIMES = np.array([10.0, 12.0, 15.0, 19.0])
COSTS = [{}, {"switch_cost": 2.0}, {"catch_up": 5.0}, {"switch_cost": 1.0, "catch_up": 3.0}]


def recording(records=RECORDS):
    offsets = np.concatenate([[0], np.cumsum([len(record) for record in records])])
    return Recording(np.concatenate(records).astype(np.int32), offsets, 3, "token")


def time_of(record, depths, length, *, switch_cost=0.0, catch_up=0.0, times=TIMES):
    """Time until the end of the text with these depths; None if they are not all used."""
    at, spent, before = 0, 0.0, -1
    for number, depth in enumerate(depths):
        if at >= length:
            return spent if number == len(depths) else None
        spent += times[depth] + switch_cost * (before not in (-1, depth))
        spent += catch_up * (before == 0 and depth > 0)
        at += 1 + min(record[at % len(record)], depth)
        before = depth
    return spent if at >= length else None


def fastest(record, length, **costs):
    """The least time over all sequences of depths, each tried."""
    found = (
        time_of(record, depths, length, **costs)
        for rounds in range(1, length + 1)
        for depths in product(range(4), repeat=rounds)
    )
    return min(time for time in found if time is not None)


@pytest.mark.parametrize("costs", COSTS, ids=str)
def test_the_oracle_takes_the_least_time_of_all_sequences_of_depths(costs):
    control = RecordedControl(recording=recording(), times=TIMES, **costs)
    least = [fastest(record, len(record), **costs) for record in RECORDS]
    lengths = sum(map(len, RECORDS))
    assert control.pace(control.oracle) == pytest.approx(lengths / sum(least), rel=1e-12)
    repeated = RecordedControl(recording=recording(), times=TIMES, tokens=6, **costs)
    least = [fastest(record, 6, **costs) for record in RECORDS]
    assert repeated.pace(repeated.oracle) == pytest.approx(18 / sum(least), rel=1e-12)
    assert control.pace(control.oracle) >= control.pace(control.cap, clairvoyant=True)


@pytest.mark.parametrize("paid", [0.0, 1.5])
@pytest.mark.parametrize("costs", COSTS, ids=str)
def test_the_clairvoyant_drafts_what_each_position_accepts_up_to_the_best_cap(costs, paid):
    times = TIMES + paid * (np.arange(4) == 0)
    control = RecordedControl(recording=recording(), times=times, **costs)
    paces = []
    for cap in range(4):
        spent = 0.0
        for record in RECORDS:
            at, depths = 0, []
            while at < len(record):
                depths.append(min(record[at], cap))
                at += 1 + depths[-1]
            spent += time_of(record, depths, len(record), times=times, **costs)
        paces.append(sum(map(len, RECORDS)) / spent)
    assert control.pace(control.cap, clairvoyant=True) == pytest.approx(max(paces), rel=1e-12)
    assert control.cap[0, 0] == np.argmax(paces)


def test_a_stale_draft_is_expected():
    """By hand: two positions, of which only the second accepts, after an idle first round."""
    times = np.array([4.0, 6.0])
    record = Recording(np.array([0, 1, 0], np.int32), np.array([0, 3]), 1, "token")
    control = RecordedControl(recording=record, times=times, stale=0.4)
    # Depth 0, then a draft: with 0.4 it is rejected, and the last token takes another round.
    idle_first = 4 + 6 + 0.4 * 4
    assert 3 / control.pace(control.oracle) == pytest.approx(min(idle_first, 6 + 6, 4 + 4 + 4))


def test_drafts_lost_after_depth_0_are_expected():
    """Against the recursion over all that can be lost, written out."""
    record, resumed, stale = [0, 3, 2, 0, 0, 3, 3, 1, 0, 2, 3], 0.35, 0.2
    source = recording([record])
    times = np.array([10.0, 19.0, 20.0, 21.0])
    control = RecordedControl(recording=source, times=times, stale=stale, resumed=resumed)

    @cache
    def least(at, before, off):
        if at >= len(record):
            return 0.0
        found = [10.0 + least(at + 1, 0, True)]
        for depth in (1, 2, 3):
            hits, spent, reached = min(record[at], depth), float(times[depth]), 1.0
            if off and before == 0:
                spent += stale * least(at + 1, depth, True)
                reached -= stale
            for kept in range(hits):
                lost = reached * resumed * off
                spent += lost * least(at + 1 + kept, depth, off)
                reached -= lost
            found.append(spent + reached * least(at + 1 + hits, depth, off))
        return min(found)

    assert len(record) / control.pace(control.oracle) == pytest.approx(least(0, -1, False))
    harmless = RecordedControl(recording=source, times=times, stale=stale)  # negative control
    assert harmless.pace(harmless.oracle) > control.pace(control.oracle) * (1 + 1e-6)


def test_too_long_requests_and_those_of_rounds_have_no_oracle(monkeypatch):
    with pytest.raises(ValueError, match="not `rounds`"):
        _ = RecordedControl(recording=recording(), times=TIMES, rounds=5).oracle
    monkeypatch.setattr("mtpsim.exact.recorded_control.LARGEST", 14)
    with pytest.raises(ValueError, match="15 positions are too many"):
        _ = RecordedControl(recording=recording(), times=TIMES).oracle
