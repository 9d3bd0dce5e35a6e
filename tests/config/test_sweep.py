"""Points of a sweep: combinations, zipped keys, and points of an earlier run."""

import json

import pytest

import mtpsim
from mtpsim.cli.main import main
from mtpsim.config.sweep import combinations
from mtpsim.runs import point_run as point
from mtpsim.runs.directory import Tallies
from tests.support.examples import acceptance, latency, noise, problem_of, simulation

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
    monkeypatch.setattr("mtpsim.runs.point_run.PROGRESS_SECONDS", 0.0)
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
