"""Stopping rules: the requested precision of a quantity, its schedule and its errors."""

import io
import json

import numpy as np
import pytest

import mtpsim
from mtpsim.cli.main import main
from mtpsim.engine.executors import Threads
from mtpsim.engine.scheduler import half_width
from mtpsim.engine.simulate import compile_point, tally_block
from mtpsim.stats import estimators
from mtpsim.stats.estimators import ClosedFormPredictor
from tests.support.examples import TWO_DEEP, noise, regime, section, simulation

pytestmark = pytest.mark.usefixtures("no_pictures")  # but where a test asks for them

TEXT = regime([0.9, 0.8], [0.5, 0.4], sojourn=[20, 20]) + TWO_DEEP + noise(0.1)
TEXT += section("theory", measured_at=1) + simulation(rounds=3000, max_requests=2000000)
DIFFERENCE = 'precision_of = "difference"\nbetween = [1, 2]'


def width(cell):
    return (cell["high"] - cell["low"]) / 2


def greatest(point, quantity, scale):
    cells = [depth[quantity] for depth in point["depths"] if depth[quantity]]
    return max(width(c) / (abs(c["mean"]) if scale == "relative" else 1) for c in cells)


@pytest.fixture(scope="module")
def soonest():
    """A run that stops where the rule is first asked."""
    return mtpsim.run(mtpsim.parse(TEXT + "precision = 0.5")).points[0]


@pytest.mark.parametrize(
    ("quantity", "scale"),
    [
        ("speedup", "relative"),
        ("accept_length", "absolute"),
        ("round_time", "relative"),
        ("marginal", "absolute"),
        ("theory_error", "absolute"),
    ],
)
def test_the_precision_applies_to_its_quantity(quantity, scale, soonest):
    target = 0.7 * greatest(soonest, quantity, scale)
    text = TEXT + f'precision = {target}\nprecision_of = "{quantity}"\nprecision_is = "{scale}"'
    point = mtpsim.run(mtpsim.parse(text)).points[0]
    assert point["precision_reached"]
    assert point["requests"] > soonest["requests"]
    reached = greatest(point, quantity, scale)
    assert target / 1.3 < reached <= target  # the rule is asked at each 1.2 times more requests


def test_a_difference_of_two_depths_is_absolute_and_paired():
    text = TEXT + "precision = 0.0003\n" + DIFFERENCE
    experiment = mtpsim.parse(text)
    assert experiment.simulation.scale == "absolute"
    point = mtpsim.run(experiment).points[0]
    assert point["precision_reached"]
    alone = max(width(d["speedup"]) for d in point["depths"])
    whole = mtpsim.run(mtpsim.parse(TEXT + f"precision = {alone / 2:.5f}")).points[0]
    assert whole["requests"] > point["requests"]  # the difference is surer than its parts


def test_a_sweep_simulates_few_blocks_beyond_those_that_stop_it(monkeypatch):
    """The first point simulates blocks in advance; the next one none beyond where that stopped."""
    submitted = []
    submit = Threads.submit

    def counting(pool, point, first, size):
        submitted.append((point.experiment.latency.target, first))
        return submit(pool, point, first, size)

    monkeypatch.setattr(Threads, "submit", counting)
    targets, precisions = [76.0, 77.0, 78.0, 79.0], [0.02, 0.02, 0.002, 0.02]
    text = TEXT + '[sweep]\nzip = ["latency.target", "simulation.precision"]\n'
    text += f'"latency.target" = {targets}\n"simulation.precision" = {precisions}'
    points = mtpsim.run(mtpsim.parse(text), executor="threads:2").points
    blocks = [[first for target, first in submitted if target == one] for one in targets]
    beyond = [
        sum(first >= point["requests"] for first in own)
        for own, point in zip(blocks, points, strict=True)
    ]
    assert beyond[0] > beyond[1] == 0
    assert points[2]["requests"] > points[1]["requests"] == points[3]["requests"]
    single = [f"simulation.precision={precisions[2]}", f"latency.target={targets[2]}"]
    alone = mtpsim.run(mtpsim.parse(TEXT, overrides=single)).points[0]
    assert alone["depths"][2]["speedup"] == points[2]["depths"][2]["speedup"]


def test_another_stopping_rule_reuses_the_blocks(tmp_path, capsys):
    file, out = tmp_path / "e.toml", tmp_path / "out"
    file.write_text(TEXT + "precision = 0.002")
    assert main(["run", str(file), "--out", str(out)]) == 0
    file.write_text(TEXT + 'precision = 0.0008\nprecision_of = "marginal"\ncontrol_variates = true')
    assert main(["run", str(file), "--out", str(out)]) == 0
    assert "at another precision or part; its blocks are reused" in capsys.readouterr().err
    found = json.loads((out / "result.json").read_text())["points"]
    assert found == json.loads(json.dumps(mtpsim.run(mtpsim.load(file)).points))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('precision_of = "speed"', "did you mean 'speedup'"),
        ('precision_of = "difference"', "must be given together"),
        ("between = [1, 2]", "must be given together"),
        ('precision_of = "difference"\nbetween = [1, 1]', "two different depths"),
        ('precision_of = "difference"\nbetween = [1, 5]', "the acceptance model has depth 2"),
        ('precision_of = "difference"\nbetween = [1]', "at least 2 required"),
        ('precision_of = "theory_error"\nprecision_is = "relative"', "must be absolute"),
        ('precision_is = "percent"', "allowed: relative, absolute"),
    ],
)
def test_invalid_stopping_rules_are_refused(line, message):
    with pytest.raises(mtpsim.InputError, match=message):
        mtpsim.parse(TEXT + line)


def test_check_explains_the_stopping_rule(tmp_path, capsys, monkeypatch):
    file = tmp_path / "e.toml"
    file.write_text(TEXT + "precision = 0.001\n" + DIFFERENCE)
    assert main(["check", str(file)]) == 0
    message = capsys.readouterr().out
    assert "stops at ±0.001 for the difference in speedup of depths 1 and 2" in message
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", shown)
    assert main(["check", str(file)]) == 0
    shown.seek(0)
    assert "stops at +-0.001 for" in shown.read()


def test_the_width_of_a_difference_includes_the_covariance():
    text = TEXT + "precision = 0.1\n" + DIFFERENCE
    experiment = mtpsim.parse(text)
    plan = compile_point(experiment).plan
    tally = tally_block(plan, 0, plan.chunk)
    gains = estimators.delta_method(
        lambda means: estimators.speedup(means, plan.layout), tally, 0.95
    )
    expected = gains.linear_combination(np.array([[0.0, -1.0, 1.0]])).half_width[0]
    theory = ClosedFormPredictor(np.ones(3))  # not used by this quantity
    found = half_width(experiment.simulation, theory, plan.layout, tally)
    assert found == pytest.approx(expected, rel=1e-6)
