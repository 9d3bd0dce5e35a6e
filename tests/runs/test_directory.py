"""Full disks, broken files and edited runs: a sentence each, and the numbers of a quiet run."""

import errno
import inspect
import json
import math
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import mtpsim
from mtpsim.cli.main import main
from mtpsim.engine.scheduler import BlockRange
from mtpsim.report.figures.gallery import figures
from mtpsim.runs.directory import FIGURES, RESULT, TALLIES, Tallies, to_json
from mtpsim.stats.estimators import Tally
from tests.support.examples import TWO_DEEP, independent

pytestmark = pytest.mark.usefixtures("no_pictures")  # but where a test asks for them

TEXT = independent(0.9, 0.7) + TWO_DEEP + "[simulation]\nrounds = 40\nrequests = 400000\n"


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "e.toml").write_text(TEXT)
    assert run(folder) == 0
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


@pytest.fixture
def folder(done, tmp_path):
    """A copy of it, without plots."""
    (tmp_path / "e.toml").write_text(TEXT)
    (tmp_path / "out").mkdir()
    for name, held in done.items():
        if not name.endswith(".png"):
            (tmp_path / "out" / name).write_bytes(held)
    return tmp_path


def run(folder, *options):
    return main(["run", str(folder / "e.toml"), "--out", str(folder / "out"), *options])


def edited(change):
    def apply(text):
        document = json.loads(text)
        change(document)
        return json.dumps(document)

    return apply


@pytest.mark.parametrize(
    "damage",
    [
        edited(lambda e: e["mean"].__setitem__(0, math.nan)),
        edited(lambda e: e["comoment"][0].__setitem__(0, math.inf)),
        edited(lambda e: e["mean"].__setitem__(1, e["mean"][1] * 1.01)),
        edited(lambda e: e["mean"].__setitem__(0, 10**400)),
        edited(lambda e: e.__setitem__("count", math.inf)),
        edited(lambda e: e.__setitem__("count", -1)),
        edited(lambda e: e.__setitem__("mean", [e["mean"]])),
        lambda _: "[" * 200_000,
        lambda _: "\x00\xff",
    ],
)
def test_a_damaged_record_is_ignored(damage, folder):
    path = folder / "out" / TALLIES
    *others, last = path.read_text().splitlines()
    path.write_text("\n".join([*others, damage(last)]) + "\n")
    kept = Tallies(path)
    assert kept.torn == 1
    assert sum(len(kept.block_ranges(*name)) for name in kept.names()) == len(others)


