"""Compiled kernels are kept in a folder that goes with the test session, unless one is given."""

import os
import tempfile

import pytest

if "NUMBA_CACHE_DIR" not in os.environ:
    _cache = tempfile.TemporaryDirectory(prefix="mtpsim-tests-")
    os.environ["NUMBA_CACHE_DIR"] = _cache.name


@pytest.fixture
def no_pictures(monkeypatch):
    """Runs write numbers alone; pictures take longer than the small runs of tests."""

    def nothing(self, experiment, folder):
        (folder / "report.html").touch()
        return [folder / "report.html"]

    monkeypatch.setattr("mtpsim.results.document.Result.save_report", nothing)


@pytest.fixture
def pictures(no_pictures, monkeypatch):
    """Runs write pictures after all."""
    monkeypatch.undo()


@pytest.fixture(scope="session")
def requests():
    """Forty requests, as engines would log them."""
    import mtpsim
    from mtpsim.cli.sample import sample_requests
    from tests.support.engine_logs import EXPERIMENT

    return list(sample_requests(mtpsim.parse(EXPERIMENT), [3], 40))
