"""Where matplotlib keeps its cache."""

import os
import stat

import pytest

from mtpsim import report


@pytest.fixture
def homeless(monkeypatch, tmp_path):
    """No folder of the user is writable; the temporary directory."""
    blocked = tmp_path / "file"
    blocked.touch()
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(blocked))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    return tmp_path


def test_without_a_writable_home_runs_share_one_private_folder(homeless):
    for _ in range(2):
        os.environ.pop("MPLCONFIGDIR", None)
        report.share_matplotlib_cache()
    (folder,) = homeless.glob("mtpsim-*")
    assert os.environ["MPLCONFIGDIR"] == str(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_others_can_write_to_is_not_used(homeless):
    (homeless / f"mtpsim-matplotlib-{os.getuid()}").mkdir(mode=0o777)
    (homeless / f"mtpsim-matplotlib-{os.getuid()}").chmod(0o777)
    report.share_matplotlib_cache()
    assert "MPLCONFIGDIR" not in os.environ
