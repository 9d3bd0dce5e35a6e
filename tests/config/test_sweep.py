"""Points of a sweep; ``--set``: precedence over the file, and problems attributed to the option."""

import json
import re
from pathlib import Path

import pytest

import mtpsim
from mtpsim import parse
from mtpsim.cli.main import main
from mtpsim.common.errors import InputError
from mtpsim.config.sweep import combinations
from mtpsim.runs import block_run as point
from mtpsim.runs.directory import Tallies
from tests.support.examples import acceptance, latency, noise, problem_of, section, simulation

pytestmark = pytest.mark.usefixtures("no_pictures")  # but where a test asks for them

TEXT = (
    acceptance("decay", first=0.8, factor=0.9, depth=3)
    + latency(20, 22, 1)
    + noise(0.2)
    + simulation(rounds=20, requests=500)
    + "[sweep]\n"
)


def points(sweep):
    return [tuple(point.set.values()) for point in mtpsim.parse(TEXT + sweep).points()]


def test_zipped_keys_vary_together_and_others_as_a_grid():
    sweep = """\
"acceptance.first" = [0.7, 0.8]
"simulation.seed" = [1, 2, 3]
"acceptance.factor" = [0.9, 1.0]
zip = ["acceptance.first", "acceptance.factor"]
"""
    grid = [(f, s, d) for f, d in ((0.7, 0.9), (0.8, 1.0)) for s in (1, 2, 3)]
    assert points(sweep) == grid
    first = next(iter(combinations({"a": [1], "b": [2]})))
    assert list(first) == ["a", "b"]


FACTOR, FIRST = '"acceptance.factor"', '"acceptance.first"'
ZIPPED = 'zip = ["acceptance.first", "acceptance.factor"]\n'


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        (
            f'{ZIPPED}{FIRST} = [0.7, 0.8]\n"acceptance.factor" = [1, 0.9, 0.8]',
            "sweep.zip: zipped keys must have equally many values: acceptance.first has 2 values, "
            "acceptance.factor has 3 values",
        ),
        (
            f'zip = ["acceptance.frst", {FIRST}]\n{FIRST} = [0.7]',
            "sweep.zip: 'acceptance.frst' is given, but it is not a swept key; allowed: "
            "acceptance.first; did you mean 'acceptance.first'?",
        ),
        (f"zip = [{FIRST}, {FIRST}]\n{FIRST} = [0.7]", "sweep.zip: a key is given twice"),
        ("zip = [3]", "sweep.zip: 3 is given, but it is not a swept key"),
        (f"{FIRST} = [0.7, 0.8, 0.7]", "sweep: `acceptance.first`: 0.7 is given 2 times"),
        (f"{ZIPPED}{FIRST} = [0.7, 0.7]\n{FACTOR} = [1, 1]", "(0.7, 1) is given 2 times"),
        (
            "batch = [1, 16]",
            "experiment:15: sweep.batch: unknown key; it must start with a section; allowed: "
            "acceptance, latency, draft, simulation, theory, decision, adaptive, serving, "
            "uncertainty, robust; did you mean 'latency.batch'?",
        ),
        (
            "latency.noise.cv = [0.1, 0.2]",
            "sweep.latency: the quotes of a dotted key are missing; write "
            '"latency.noise.cv" = [0.1, 0.2]',
        ),
        (
            '"latency.batch" = [1, 16]',
            "sweep (latency.batch = 1): latency.batch: unknown key; only with model 'steps' or "
            "'table' or 'linear' or 'roofline' or 'moe' or 'preset'; allowed: noise, persistence, "
            "overhead_off, model, target, verify, draft, correlation",
        ),
    ],
)
def test_sweep_problems(sweep, message):
    assert message in problem_of(TEXT + sweep)


def test_zipped_keys_may_have_equal_values():
    sweep = f"{ZIPPED}{FIRST} = [0.7, 0.7]\n{FACTOR} = [1, 0.9]"
    assert points(sweep) == [(0.7, 1), (0.7, 0.9)]


def test_sweep_over_models():
    sweep = (
        'acceptance = [{ model = "decay", first = 0.8, factor = 1.0, depth = 2 }, '
        '{ model = "independent", rates = [0.8, 0.8, 0.8] }]'
    )
    depths = [p.experiment.acceptance.chain().depth for p in mtpsim.parse(TEXT + sweep).points()]
    assert depths == [2, 3]


def test_points_share_random_numbers():
    """The same text at every point: a change of the latency leaves the acceptances as they are."""
    result = mtpsim.run(mtpsim.parse(TEXT + '"latency.noise.cv" = [0.1, 0.4]'))
    one, two = result.points
    for a, b in zip(one["depths"], two["depths"], strict=True):
        assert a["accept_length"] == b["accept_length"]
        assert a["depth"] == 0 or a["round_time"] != b["round_time"]


def test_added_point_changes_no_other():
    sweeps = ('"simulation.seed" = [1, 2]', '"simulation.seed" = [1, 2, 3]')
    few, many = (mtpsim.run(mtpsim.parse(TEXT + sweep)).points for sweep in sweeps)
    for a, b in zip(few, many, strict=False):
        assert [d["speedup"] for d in a["depths"]] == [d["speedup"] for d in b["depths"]]


def interrupt_second_point(progress):
    """Raise KeyboardInterrupt at the first progress report of the second point."""
    if progress.label.startswith("2/"):
        raise KeyboardInterrupt


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "e.toml"
    path.write_text(TEXT + '"simulation.seed" = [1, 2, 3]')
    return path


