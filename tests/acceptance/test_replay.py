"""Recorded requests: kernel, plain replay and the file agree, at any depth."""

import json

import numpy as np
import pytest

import mtpsim
from mtpsim.acceptance.recording import play
from mtpsim.engine.simulate import compile_plan, simulate_requests
from mtpsim.exact.chain_solver import solve
from mtpsim.stats.estimators import measured
from tests.support.examples import acceptance, latency, noise
from tests.support.random_chains import LIMIT, latency_by_depth, z_scores
from tests.support.recordings import by_hand, recording

HORIZONS = [{}, {"rounds": 7}, {"tokens": 20}]


@pytest.mark.parametrize("clock", ["round", "token"])
@pytest.mark.parametrize("horizon", HORIZONS, ids=str)
def test_replay_and_solution_match_a_plain_loop(clock, horizon):
    recorded = recording(clock)
    for depth in range(recorded.depth + 1):
        parts = np.split(recorded.accepted, recorded.offsets[1:-1])
        found = [by_hand(part, clock, depth, **horizon) for part in parts]
        played = play(recorded, slice(None), depth, **horizon)
        for row, (_, counts) in zip(played, found, strict=True):
            assert row[row >= 0].tolist() == counts
        totals = np.array([total for total, _ in found], float).mean(0)
        exact = solve(recorded, depth, **horizon)
        reached = exact.rounds * np.cumsum(exact.accepted[::-1])[::-1][1:]
        assert [exact.tokens, exact.rounds, *reached] == pytest.approx(totals)


@pytest.mark.parametrize("clock", ["round", "token"])
@pytest.mark.parametrize("horizon", HORIZONS, ids=str)
def test_kernel_resamples_whole_requests_uniformly(clock, horizon):
    recorded = recording(clock)
    latency = latency_by_depth(recorded.depth)
    plan = compile_plan(recorded, latency, seed=2, **horizon)
    rows, layout = simulate_requests(plan, 0, 20_000), plan.layout
    for depth in range(recorded.depth + 1):
        every = layout.every or depth == recorded.depth
        columns = [rows[:, part][:, depth] for part in (layout.tokens, layout.rounds)]
        columns += list(rows[:, layout.accepted(depth)].T) if every else []
        kernel = np.stack(columns, axis=1)
        parts = np.split(recorded.accepted, recorded.offsets[1:-1])
        known = {tuple(by_hand(part, clock, depth, **horizon)[0]) for part in parts}
        known = {row[: kernel.shape[1]] for row in known}
        assert {tuple(row) for row in kernel.astype(int).tolist()} == known
        exact = solve(recorded, depth, **horizon)
        reached = exact.rounds * np.cumsum(exact.accepted[::-1])[::-1][1:]
        truth = np.array([exact.tokens, exact.rounds, *reached])[: kernel.shape[1]]
        assert np.abs(z_scores(kernel, truth)).max() < LIMIT
        seconds = rows[:, layout.time_ms][:, depth]
        assert seconds == pytest.approx(kernel[:, 1] * latency.round_time[depth])


def test_windows_of_a_recording():
    recorded = recording("token", requests=5)
    plan = compile_plan(recorded, latency_by_depth(4), seed=2)
    rows = simulate_requests(plan, 0, 4000)
    survival, _ = measured(rows.mean(0), plan.layout, "every-position")
    shares = [(recorded.accepted >= j).mean() for j in range(1, 5)]
    assert survival == pytest.approx(shares, abs=0.06)  # read on from the beginning at the end


@pytest.mark.parametrize("horizon", ["rounds = 8", "tokens = 16", "as_recorded = true"])
@pytest.mark.parametrize("by", ["round", "position"])
def test_run_of_a_trace_file(tmp_path, by, horizon):
    rng = np.random.default_rng(7)
    lines = [{"accepted": rng.integers(0, 4, rng.integers(4, 30)).tolist()} for _ in range(40)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    text = acceptance("trace", file="t.jsonl", by=by, depth=3) + latency(20, 22, 1) + noise(0.2)
    text += f"persistence = 0.4\n[simulation]\nrequests = 20000\n{horizon}\n"
    (point,) = mtpsim.run(mtpsim.parse(text, folder=tmp_path)).points
    for depth in point["depths"][1:]:
        for quantity in ("accept_length", "round_time", "speedup"):
            found = depth[quantity]
            half = (found["high"] - found["low"]) / 2 + 1e-12
            assert abs(found["mean"] - found["exact"]) < 2.2 * half  # over 4 standard errors
    assert point["diagnostics"]["autocorrelation"]["requests"] == 40
    # Rounds cut short have the closed form's accept length: that says nothing about an engine.
    verdicts = {depth["theory_error"]["verdict"] for depth in point["depths"][1:]}
    if "tokens" not in horizon:  # which cut the last round
        assert ("identity" in verdicts) == (verdicts == {"identity"}) == (by == "round")


def test_csv_and_json_lines_are_equivalent(tmp_path):
    (tmp_path / "t.csv").write_text("request,accepted,drafted\na,2,3\nb,1,3\na,0,3\n")
    requests = [{"accepted": [2, 0], "drafted": [3, 3]}, {"accepted": [1], "drafted": [3]}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, requests)))
    texts = [acceptance("trace", file=name) + latency(20, 22, 1) for name in ("t.csv", "t.jsonl")]
    chains = [mtpsim.parse(text, folder=tmp_path).acceptance.chain() for text in texts]
    assert chains[0].accepted.tolist() == chains[1].accepted.tolist() == [2, 0, 1]
    assert chains[0].offsets.tolist() == chains[1].offsets.tolist() == [0, 2, 3]
    assert chains[0].depth == chains[1].depth == 3
