"""Fixtures of all tests; one cache of compiled kernels; the `slow` marker."""

import os
from pathlib import Path
from typing import NamedTuple

import pytest

# Next to pytest's own cache, for all workers and later sessions: its folders are named by a hash of
# the kernels' code. Processes that tests start inherit it.
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(".pytest_cache/numba").absolute()))

SLOW = (  # files and tests of more than some seconds; `-m "not slow"` leaves them out
    "tests/engine/test_executors.py",
    "tests/engine/test_policy_player.py",
    "tests/project/test_contributing.py::test_toys",
    "tests/project/test_experiments.py",
    "tests/project/test_notebooks.py",
    "tests/project/test_site.py",
    "tests/runs/test_resume.py",
)
LONGEST = (  # files that several workers begin with, the longest first, so that all end together
    "tests/engine/test_policy_player.py",  # also compiles what most others need
    "tests/kernels/test_server.py",
    "tests/project/test_experiments.py",
    "tests/engine/test_executors.py",
    "tests/fit/test_draft_lengths.py",
    "tests/cli/test_fit.py",
    "tests/benchmark/test_power.py",
    "tests/fit/test_model.py",
    "tests/cli/test_fit_replay.py",
    "tests/cli/test_streams.py",
    "tests/project/test_notebooks.py",
    "tests/report/test_page.py",
    "tests/cli/test_main.py",
)


def pytest_collection_modifyitems(config, items):
    """Mark the slow tests; sort files for `pytest -n 2 --dist loadfile --no-loadscope-reorder`."""
    for item in items:
        if item.nodeid.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
    if hasattr(config, "workerinput"):  # of pytest-xdist
        place = {name: number for number, name in enumerate(LONGEST)}
        items.sort(key=lambda item: place.get(item.nodeid.split("::")[0], len(LONGEST)))


@pytest.fixture
def no_pictures(monkeypatch):
    """Runs write numbers only; drawing takes longer than the small runs of tests."""

    def nothing(self, experiment, folder):
        (folder / "report.html").touch()
        return [folder / "report.html"]

    monkeypatch.setattr("mtpsim.results.document.Result.save_report", nothing)


@pytest.fixture
def pictures(no_pictures, monkeypatch):
    """Runs draw pictures after all."""
    monkeypatch.undo()


@pytest.fixture(scope="session")
def requests():
    """Forty requests, as engines would log them."""
    import mtpsim
    from mtpsim.cli.sample import sample_requests
    from tests.support.engine_logs import EXPERIMENT

    return list(sample_requests(mtpsim.parse(EXPERIMENT), [3], 40))


class Finished(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def shown(self):
        """Standard output with all white space as single blanks."""
        return " ".join(self.out.split())


@pytest.fixture
def cli(capsys):
    """A function that runs a command in this process."""
    from mtpsim.cli.main import main

    def run(*arguments):
        capsys.readouterr()
        return Finished(main([str(argument) for argument in arguments]), *capsys.readouterr())

    return run