def test_interrupted_sweep_resumes_with_missing_points(file, tmp_path, monkeypatch, capsys):
    experiment, saved = mtpsim.load(file), tmp_path / "run" / "tallies.jsonl"
    whole = mtpsim.run(experiment).points
    saved.parent.mkdir()
    monkeypatch.setattr("mtpsim.runs.block_run.PROGRESS_SECONDS", 0.0)
    cut = mtpsim.run(experiment, on_progress=interrupt_second_point, saved=Tallies(saved))
    assert not cut.document["complete"]
    assert len(saved.read_text().splitlines()) == 1
    with saved.open("a") as torn:
        torn.write('{"point": "abc", "mean": [1.0, ')  # a crash while writing
    simulated = []
    inner = point.simulate

    def counting(compiled, *rest, **options):
        simulated.append(compiled.experiment.simulation.seed)
        return inner(compiled, *rest, **options)

    monkeypatch.setattr(point, "simulate", counting)
    assert main(["run", str(file), "--out", str(saved.parent)]) == 0
    assert simulated == [3]  # the second one was just done when it was stopped
    document = json.loads((saved.parent / "result.json").read_text())
    assert document["points"] == json.loads(json.dumps(whole))
    assert len(Tallies(saved)._known) == 3
    simulated.clear()
    assert main(["run", str(file), "--out", str(saved.parent), "--fresh", "--quiet"]) == 0
    assert simulated == [1, 2, 3]


def test_point_with_other_inputs_is_not_reused(file, tmp_path):
    saved = tmp_path / "tallies.jsonl"
    mtpsim.run(mtpsim.load(file), saved=Tallies(saved))
    known = set(Tallies(saved)._known)
    mtpsim.run(mtpsim.load(file, ["latency.target=75"]), saved=Tallies(saved))
    assert len(set(Tallies(saved)._known) - known) == 3


SHIPPED = sorted(Path("experiments").glob("*.toml"))
ZIP = ["latency.batch", "acceptance.first"]
SWEPT = {"latency.batch": [1, 16], "acceptance.first": [0.7, 0.8], "zip": ZIP}
FULL = (
    "\n"
    + acceptance("decay", first=0.8, factor=0.9, depth=2)
    + "\n"
    + section("latency", model="linear", base=10, per_token=0.02, draft=1)
    + "\n"
    + simulation(rounds=50, precision=0.01)
    + section("sweep", **SWEPT)
)


def read(*overrides, text=FULL):
    return parse(text, file="e.toml", overrides=overrides)


def error_lines(*overrides, text=FULL):
    with pytest.raises(InputError) as caught:
        read(*overrides, text=text)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_requests_can_be_set_for_every_shipped_experiment(path, cli):
    text = path.read_text()
    if "burst = " in text:
        setting, shown = "serving.arrivals={burst=500}", "500 measured requests per replication"
    elif "[serving]" in text:
        setting, shown = "serving.requests=500", "500 measured requests per replication"
    else:
        setting, shown = "simulation.requests=500", "  500 requests per point"
    done = cli("check", path, "--set", setting)
    assert done.code == 0
    assert shown in done.out


@pytest.mark.parametrize(
    ("given", "here", "gone"),
    [
        ("requests=500", {"requests": 500, "rounds": 50}, "precision"),
        ("tokens=64", {"tokens": 64, "precision": 0.01}, "rounds"),
        ("precision=0.1", {"precision": 0.1, "rounds": 50}, "requests"),
    ],
)
def test_override_removes_mutually_exclusive_key(given, here, gone):
    text = FULL if gone != "requests" else FULL.replace("precision = 0.01", "requests = 9")
    simulation = read(f"simulation.{given}", text=text).simulation
    assert {key: getattr(simulation, key) for key in here} == here
    assert getattr(simulation, gone) is None


def test_false_removes_no_key():
    assert read("simulation.as_recorded=false").simulation.rounds == 50


def test_exclusive_keys_from_one_source_are_refused():
    both = "give only one of precision, requests"
    of_file = FULL.replace("precision = 0.01", "precision = 0.01\nrequests = 9")
    assert error_lines(text=of_file) == [f"e.toml:16: simulation.precision: {both}"]
    assert error_lines("title=x", text=of_file) == [f"e.toml:16: simulation.precision: {both}"]
    (line,) = error_lines("simulation.requests=9", "simulation.precision=0.1")
    assert line == f"--set simulation.precision=0.1: {both}"


@pytest.mark.parametrize(("old", "new"), [("tried", "trials"), ("trials", "tried")])
def test_override_replaces_a_key_under_its_other_name(old, new):
    text = FULL + f'[uncertainty.inputs."latency.target"]\n{old} = 7\n'
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
        read(*overrides, text=FULL.partition("[sweep]")[0])


@pytest.mark.parametrize("key", ["sweep.latency.batch", 'sweep."latency.batch"'])
def test_sweep_override(key):
    points = read(f"{key}=[2, 3]").points()
    assert [point.set["latency.batch"] for point in points] == [2, 3]


def test_suggested_option_for_parts_works(tmp_path, cli):
    path = tmp_path / "e.toml"
    path.write_text(FULL)
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
    wrong = FULL.replace("factor = 0.9", "factor = 9")
    assert error_lines("latency.batch=3", text=wrong) == error_lines(text=wrong)
    assert error_lines(text=wrong)[0].startswith("e.toml:5: acceptance.factor: 9 is given")
