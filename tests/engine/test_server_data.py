"""Columns and histograms of a server's replications, and their storage."""

import numpy as np

from mtpsim.engine.scheduler import BlockRange
from mtpsim.engine.server_data import ServerLayout
from mtpsim.kernels.server_layout import BINS, COLUMNS, METRICS, SHARES, bin_edges
from mtpsim.runs.directory import Tallies
from mtpsim.stats.estimators import Tally


def test_quantile_columns_are_those_that_their_names_say():
    layout, row = ServerLayout(arms=3), np.array([name for _ in range(3) for name in COLUMNS])
    for metric in METRICS:
        for share in SHARES:
            assert set(row[layout.quantile(metric, share)]) == {f"{metric}_p{100 * share:.0f}"}
    assert row[layout.arm(2)].tolist() == list(COLUMNS)


def test_bins_rise_by_less_than_one_percent():
    edges = bin_edges()
    widths = np.diff(edges) / edges[:-1]
    assert widths.size == BINS
    assert (widths > 0).all()
    assert (widths < 0.01).all()


def test_histograms_are_added_and_stored(tmp_path):
    rng = np.random.default_rng(1)
    parts = [
        Tally(2, np.ones(1), np.eye(1), rng.integers(0, 2**40, (2, 4, BINS))) for _ in range(2)
    ]
    both = parts[0] + parts[1]
    assert (both.histograms == parts[0].histograms + parts[1].histograms).all()
    Tallies(tmp_path / "tallies.jsonl").keep("point", 1, BlockRange(0, 1, both))
    again = Tallies(tmp_path / "tallies.jsonl")
    assert (again.block_ranges("point", 1)[0].tally.histograms == both.histograms).all()


def test_a_damaged_histogram_is_ignored(tmp_path):
    tally = Tally(2, np.ones(1), np.eye(1), np.ones((2, 3), np.int64))
    path = tmp_path / "tallies.jsonl"
    Tallies(path).keep("point", 1, BlockRange(0, 1, tally))
    path.write_text(path.read_text().replace('"histograms": [[2', '"histograms": [[3'))
    assert Tallies(path).torn == 1
