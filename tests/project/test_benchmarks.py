"""Programs of the benchmark simulate the same models; no time is asserted."""

import re
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from pydantic import TypeAdapter

import mtpsim
from mtpsim.latency import AnyLatency
from mtpsim.policy import RULES

sys.path.insert(0, str(Path("benchmarks").resolve()))
import models
import peers
import policies
import scaling
import serving
import serving_loops
import startup
import step_costs
import sweeps
import tables

EACH_MODEL = pytest.mark.parametrize("name", models.MODELS)


@EACH_MODEL
@pytest.mark.parametrize(
    ("program", "given", "most"),
    [
        (peers.with_numpy, ("plain",), 0.01),
        (peers.with_numpy, ("tuned",), 0.01),
        (peers.with_numba, (), 0.01),
        (peers.with_python, (), 0.02),
    ],
)
def test_baselines_agree_with_exact(name, program, given, most):
    requests = 300 if program is peers.with_python else 4000
    assert program(*given, name, requests).found.error < most  # stops if it differs from exact


@EACH_MODEL
@pytest.mark.skipif(not peers.HAVE_JAX, reason="JAX is not installed")
def test_jax_agrees_with_exact(name):
    assert peers.with_jax(name, 2000).found.error < 0.01


@EACH_MODEL
def test_cpp_agrees_with_exact(name, tmp_path):
    program = peers.compiled_cpp(tmp_path)
    if program is None:
        pytest.skip("no g++")
    assert peers.Cpp(name, 2000, program).found.error < 0.01


@EACH_MODEL
@pytest.mark.parametrize("shallow", [0, models.DEPTH])
def test_measured_kernel_agrees_with_exact(name, shallow):
    assert peers.Own("mtpsim", name, 512, shallow)() > 0


def test_program_of_another_model_is_refused():
    """Negative control."""
    right = peers.with_numba("round", 500)
    with pytest.raises(SystemExit, match="independent drafts: speedup"):
        peers.Program("numba loop", "independent", 500, right._play)


def test_noise_has_mean_one():
    found = [peers.with_numba(name, 500)._play()[1].mean() for name in models.MODELS]
    assert found == pytest.approx(np.full(3, models.ROUNDS), rel=0.003)


def test_standard_error_of_an_estimate():
    function, arguments = numba.njit(peers.loops.independent), (models.LEAVE, models.RATES, 0.1)
    totals = (function(seed, 100, models.ROUNDS, *arguments) for seed in range(300))
    found = [models.estimate(*each) for each in totals]
    spread = np.std([each.speedup for each in found])
    assert spread == pytest.approx(np.mean([each.error for each in found]), rel=0.2)


@EACH_MODEL
def test_peers_have_the_variance_of_one_depth(name):
    alone = peers.Own("mtpsim", name, 3000, models.DEPTH).found.variance
    assert peers.with_numba(name, 3000).found.variance == pytest.approx(alone, rel=0.2)


def test_controls_leave_less_variance_and_none_where_depths_share_their_noise():
    alone = peers.Own("mtpsim", "token", 3000, models.DEPTH).found.variance
    assert 0.001 < models.controlled_variance("token", 3000) / alone < 0.9
    assert models.controlled_variance("round", 3000) < peers.EXACT * alone


def test_peers_at_every_depth_agree_with_exact(tmp_path):
    program = peers.compiled_cpp(tmp_path)
    for depth in (1, 2):
        for _, player in peers.peers("token", 2000, program, False, depth):
            assert player.found.error < 0.01


def test_sizes_of_scaled_chains():
    for clock in scaling.CLOCKS:
        for states in scaling.AXES["states"][1]:
            assert scaling.chain(clock, states).accept.shape == (states, models.DEPTH)
        for depth in scaling.AXES["depth"][1]:
            assert scaling.chain(clock, depth=depth).depth == depth


def test_policies_are_measured_without_the_oracle():
    assert policies.with_policy({"rule": "fixed", "depth": 3}, 64, 2)() > 0
    assert {policy["rule"] for policy in policies.POLICIES} < set(RULES)


def test_looked_up_steps_take_the_time_of_the_law():
    law = TypeAdapter(AnyLatency).validate_python({"draft": 2, **step_costs.LAWS["linear"]})
    counts = np.array([0, 3]), np.array([8, 32]), np.array([8, 8]), np.array([0.0, 1000.0])
    found = step_costs.look_up(law.step_costs(7, 64, 8), *counts)
    assert found == pytest.approx((6 + 0.16) + (6 + 0.64 + 0.04) + 2)


@pytest.mark.parametrize("program", ["with_heap", "with_simpy"])
def test_servers_in_python_agree_with_the_kernel(program, monkeypatch):
    monkeypatch.setattr(serving, "REQUESTS", 600)
    if program == "with_simpy":
        pytest.importorskip("simpy")
    reference, function = serving.own(24), getattr(serving_loops, program)
    serving.check(program, serving.baseline(function, 12), reference)
    slower = serving.LOAD._replace(per_draft=1.5)  # negative control
    wrong = serving.baseline(lambda _, *rest: function(slower, *rest), 12)
    with pytest.raises(SystemExit, match=f"{program}: t"):
        serving.check(program, wrong, reference)


def test_sweeps_have_the_stated_number_of_points():
    points = mtpsim.parse(sweeps.experiment(targets=3, rates=2)).points()
    assert len(points) == 6
    assert len({repr(point.experiment) + repr(point.set) for point in points}) == 6


def test_best_is_the_minimum():
    turns = iter([3.0, 1.0, 2.0])
    assert tables.best({"one": lambda: next(turns)}, 3) == {"one": 1.0}


def test_commands_are_timed_with_cached_bytecode(monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert startup.seconds("-c", "import sys; sys.exit(sys.dont_write_bytecode)") > 0
    assert startup.seconds("-c", "import os; os.environ['ANY']", ANY="thing") > 0


def test_page_shows_the_recorded_tables():
    measured = Path("benchmarks/results.md").read_text().splitlines()
    shown = Path("docs/performance.md").read_text().splitlines()
    rows = [line for line in shown if line.startswith("|")]
    assert len(rows) > 30
    assert not [row for row in rows if row not in measured]
    ratio = r"([\d.]+)x"
    readme = re.findall(
        rf"^\| (.+) \| {ratio} \| {ratio} \| {ratio} \|$", Path("README.md").read_text(), re.M
    )
    assert len(readme) == 5
    for name, *ratios in readme:
        found = [line.split(" | ") for line in measured if line.startswith(f"| {name} | ")]
        assert ratios == [cells[3] for cells in found]  # of all depths


def test_help():
    command = [sys.executable, "benchmarks/run.py", "--help"]
    assert b"writes nothing" in subprocess.check_output(command)
