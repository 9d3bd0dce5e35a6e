"""The command as a user types it."""

import csv
import json
import os
import signal
import subprocess

import pytest

import mtpsim
from mtpsim.cli.main import main
from mtpsim.cli.run import NOTHING_SAVED, RESUMES
from mtpsim.common.compilation import COMPILING
from mtpsim.report.experiment_text import rates_are_note
from tests.support.children import python
from tests.support.examples import TWO_DEEP, article, independent

ARTICLE = "experiments/article.toml"


@pytest.fixture
def no_precision(tmp_path):
    """The founding case with a fixed number of requests, for speed."""
    path = tmp_path / "small.toml"
    path.write_text(article(2000))
    return path


def run(*arguments):
    return main(["run", *map(str, arguments)])


def test_run_writes_the_whole_directory(no_precision, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(no_precision, "--out", out) == 0
    assert {path.name for path in out.iterdir()} == {
        *("result.json", "result.csv", "experiment.toml", "tallies.jsonl"),
        *("speedup.png", "marginal.png", "accepted.png", "latency.png"),
        *("theory.png", "dependence.png", "requests.png", "report.html", ".lock"),
    }
    printed = capsys.readouterr()
    assert "Run depth 2: 1.54" in printed.out
    assert "11 files in" in printed.err
    document = json.loads((out / "result.json").read_text())
    speedups = [depth["speedup"]["theory"] for depth in document["points"][0]["depths"]]
    assert speedups == pytest.approx([1, 1.395918, 1.540610, 1.524724], abs=5e-7)
    first = document["points"][0]["depths"][0]
    assert first["speedup"] == {"theory": 1, "exact": 1, "mean": 1, "low": 1, "high": 1}
    assert document["points"][0]["precision_reached"] is None
    assert document["provenance"]["command"][:2] == ["mtpsim", "run"]
    with (out / "result.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["quantity"] for row in rows} >= {"accept_length", "speedup", "marginal"}
    assert (out / "speedup.png").read_bytes()[:4] == b"\x89PNG"
    assert run(out / "experiment.toml", "--out", tmp_path / "again", "--quiet") == 0
    again = json.loads((tmp_path / "again" / "result.json").read_text())
    assert again["points"] == document["points"]
    assert again["provenance"]["hash"] == document["provenance"]["hash"]


def test_a_finished_run_is_not_repeated(no_precision, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(no_precision, "--out", out) == 0
    stamp = (out / "result.json").stat().st_mtime_ns
    capsys.readouterr()
    assert run(no_precision, "--out", out) == 0
    printed = capsys.readouterr()
    assert "already contains this result" in printed.err
    assert "Run depth 2" in printed.out
    assert (out / "result.json").stat().st_mtime_ns == stamp
    assert run(no_precision, "--out", out, "--seed", 2) == 2
    assert "already contains results of a different experiment" in capsys.readouterr().err
    assert run(no_precision, "--out", out, "--seed", 2, "--fresh") == 0
    assert json.loads((out / "result.json").read_text())["provenance"]["seed"] == 2


def test_json_alone_on_stdout(no_precision, tmp_path, capsys):
    assert run(no_precision, "--out", tmp_path / "out", "--json") == 0
    printed = capsys.readouterr().out
    assert json.loads(printed) == json.loads((tmp_path / "out" / "result.json").read_text())


def test_quiet_writes_nothing_to_stderr(no_precision, tmp_path, capsys):
    assert run(no_precision, "--out", tmp_path / "out", "--quiet") == 0
    assert capsys.readouterr().err == ""


def test_precision_not_reached_is_exit_3(tmp_path, capsys):
    limit = ["--set", "simulation.max_requests=300", "--set", "simulation.precision=1e-6"]
    assert run(ARTICLE, *limit, "--out", tmp_path / "out") == 3
    assert "precision not reached" in capsys.readouterr().err
    assert (tmp_path / "out" / "result.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "experiments/artcle.toml"], "did you mean 'article.toml'?"),
        (["run", ARTICLE, "--executor", "gpu"], "--executor: 'gpu' is given; it must be threads"),
        (["run", ARTICLE, "--executor", "threads:0"], "0 workers are given; it must be 1 to 1024"),
        (["run", ARTICLE, "--set", "latency.target"], "it must be SECTION.KEY=VALUE"),
        (["run", ARTICLE, "--seed", "x"], "error: --seed: 'x' is given; it must be a whole"),
        (["check", "experiments"], "Is a directory"),
        (["chek", ARTICLE], "did you mean 'check'?"),
        (["run"], "the following arguments are required: FILE"),
        (["run", ARTICLE, "--out", f"{ARTICLE}/x"], "--out: can't be written"),
    ],
)
def test_wrong_input_is_exit_2_with_a_message(arguments, message, capsys):
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


def test_no_command_shows_help(capsys):
    assert main([]) == 2
    assert "run" in capsys.readouterr().err


def test_a_broken_result_file_is_refused(no_precision, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "result.json").write_text("{")
    assert run(no_precision, "--out", out) == 2
    assert "not a result document" in capsys.readouterr().err


def test_a_full_disk_leaves_no_partial_file_and_prints_the_table(
    no_precision, tmp_path, monkeypatch, capsys
):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mtpsim.report.serialization.write_csv", fail)
    assert run(no_precision, "--out", tmp_path / "out") == 2
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {"tallies.jsonl", "experiment.toml", ".lock"}
    printed = capsys.readouterr()
    assert "Run depth 2" in printed.out
    assert "can't be written: No space left on device" in printed.err


def test_check_explains(capsys):
    assert main(["check", "experiments/noise.toml"]) == 0
    text = capsys.readouterr().out
    for part in ("conditional rates 0.8 0.74 0.67", "3 points", "sweep over latency.verify.cv"):
        assert part in text


def test_schema_prints_json(capsys):
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "mtpsim experiment"


# An exception would be lost in some imports, and turned into another one in others.
EARLY = """
import signal, mtpsim.cli.main
from mtpsim.__main__ import entry
mtpsim.cli.main.main = lambda: signal.raise_signal(signal.SIGINT)
entry()
"""


def test_an_interrupt_ends_the_command_at_once_where_nothing_is_to_be_saved():
    with python("-c", EARLY, stderr=subprocess.PIPE) as process:
        assert process.communicate(timeout=60)[1] == ""
        assert process.returncode == -signal.SIGINT


@pytest.mark.parametrize("executor", ["threads", "processes:1", "dask:1"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_the_finished_blocks(number, executor, tmp_path):
    """Of the process group, as by Ctrl-C."""
    out = tmp_path / "out"
    long = ["--set", "simulation.precision=1e-7", "--set", "simulation.max_requests=10000000000"]
    command = ["-m", "mtpsim", "run", ARTICLE, *long, "--out", out, "--executor", executor]
    with python(*command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        for line in process.stderr:
            if "requests" in line:  # the first line of progress: blocks have been done
                break
        os.killpg(process.pid, number)
        rest = process.communicate(timeout=60)[1]
        assert process.returncode == 130, rest
    progress, last = rest.splitlines()[:-1], rest.splitlines()[-1]
    assert last == RESUMES
    assert all("requests, ±" in line for line in progress), rest
    document = json.loads((out / "result.json").read_text())
    assert document["complete"] is False
    assert document["points"][0]["requests"] > 0
    if executor == "threads":
        assert main(["show", str(out), "--json"]) == 130


def test_an_interrupt_while_kernels_compile_says_that_nothing_is_saved(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    slow = "import time; from mtpsim.common.compilation import compilation as c; b = c.begin; "
    slow += "c.begin = lambda: (b(), time.sleep(60)); "
    code = slow + "from mtpsim.__main__ import entry; entry()"
    command = ["-c", code, "run", ARTICLE, "--out", tmp_path / "out"]
    with python(*command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert any(line == f"{COMPILING}\n" for line in process.stderr)
        os.killpg(process.pid, signal.SIGINT)
        rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert rest.splitlines()[-1] == NOTHING_SAVED


@pytest.mark.usefixtures("no_pictures")
def test_run_notes_the_assumed_definition_of_rates(tmp_path, capsys):
    path, text = tmp_path / "e.toml", independent(0.8, 0.7) + TWO_DEEP
    (other,) = rates_are_note(mtpsim.parse(text))
    command = ["run", str(path), "--out", str(tmp_path / "out"), "--set", "simulation.requests=50"]
    for line, message in (("", [f"note: {other}"]), ('rates_are = "conditional"\n[latency]', [])):
        path.write_text(text.replace("[latency]", line or "[latency]"))
        assert main([*command, "--fresh"]) == 0
        lines = capsys.readouterr().err.splitlines()
        assert [line for line in lines if "rates_are" in line] == message
