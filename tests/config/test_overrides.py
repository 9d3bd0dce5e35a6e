"""``--set``: precedence over the file, and problems attributed to the option."""

import re
from pathlib import Path

import pytest

from mtpsim import parse
from mtpsim.common.errors import InputError
from tests.support.examples import acceptance, section, simulation

SHIPPED = sorted(Path("experiments").glob("*.toml"))
ZIP = ["latency.batch", "acceptance.first"]
SWEEP = {"latency.batch": [1, 16], "acceptance.first": [0.7, 0.8], "zip": ZIP}
TEXT = (
    "\n"
    + acceptance("decay", first=0.8, factor=0.9, depth=2)
    + "\n"
    + section("latency", model="linear", base=10, per_token=0.02, draft=1)
    + "\n"
    + simulation(rounds=50, precision=0.01)
    + section("sweep", **SWEEP)
)


def read(*overrides, text=TEXT):
    return parse(text, file="e.toml", overrides=overrides)


def error_lines(*overrides, text=TEXT):
    with pytest.raises(InputError) as caught:
        read(*overrides, text=text)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_requests_can_be_set_for_every_shipped_experiment(path, cli):
    done = cli("check", path, "--set", "simulation.requests=500")
    assert done.code == 0
    assert "  500 requests per point" in done.out


@pytest.mark.parametrize(
    ("given", "here", "gone"),
    [
        ("requests=500", {"requests": 500, "rounds": 50}, "precision"),
        ("tokens=64", {"tokens": 64, "precision": 0.01}, "rounds"),
        ("precision=0.1", {"precision": 0.1, "rounds": 50}, "requests"),
    ],
)
def test_override_removes_mutually_exclusive_key(given, here, gone):
    text = TEXT if gone != "requests" else TEXT.replace("precision = 0.01", "requests = 9")
    simulation = read(f"simulation.{given}", text=text).simulation
    assert {key: getattr(simulation, key) for key in here} == here
    assert getattr(simulation, gone) is None


def test_false_removes_no_key():
    assert read("simulation.as_recorded=false").simulation.rounds == 50


def test_exclusive_keys_from_one_source_are_refused():
    both = "give only one of precision, requests"
    of_file = TEXT.replace("precision = 0.01", "precision = 0.01\nrequests = 9")
    assert error_lines(text=of_file) == [f"e.toml:16: simulation.precision: {both}"]
    assert error_lines("title=x", text=of_file) == [f"e.toml:16: simulation.precision: {both}"]
    (line,) = error_lines("simulation.requests=9", "simulation.precision=0.1")
    assert line == f"--set simulation.precision=0.1: {both}"


@pytest.mark.parametrize(("old", "new"), [("tried", "trials"), ("trials", "tried")])
def test_override_replaces_a_key_under_its_other_name(old, new):
    text = TEXT + f'[uncertainty.inputs."latency.target"]\n{old} = 7\n'
    text = text.replace("latency.target", "acceptance.first")
    given = read(f'uncertainty.inputs."acceptance.first".{new}=9', text=text)
    assert given.uncertainty.inputs["acceptance.first"].trials == 9


def test_override_removes_sweep_over_its_key():
    one = read("latency.batch=4")
    assert one.sweep == {"acceptance.first": [0.7, 0.8], "zip": ["acceptance.first"]}
    assert {point.experiment.batch for point in one.points()} == {4}
    none = read("latency.batch=4", "acceptance.first=0.6")
    assert none.sweep is None
    assert len(none.points()) == 1


def test_section_override_removes_sweeps_over_its_keys():
    plain = read("latency={target = 10, verify = 12, draft = 1}")
    assert plain.sweep == {"acceptance.first": [0.7, 0.8], "zip": ["acceptance.first"]}
    assert [point.experiment.latency.model for point in plain.points()] == ["times", "times"]


@pytest.mark.parametrize(
    "overrides",
    [
        ("latency.batch=2", "sweep.latency.batch=[1,64]"),
        ("acceptance.first=0.5", "sweep.acceptance=[{model='independent', rates=[0.5]}]"),
    ],
)
def test_override_undone_by_sweep_is_refused(overrides):
    with pytest.raises(InputError, match=rf"--set {overrides[0]}: the sweep over .* set only one"):
        read(*overrides, text=TEXT.partition("[sweep]")[0])


@pytest.mark.parametrize("key", ["sweep.latency.batch", 'sweep."latency.batch"'])
def test_sweep_override(key):
    points = read(f"{key}=[2, 3]").points()
    assert [point.set["latency.batch"] for point in points] == [2, 3]


def test_suggested_option_for_parts_works(tmp_path, cli):
    path = tmp_path / "e.toml"
    path.write_text(TEXT)
    command = ["run", path, "--part", "1/2", "--quiet", "--out", tmp_path / "out"]
    (option,) = re.findall(r"add (--set simulation\.requests=\d+)", cli(*command).err)
    assert cli(*command, *option.split(), "--set", "latency.batch=1").code == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("simulation.precision=-2", "-2 is given; it must be above 0"),
        ("latency.noise={cv=2}", "latency.noise.distribution: is missing"),
        ("latency.batc=2", "unknown key"),
        ("simulaton.x=2", "simulaton: unknown key"),
        ('acceptance={model="histogram", rounds=[1, -1]}', "acceptance.rounds[1]: -1 is given"),
        ("simulation.precision_of=difference", '"difference" and `between`'),
    ],
)
def test_invalid_override_is_named_without_a_line(override, message):
    for others in ([], ["title=x"]):
        (line, *_) = error_lines(*others, override)
        assert line.startswith(f"--set {override}: {message}")
        assert "e.toml" not in line


def test_problem_caused_by_override_names_line_and_option():
    lines = error_lines("acceptance.model=beta")
    assert lines[0] == (
        "e.toml:2: acceptance.mean: is missing: mean acceptance rate: a number, or a list by "
        "position (with --set acceptance.model=beta)"
    )
    assert all(line.endswith("(with --set acceptance.model=beta)") for line in lines)
    (swept,) = error_lines("sweep.latency.base=[0, -1]", "sweep.latency.batch=[1, 16]")[:1]
    assert "(with --set sweep.latency.base=[0, -1], --set" in swept


def test_problems_of_the_file_are_not_attributed_to_overrides():
    wrong = TEXT.replace("factor = 0.9", "factor = 9")
    assert error_lines("latency.batch=3", text=wrong) == error_lines(text=wrong)
    assert error_lines(text=wrong)[0].startswith("e.toml:5: acceptance.factor: 9 is given")
