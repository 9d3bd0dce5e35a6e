"""Readers that leave, and disks that are full: nothing but what they would have read is lost."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mtpsim.cli.main import main
from tests.support.children import python
from tests.support.examples import LONG_RUN

# Buffered or not, Python finds out at other places.
BUFFERS = {"buffered": {"PYTHONUNBUFFERED": ""}, "unbuffered": {"PYTHONUNBUFFERED": "1"}}

FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    path = tmp_path_factory.mktemp("streams") / "e.toml"
    path.write_text(LONG_RUN + "requests = 20000\n")
    return str(path)


def command(*arguments, buffers="buffered", **streams):
    to = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    env = {**os.environ, **BUFFERS[buffers]}
    return subprocess.run([sys.executable, "-m", "mtpsim", *arguments], text=True, env=env, **to)


@pytest.fixture
def closed_pipe():
    """The end of a pipe that closed_pipe reads."""
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


@pytest.mark.parametrize("buffers", BUFFERS)
@pytest.mark.parametrize("verb", ["check", "schema", "--help", "sample"])
def test_a_closed_pipe_is_not_an_error(verb, buffers, closed_pipe, experiment):
    rest = {"check": [experiment], "sample": [experiment, "--as", "csv", "--requests", "30"]}
    done = command(verb, *rest.get(verb, []), buffers=buffers, stdout=closed_pipe)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("verb", ["export", "fit", "plan"])
def test_a_closed_pipe_is_not_an_error_of_long_commands(
    verb, closed_pipe, experiment, tmp_path, no_pictures
):
    run, log = tmp_path / "run", tmp_path / "log.csv"
    few = ["--set", "simulation.requests=200"]
    if verb == "export":
        assert main(["run", experiment, "--out", str(run), "--quiet", *few]) == 0
    if verb == "fit":
        assert main(["sample", experiment, "--as", "csv", "--requests", "20", "-o", str(log)]) == 0
    rest = {
        "export": [str(run), "--to", "sglang"],
        "fit": [str(log), "--candidates", "independent", "--quiet"],
        "plan": [experiment, "--json", "--quiet", *few],
    }
    done = command(verb, *rest[verb], stdout=closed_pipe)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("sh"), reason="this system has no shell that closes a stream")
def test_streams_that_are_closed_from_the_start(experiment, tmp_path, no_pictures):
    """Files must not take their place either, and be printed into."""
    out = str(tmp_path / "run")
    asked = ["run", experiment, "--out", out, "--set", "simulation.requests=200"]

    def closed(*arguments):
        line = [sys.executable, "-m", "mtpsim", *arguments]
        return subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *line]).returncode

    assert closed("schema") == 0
    assert closed("check", str(tmp_path / "nope.toml")) == 2
    assert main(asked) == 0
    written = {path.name: path.read_bytes() for path in Path(out).iterdir()}
    again = str(tmp_path / "again")
    assert closed("run", experiment, "--out", again, *asked[4:]) == 0
    for name in ("result.csv", "experiment.toml", "tallies.jsonl"):
        assert (tmp_path / "again" / name).read_bytes() == written[name]


@pytest.mark.parametrize("buffers", BUFFERS)
def test_a_run_with_closed_pipes_is_saved(buffers, closed_pipe, experiment, tmp_path):
    out = tmp_path / "run"
    closed = {"stdout": closed_pipe, "stderr": closed_pipe}
    done = command("run", experiment, "--out", str(out), buffers=buffers, **closed)
    assert done.returncode == 0
    assert {"result.json", "result.csv", "report.html"} <= {path.name for path in out.iterdir()}
    shown = command("show", str(out), buffers=buffers, stdout=closed_pipe)
    assert shown.returncode == 0
    assert "report.html" in shown.stderr


@pytest.mark.parametrize("end", ["reader", pytest.param("disk", marks=FULL)])
def test_a_merge_that_cannot_be_printed_is_saved(
    end, closed_pipe, experiment, tmp_path, no_pictures
):
    parts = [str(tmp_path / part) for part in "ab"]
    for number, part in enumerate(parts, 1):
        asked = ["--part", f"{number}/2", "--out", part, "--quiet"]
        assert main(["run", experiment, *asked]) == 0
    with open("/dev/full", "w") as full:
        out = full if end == "disk" else closed_pipe
        done = command("merge", *parts, "-o", str(tmp_path / "both"), stdout=out)
    assert (tmp_path / "both" / "result.json").is_file()
    assert done.returncode == (2 if end == "disk" else 0), done.stderr
    assert ("No space left" in done.stderr) == (end == "disk")


@FULL
@pytest.mark.parametrize("buffers", BUFFERS)
def test_a_full_disk_is_an_error_message(buffers, experiment):
    with open("/dev/full", "w") as full:
        done = command("check", experiment, buffers=buffers, stdout=full)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_long_log_is_generated_while_it_is_read(experiment):
    """Ten million requests would take an hour."""
    asked = ["sample", experiment, "--as", "csv", "--requests", "10000000"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with python("-m", "mtpsim", *asked, **pipes) as process:
        assert process.stdout.readline().startswith("request,")
        process.stdout.close()
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""
