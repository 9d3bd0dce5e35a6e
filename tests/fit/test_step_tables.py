"""Step times that no law describes: a table of them, validated at steps that are left out."""

from pathlib import Path

import numpy as np
import pytest

import mtpsim
from mtpsim.cli.fit_steps import summary_lines, usable
from mtpsim.common.errors import InputError
from mtpsim.fit.step_tables import graph_limit
from mtpsim.fit.step_times import fit_cost_models, is_step_table, predict, read_step_times
from tests.support.examples import independent, latency, simulation
from verification.published_values import VLLM_VERIFY

LIKE = independent(0.8, 0.7) + latency(76, 90, 8) + simulation(requests=100)
BY_TOKENS = "tokens,ms\n" + "".join(f"{count},{ms}\n" for count, ms in VLLM_VERIFY.items())


def read(tmp_path, text):
    path = tmp_path / "steps.csv"
    path.write_text(text)
    assert is_step_table(path)
    return read_step_times(path)


def graphs_only():
    return BY_TOKENS.partition("1537,")[0]


def test_laws_that_err_more_than_they_decide_are_refused(tmp_path):
    steps = read(tmp_path, graphs_only())
    table, *laws = fit_cost_models(steps, 256, 8)
    assert table.section["model"] == "steps"
    assert table.left_out_error < 0.07
    assert all(law.refused and law.left_out_error > 0.09 for law in laws)
    line = next(law for law in laws if law.name == "linear")
    assert line.errors == pytest.approx((-0.24, 0.18), abs=0.01)
    assert "linear: leave-one-out error 15 %" in summary_lines([table, *laws])
    assert "refused, off by -24 to +18 %" in summary_lines([table, *laws])
    assert predict(table.section, steps) == pytest.approx(steps.verify)


def test_the_end_of_the_graphs_is_found(tmp_path):
    table = fit_cost_models(read(tmp_path, BY_TOKENS))[0]
    assert table.section["verify"]["limit"] == 1024
    assert table.left_out_error < 0.07  # nothing is interpolated across it
    tokens = np.array([1.0, 2, 4, 8])
    assert graph_limit(tokens, np.array([[5.0, 5, 5, 9]])) is None
    assert graph_limit(tokens, np.array([[5.0, 5, 5, 16]])) == 4
    assert graph_limit(tokens, np.array([[5.0, 5, 5, 16], [5, 5, 5, 9]])) is None


def test_a_law_that_describes_the_steps_is_kept(tmp_path):
    rng = np.random.default_rng(3)
    counts = np.arange(8, 400, 16)
    times = (6 + 0.02 * counts) * (1 + 0.04 * rng.standard_normal(counts.size))
    rows = "".join(f"{count},{time:.4f}\n" for count, time in zip(counts, times, strict=True))
    best, *others = fit_cost_models(read(tmp_path, "tokens,ms\n" + rows))
    assert best.section["model"] == "linear"
    assert best.worst_error > 0.03  # as noisy as that: the table is no better
    assert not best.refused
    assert others[-1].section["model"] == "steps"
    assert others[-1].left_out_error > best.left_out_error


def grid(time):
    rows = [(r, t, time(r, t)) for r in (1, 8, 32) for t in (32, 64, 128, 256)]
    return "requests;num_tokens;verify_ms\n" + "".join(f"{r};{t};{ms:.4f}\n" for r, t, ms in rows)


def test_tokens_and_requests_make_rows(tmp_path):
    steps = read(tmp_path, grid(lambda r, t: 5 + 0.05 * t**0.7 + (r > 1) * 3))
    table = fit_cost_models(steps)[0]
    assert table.section["verify"]["requests"] == [1, 8, 32]
    assert np.shape(table.section["verify"]["ms"]) == (3, 4)
    assert predict(table.section, steps) == pytest.approx(steps.verify)
    assert steps.depth.tolist()[:5] == [31, 63, 127, 255, 3]
    laws = fit_cost_models(read(tmp_path, grid(lambda r, t: 5 + 0.05 * t)))
    assert laws[0].section["model"] == "linear"


def test_batches_and_depths_make_a_table(tmp_path):
    rows = [(b, k, 5 + b**0.5 * (1 + k) + 4 * (b == 4)) for b in (1, 2, 4, 8) for k in range(3)]
    text = "batch,depth,verify\n" + "".join(f"{b},{k},{ms}\n" for b, k, ms in rows)
    fits = fit_cost_models(read(tmp_path, text))
    table = next(fit for fit in fits if fit.is_table)
    assert table.section["batches"] == [1, 2, 4, 8]
    assert np.shape(table.section["verify"]) == (4, 3)
    incomplete = text.replace("8,2,", "8,3,")
    assert not any(fit.is_table for fit in fit_cost_models(read(tmp_path, incomplete)))


@pytest.mark.parametrize(
    ("like", "depth", "first"),
    [
        ({}, 3, "steps"),
        ({"latency": {"batch": 128}}, 7, "steps"),
        ({"latency": {"batch": 128}}, 8, "moe"),  # more tokens than were measured
        ({"sweep": {"latency.batch": [1, 512]}}, 1, "steps"),
        ({"sweep": {"latency.batch": [1, 513]}}, 1, "moe"),
        ({"robust": {"latency.batch": [1, 513]}}, 1, "moe"),
        ({"sweep": {"latency.cached": [0, 1000]}}, 1, "moe"),
    ],
)
def test_a_table_serves_only_what_was_measured(tmp_path, like, depth, first):
    fits = fit_cost_models(read(tmp_path, graphs_only()), 256, 8)
    assert usable(fits, like, depth)[0].section["model"] == first


def test_a_fitted_table_runs(tmp_path, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    Path("steps.csv").write_text(BY_TOKENS)
    Path("like.toml").write_text(LIKE)
    done = cli("fit", "steps.csv", "--like", "like.toml", "-o", "fitted.toml")
    assert done.code == 0
    assert "▸ steps: the measured times as they are" in done.err
    experiment = mtpsim.load("fitted.toml")
    assert experiment.latency.verify.limit == 1024
    assert experiment.latency.times(2)[0][0] == 5.11
    assert Path("fitted.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tokens,requests,ms\n4,8,5\n", "2: 4 tokens of 8 requests; each has at least 1 token"),
        ("tokens,requests,ms\n4,0,5\n", "2: batch 0 is given"),
        ("tokens,verify,drft\n1,5,1\n", "did you mean 'draft'"),
        ("tokens,verify\n1,5\n", "1 step is given; at least 4"),
    ],
)
def test_malformed_tables_by_tokens(tmp_path, text, message):
    (tmp_path / "steps.csv").write_text(text)
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        read_step_times(tmp_path / "steps.csv")
