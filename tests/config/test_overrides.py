"""``--set``: the user's last word, and what is said of it where it is wrong."""

import re
from pathlib import Path

import pytest

from mtpsim import parse
from mtpsim.cli.main import main
from mtpsim.common.errors import InputError

SHIPPED = sorted(Path("experiments").glob("*.toml"))
TEXT = """
[acceptance]
model = "decay"
first = 0.8
factor = 0.9
depth = 2

[latency]
model = "linear"
base = 10
per_token = 0.02
draft = 1

[simulation]
rounds = 50
precision = 0.01

[sweep]
"latency.batch" = [1, 16]
"acceptance.first" = [0.7, 0.8]
zip = ["latency.batch", "acceptance.first"]
"""


def read(*overrides, text=TEXT):
    return parse(text, file="e.toml", overrides=overrides)


def told(*overrides, text=TEXT):
    with pytest.raises(InputError) as caught:
        read(*overrides, text=text)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_experiment_runs_with_so_many_requests(path, capsys):
    assert main(["check", str(path), "--set", "simulation.requests=500"]) == 0
    assert "  500 requests per point" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "here", "gone"),
    [
        ("requests=500", {"requests": 500, "rounds": 50}, "precision"),
        ("tokens=64", {"tokens": 64, "precision": 0.01}, "rounds"),
        ("precision=0.1", {"precision": 0.1, "rounds": 50}, "requests"),
    ],
)
def test_a_key_takes_the_place_of_the_one_that_excludes_it(given, here, gone):
    text = TEXT if gone != "requests" else TEXT.replace("precision = 0.01", "requests = 9")
    simulation = read(f"simulation.{given}", text=text).simulation
    assert {key: getattr(simulation, key) for key in here} == here
    assert getattr(simulation, gone) is None


def test_what_is_set_to_false_takes_no_place():
    assert read("simulation.as_recorded=false").simulation.rounds == 50


def test_two_that_exclude_each_other_are_refused_where_one_side_gives_both():
    both = "give only one of precision, requests"
    of_file = TEXT.replace("precision = 0.01", "precision = 0.01\nrequests = 9")
    assert told(text=of_file) == [f"e.toml:16: simulation.precision: {both}"]
    assert told("title=x", text=of_file) == [f"e.toml:16: simulation.precision: {both}"]
    (line,) = told("simulation.requests=9", "simulation.precision=0.1")
    assert line == f"--set simulation.precision=0.1: {both}"


def test_a_swept_key_that_is_set_is_swept_no_more():
    one = read("latency.batch=4")
    assert one.sweep == {"acceptance.first": [0.7, 0.8], "zip": ["acceptance.first"]}
    assert {point.experiment.batch for point in one.points()} == {4}
    none = read("latency.batch=4", "acceptance.first=0.6")
    assert none.sweep is None
    assert len(none.points()) == 1


def test_a_section_that_is_set_has_no_swept_keys():
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
def test_a_set_that_a_sweep_would_undo_is_refused(overrides):
    with pytest.raises(InputError, match=rf"--set {overrides[0]}: the sweep over .* set only one"):
        read(*overrides, text=TEXT.partition("[sweep]")[0])


@pytest.mark.parametrize("key", ["sweep.latency.batch", 'sweep."latency.batch"'])
def test_a_sweep_can_be_set(key):
    points = read(f"{key}=[2, 3]").points()
    assert [point.set["latency.batch"] for point in points] == [2, 3]


def test_the_message_on_parts_names_a_command_that_works(tmp_path, capsys):
    path = tmp_path / "e.toml"
    path.write_text(TEXT)
    command = ["run", str(path), "--part", "1/2", "--quiet", "--out", str(tmp_path / "out")]
    assert main(command) == 2
    message = capsys.readouterr().err
    (option,) = re.findall(r"add (--set simulation\.requests=\d+)", message)
    assert main([*command, *option.split(), "--set", "latency.batch=1"]) == 0


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
def test_what_is_wrong_with_a_set_names_it_and_no_line_of_the_file(override, message):
    for others in ([], ["title=x"]):
        (line, *_) = told(*others, override)
        assert line.startswith(f"--set {override}: {message}")
        assert "e.toml" not in line


def test_what_a_set_makes_wrong_elsewhere_names_both():
    lines = told("acceptance.model=beta")
    assert lines[0] == (
        "e.toml:2: acceptance.mean: is missing: mean acceptance rate: a number, or a list by "
        "position (with --set acceptance.model=beta)"
    )
    assert all(line.endswith("(with --set acceptance.model=beta)") for line in lines)
    (swept,) = told("sweep.latency.base=[0, -1]", "sweep.latency.batch=[1, 16]")[:1]
    assert "(with --set sweep.latency.base=[0, -1], --set" in swept


def test_what_is_wrong_with_the_file_stays_its_own():
    wrong = TEXT.replace("factor = 0.9", "factor = 9")
    assert told("latency.batch=3", text=wrong) == told(text=wrong)
    assert told(text=wrong)[0].startswith("e.toml:5: acceptance.factor: 9 is given")
