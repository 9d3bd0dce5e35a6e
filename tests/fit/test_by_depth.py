"""Logs of several depths: measured by depth, and one chain for all of them."""

import json

import numpy as np
import pytest

import mtpsim
from mtpsim.cli.main import main
from mtpsim.fit.by_depth import chain_lengths
from mtpsim.fit.model import fit_log
from mtpsim.logs import read_logs
from tests.support.engine_logs import windows
from tests.support.fitting import chain_of, json_lines, simulated

TRUTH = {
    "model": "difficulty",
    "clock": "token",
    "rates": [0.75, 0.7, 0.7, 0.65, 0.65],
    "sd": 1.2,
    "length": 3.0,
    "states": 9,
}
DEPTHS = (1, 2, 3, 5)


@pytest.fixture(scope="module")
def window_log(tmp_path_factory):
    """30 windows of 20 requests at each depth, of a chain whose p1 falls with the depth."""
    path = tmp_path_factory.mktemp("log") / "server.log"
    rows = []
    for depth in DEPTHS:
        rounds = simulated(TRUTH, 600, 50, depth, seed=depth)
        each = rounds.accepted.reshape(30, -1)
        rows += [(len(w), [int((w >= j).sum()) for j in range(1, depth + 1)]) for w in each]
    path.write_text(windows(*rows))
    return path


def test_windows_at_several_depths_tell_the_token_clock(window_log):
    log = read_logs([window_log])
    truth = chain_lengths(chain_of(TRUTH), 10_000)
    found = fit_log(log)
    assert found.chosen.candidate.name == "difficulty-token"
    for entry, length in zip(found.by_depth, truth, strict=True):
        assert entry.predicted.low - 0.01 < length < entry.predicted.high + 0.01
        assert entry.predicted.high - entry.predicted.low < 0.05 * length
        assert entry.agrees
        if entry.depth == 4:
            assert (entry.rounds, entry.measured) == (0, None)
        else:
            assert entry.measured.low - 0.01 < length < entry.measured.high + 0.01
    wrong = fit_log(log, only=["independent"]).by_depth  # negative control: p1 is the same
    assert not wrong[0].agrees
    assert abs(wrong[0].predicted.mean - truth[0]) > 3 * abs(
        found.by_depth[0].predicted.mean - truth[0]
    )


def test_requests_at_several_depths_are_fitted_together(tmp_path):
    path = tmp_path / "log"
    rounds = (simulated(TRUTH, 60, 60, depth, seed=depth) for depth in (1, 4))
    path.write_text("".join(map(json_lines, rounds)))
    found = fit_log(read_logs([path]), only=["independent", "difficulty-token"])
    assert found.chosen.candidate.name == "difficulty-token"
    assert [entry.rounds for entry in found.by_depth] == [3600, 0, 0, 3600]
    assert all(entry.agrees for entry in found.by_depth)


def bench(rounds, hits, ms):
    """A result of vllm bench: rounds, accepted drafts by position, ms per round."""
    return json.dumps(
        {
            "spec_decode_num_drafts": rounds,
            "spec_decode_draft_tokens": rounds * len(hits),
            "spec_decode_accepted_tokens": sum(hits),
            "spec_decode_acceptance_length": 1 + sum(hits) / rounds,
            "spec_decode_per_position_acceptance_rates": [n / rounds for n in hits],
            "mean_tpot_ms": ms / (1 + sum(hits) / rounds),
        }
    )


@pytest.fixture
def benches(tmp_path):
    paths = [tmp_path / f"k{depth}.json" for depth in (1, 2, 4)]
    results = [
        (4000, [3000], 30.0),
        (3000, [2200, 1400], 32.0),
        (2000, [1480, 960, 640, 400], 35.0),
    ]
    for path, result in zip(paths, results, strict=True):
        path.write_text(bench(*result))
    return paths


