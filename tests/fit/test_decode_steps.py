"""A cost model of the round times that decode logs state, by running requests and depth."""

from pathlib import Path

import numpy as np
import pytest

import mtpsim
from mtpsim.common.errors import InputError
from mtpsim.fit.step_times import fit_cost_models, steps_of_log
from mtpsim.logs import read_logs

LENGTH = {1: 1.75, 3: 2.5}


def line(running, depth, ms):
    length = LENGTH[depth]
    return (
        f"[2026-05-01 12:00:00 TP0] Decode batch, #running-req: {running}, #token: 12345, token "
        f"usage: 0.12, accept len: {length:.2f}, accept rate: {(length - 1) / depth:.2f}, cuda "
        f"graph: True, gen throughput (token/s): {1000 * running * length / ms:.4f}, "
        "#queue-req: 0\n"
    )


def decode_log(folder, depths=(1, 3), batches=(1, 4, 16, 64), noise=0.0):
    """Rounds of 8 + 0.03 B (k + 1) + 2 k ms; the first line of a server counts its start-up."""
    rng, files = np.random.default_rng(2), []
    for depth in depths:
        files.append(folder / f"depth{depth}.log")
        lines = [line(1, depth, 500.0)]
        for running in batches:
            truth = 8 + 0.03 * running * (depth + 1) + 2 * depth
            times = truth * (1 + noise * rng.standard_normal(20))
            lines += [line(running, depth, ms) for ms in times]
        files[-1].write_text("".join(lines))
    return files


def test_the_law_of_the_rounds_is_recovered(tmp_path):
    steps = steps_of_log(read_logs(decode_log(tmp_path)))
    assert sorted(set(steps.batch)) == [1, 4, 16, 64]
    (fit,) = fit_cost_models(steps)
    assert fit.section["base"] == pytest.approx(8, rel=1e-3)
    assert fit.section["per_token"] == pytest.approx(0.03, rel=1e-2)
    assert fit.section["draft"]["per_token"] == pytest.approx(2, rel=1e-3)
    assert fit.worst_error < 1e-3


def test_noise_shows_in_the_left_out_error(tmp_path):
    steps = steps_of_log(read_logs(decode_log(tmp_path, noise=0.1)))
    (fit,) = fit_cost_models(steps)
    assert fit.section["draft"]["per_token"] == pytest.approx(2, rel=0.2)
    assert 0.005 < fit.left_out_error < 0.1  # means of 20 lines, each off by 10 %


def test_a_fitted_log_runs_at_other_batches(tmp_path, cli):
    out = tmp_path / "fitted.toml"
    files = map(str, decode_log(tmp_path))
    done = cli("fit", *files, "--by-batch", "-o", str(out))
    assert done.code == 0, done.err
    assert "▸ linear: leave-one-out error" in done.err
    latency = mtpsim.load(out, ["latency.batch=32"]).latency
    assert sum(latency.times(3))[3] == pytest.approx(8 + 0.03 * 128 + 6, rel=1e-3)
    assert out.with_suffix(".steps.png").exists()


@pytest.mark.parametrize(
    ("depths", "batches", "message"),
    [
        ((3,), (1, 4, 16, 64), "every round of the log has depth 3, so the time of a draft"),
        ((1, 3), (4,), "2 pairs of running requests and depth; at least 4 are needed"),
    ],
)
def test_logs_that_decide_no_law_are_refused(tmp_path, depths, batches, message):
    with pytest.raises(InputError, match=message):
        steps_of_log(read_logs(decode_log(tmp_path, depths, batches)))


def test_logs_without_running_requests_are_refused():
    log = read_logs([Path("experiments/logs/samples/vllm-requests.jsonl")])
    with pytest.raises(InputError, match="no times with the number of running requests"):
        steps_of_log(log)


def test_by_batch_needs_logs_alone(tmp_path, cli):
    steps = tmp_path / "steps.csv"
    steps.write_text("batch,depth,verify\n" + "".join(f"{b},0,{b}\n" for b in range(1, 6)))
    done = cli("fit", str(steps), "--by-batch")
    assert done.code == 2
    assert "--by-batch: step times are given; it fits those of logs" in done.err