class Full:
    """A file on a disk that is full after 50 characters."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, text):
        self.file.write(text[:50])
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_fills_up_in_a_record_loses_that_record_only(tmp_path, monkeypatch):
    path = tmp_path / TALLIES
    one, two = (BlockRange(0, n, Tally.of(np.arange(2.0 * n)[:, None])) for n in (30, 36))
    kept, opened = Tallies(path), Path.open
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda *a, **k: Full(opened(*a, **k)))
        kept.keep("a", 1, one)
    kept.keep("a", 1, two)
    kept.keep("a", 1, one)
    found = Tallies(path)
    assert found.torn == 1
    assert [s.end for s in found.block_ranges("a", 1)] == [30, 36]


@pytest.mark.parametrize("name", [TALLIES, "under_way.json", RESULT, ".lock", "experiment.toml"])
def test_a_directory_in_place_of_a_file_is_reported(name, folder, capsys):
    (folder / "out" / name).unlink(missing_ok=True)
    (folder / "out" / name).mkdir()
    assert run(folder, "--fresh") == 2
    assert f"{name} is a directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    "damage",
    [
        *(lambda _, text=text: text for text in ("", "{", "[]", '{"points": 1}', "[" * 200_000)),
        edited(lambda d: d["points"][0].__setitem__("rounds", d["points"][0]["rounds"] + 1)),
        edited(lambda d: d["points"][0]["advice"].__setitem__("depth", 1)),
        edited(lambda d: d["points"][0].pop("depths")),
        edited(lambda d: d.pop("check")),
        edited(lambda d: d.__setitem__("complete", False)),
    ],
)
def test_every_command_refuses_an_edited_result_in_the_same_words(damage, folder, capsys):
    path = folder / "out" / RESULT
    path.write_text(damage(path.read_text()))
    found = set()
    for command in (
        ["run", str(folder / "e.toml"), "--out"],
        ["show"],
        ["export", "--to", "sglang"],
        ["merge", "-o", str(folder / "m")],
    ):
        assert main([*command, str(folder / "out")]) == 2
        found.add(capsys.readouterr().err)
    (message,) = found
    assert message.startswith(f"error: {path}: is not a result document as a run wrote it (")
    assert "`mtpsim run` writes it again from the stored blocks" in message
    path.unlink()
    assert run(folder) == 0


def test_a_result_laid_out_anew_is_not_edited(folder):
    path = folder / "out" / RESULT
    path.write_text(json.dumps(json.loads(path.read_text()), indent=7))
    assert main(["show", str(folder / "out")]) == 0


def test_a_document_that_was_edited_makes_no_result(folder):
    document = json.loads((folder / "out" / RESULT).read_text())
    assert mtpsim.Result.of(document).points == document["points"]
    document["points"][0]["depths"][1]["speedup"]["mean"] *= 1.01
    with pytest.raises(ValueError, match="checksum does not match"):
        mtpsim.Result.of(document)


@pytest.mark.parametrize("stop", ["killed", "interrupted"])
def test_a_fresh_run_that_was_stopped_goes_on(stop, folder, done, capsys, monkeypatch):
    """Also one that runs in place of a finished result, which it does not take for its own."""

    def end(data, path):
        raise SystemExit if stop == "killed" else KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mtpsim.report.serialization.write_csv", end)
        with suppress(SystemExit):
            assert run(folder, "--fresh") == 130
    assert not (folder / "out" / RESULT).exists()
    assert "drops" not in capsys.readouterr().err
    before = (folder / "out" / TALLIES).read_bytes()
    assert run(folder) == 0
    assert "already contains" not in capsys.readouterr().err
    assert (folder / "out" / TALLIES).read_bytes() == before
    found = json.loads((folder / "out" / RESULT).read_text())["points"]
    assert found == json.loads(done[RESULT])["points"]


def test_a_fresh_run_says_that_it_drops_an_unfinished_one(folder, capsys):
    assert run(folder, "--fresh") == 0
    assert "drops" not in capsys.readouterr().err
    (folder / "out" / RESULT).unlink()
    assert run(folder, "--fresh") == 0
    message = capsys.readouterr().err
    assert "--fresh drops 400,000 finished requests of an unfinished run" in message


def test_wrong_options_leave_an_earlier_result(folder, done):
    assert run(folder, "--fresh", "--part", "1/5000") == 2
    for name in (RESULT, TALLIES):
        assert (folder / "out" / name).read_bytes() == done[name]


def test_drawing_errors_are_not_reported_as_document_errors(folder, monkeypatch):
    def draws(document, console, every):
        raise KeyError("of the drawing")

    monkeypatch.setattr("mtpsim.report.tables.result.render", draws)
    with pytest.raises(KeyError, match="of the drawing"):
        main(["show", str(folder / "out")])


def test_an_edited_experiment_is_refused(folder, capsys):
    path = folder / "out" / "experiment.toml"
    path.write_text(path.read_text().replace("76", "77"))
    found = set()
    for rest in (["show"], ["export", "--to", "sglang"], ["merge", "-o", str(folder / "m")]):
        assert main([*rest, str(folder / "out")]) == 2
        found.add(capsys.readouterr().err)
    (message,) = found
    assert "changed after the run" in message


def test_a_part_is_not_the_whole_run(folder, done, capsys):
    (folder / "out" / RESULT).unlink()
    (folder / "out" / TALLIES).unlink()
    assert run(folder, "--part", "1/2") == 0
    assert run(folder, "--part", "1/2") == 0
    assert "already contains this result" in capsys.readouterr().err
    assert run(folder) == 0
    assert "its blocks are reused" in capsys.readouterr().err
    found = json.loads((folder / "out" / RESULT).read_text())["points"]
    assert found == json.loads(done[RESULT])["points"]


def test_more_parts_than_blocks_are_refused(folder, capsys):
    assert run(folder, "--fresh", "--part", "1/5000") == 2
    assert "parts: 5000 parts need " in capsys.readouterr().err


def test_the_reported_least_number_of_requests_for_parts_is_exact(folder, capsys):
    """And one fewer is not; in a sweep over them, those of the point that has the fewest."""
    few = ["--fresh", "--set", "simulation.requests=2"]
    assert run(folder, *few, "--part", "1/3") == 2
    message = capsys.readouterr().err
    assert "--part: 1/3 is given, but for 2 requests per point there is only one part" in message
    enough = int(re.search(r"3 parts need ([\d,]+) requests", message)[1].replace(",", ""))
    for requests, code in ((enough - 1, 2), (enough, 0)):
        few[-1] = f"simulation.requests={requests}"
        assert run(folder, *few, "--part", "3/3") == code
    swept = ["--fresh", "--set", f'sweep={{"simulation.requests"=[{enough}, 2]}}']
    assert run(folder, *swept, "--part", "1/3") == 2
    assert "for 2 requests per point" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["show", "store.write_result"])
def test_interrupt_after_the_simulation_keeps_the_result(place, folder, capsys, monkeypatch):
    (folder / "out" / RESULT).unlink()
    before = (folder / "out" / TALLIES).read_bytes()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"mtpsim.cli.run.{place}", interrupt)
    assert run(folder) == 130
    assert "the same command without --fresh completes the run" in capsys.readouterr().err
    assert (folder / "out" / TALLIES).read_bytes() == before


@pytest.mark.parametrize(
    ("fault", "code"),
    [(KeyboardInterrupt(), 130), (OSError(errno.ENOSPC, "No space left on device"), 2)],
)
def test_a_result_is_complete_where_drawing_its_figures_ends(
    fault, code, folder, done, capsys, monkeypatch
):
    def end(self, experiment, folder):
        (folder / "speedup.png").write_bytes(b"torn")
        raise fault

    (folder / "out" / "speedup.png").write_bytes(b"of an earlier result")
    with monkeypatch.context() as patch:
        patch.setattr("mtpsim.results.document.Result.save_report", end)
        assert run(folder, "--fresh") == code
    printed = capsys.readouterr()
    assert "Run depth" in printed.out
    assert f"`mtpsim show {folder / 'out'}` draws the figures" in printed.err
    left = {path.name for path in (folder / "out").iterdir()}
    assert left == {RESULT, TALLIES, "result.csv", "experiment.toml", ".lock"}
    found = json.loads((folder / "out" / RESULT).read_text())
    assert found["complete"]
    assert found["points"] == json.loads(done[RESULT])["points"]
    assert run(folder) == 0
    assert f"it has no figures; `mtpsim show {folder / 'out'}`" in capsys.readouterr().err
    assert main(["show", str(folder / "out")]) == 0
    assert (folder / "out" / "report.html").exists()
    assert run(folder) == 0
    assert "has no figures" not in capsys.readouterr().err


@pytest.mark.parametrize(("points", "lines"), [(50, 56), (51, 1)])
def test_documents_of_long_sweeps_are_not_indented(points, lines):
    text = to_json({"points": [0] * points, "complete": True})
    assert len(text.splitlines()) == lines
    assert json.loads(text)["points"] == [0] * points


def test_every_figure_has_a_name_by_which_a_later_result_removes_it():
    drawn = re.findall(r'found\["(\w+)"\]|"(\w+)": \w+_figure', inspect.getsource(figures))
    assert {f"{one or other}.png" for one, other in drawn} | {"report.html"} == set(FIGURES)