def test_bench_files_of_several_depths(benches, tmp_path, capsys):
    out = tmp_path / "fitted.toml"
    assert main(["fit", *map(str, benches), "-o", str(out), "--target", "24"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Accept length by depth, and time per round" in shown
    entries = {
        entry["depth"]: entry
        for entry in json.loads((tmp_path / "fitted.json").read_text())["by_depth"]
    }
    measured = {k: entries[k]["measured"]["mean"] for k in (1, 2, 4)}
    assert measured == pytest.approx({1: 1.75, 2: 2.2, 4: 2.74})  # 1 + 3480 / 2000 at depth 4
    assert {k: entries[k]["round_ms"]["mean"] for k in (1, 2, 4)} == pytest.approx(
        {1: 30, 2: 32, 4: 35}
    )
    assert (entries[3]["measured"], entries[3]["round_ms"]) == (None, None)
    assert 2.2 < entries[3]["predicted"]["low"] < entries[3]["predicted"]["high"] < 2.74
    latency = mtpsim.load(out).latency
    assert sum(latency.times(4)).tolist() == [24, 30, 32, 33.5, 35]  # depth 3 in between


def test_times_at_several_depths_without_a_plain_step(benches, tmp_path, capsys):
    assert main(["fit", *map(str, benches), "--quiet"]) == 0
    text = capsys.readouterr().out
    assert "30 ms, that of rounds at depth 1, is used, so each speedup is an upper bound" in text
    assert sum(mtpsim.parse(text).latency.times(4)).tolist() == [30, 30, 32, 33.5, 35]


def test_accept_lengths_at_several_depths(tmp_path):
    """Totals alone: lengths 1.8, 2.35 and 2.9 at depths 1, 2 and 4, so 0.8, 0.6875, and r twice.

    0.55 (r + r^2) = 0.55 gives r = 0.618; depth 3 has 2.35 + 0.55 * 0.618 = 2.69.
    """
    totals = ((1, 1000, 800), (2, 1000, 1350), (4, 1000, 1900))
    lines = (
        "Speculative metrics: Draft acceptance rate: 0.5, System efficiency: 0.5, Number of "
        f"speculative tokens: {k}, Number of accepted tokens: {a}, Number of draft tokens: "
        f"{n * k}, Number of emitted tokens: {n + a}."
        for k, n, a in totals
    )
    paths = []
    for number, line in enumerate(lines):
        paths.append(tmp_path / f"{number}.log")
        paths[-1].write_text(line)
    found = fit_log(read_logs(paths))
    assert found.rates.values == pytest.approx([0.8, 0.6875, 0.618034, 0.618034], abs=1e-5)
    assert [entry.predicted.mean for entry in found.by_depth] == pytest.approx(
        [1.8, 2.35, 2.69, 2.9], abs=1e-3
    )
    between = found.by_depth[2]
    assert between.measured is None
    assert 0.03 < between.predicted.high - between.predicted.low < 0.3
    assert np.all(found.rates.trials == pytest.approx([3000, 1600, 550, 340], abs=1))


def test_round_times_of_each_depth_have_an_interval(tmp_path):
    """Three requests of 10 rounds at each depth: 0.3, 0.31 and 0.32 s, so 31 ms +- 4.3 * 0.577."""
    path = tmp_path / "log"
    path.write_text(
        "".join(
            json.dumps({"accepted": [1] * 10, "drafted": [depth] * 10, "seconds": seconds}) + "\n"
            for depth, base in ((1, 0.3), (2, 0.4))
            for seconds in (base, base + 0.01, base + 0.02)
        )
    )
    found = fit_log(read_logs([path]), only=["independent"]).by_depth
    assert [entry.round_ms.mean for entry in found] == pytest.approx([31, 41])
    half = 4.3027 / 3**0.5
    assert found[0].round_ms.low == pytest.approx(31 - half, abs=1e-3)
    assert found[0].round_ms.high == pytest.approx(31 + half, abs=1e-3)
