"""The tools of the verification: criteria, command, page, and its searches for faults."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from verification import fuzz, page, run
from verification.check import Check, Table, coverage_slack, overall, rate_text
from verification.run import Suite, timed
from verification.scores import Scores


def test_scores_find_a_shift_and_an_outlier():
    rng = np.random.default_rng(1)
    right, shifted, far = Scores(), Scores(), Scores()
    for z in rng.normal(size=400).tolist():
        right.add({"tokens": [z]}, rng)
        shifted.add({"tokens": [z + 0.8]}, rng)
        far.add({"tokens": [z]}, rng)
    far.every.append(9.0)
    assert right.found() is None
    assert "KS" in (shifted.found() or "")
    assert "|z| 9.0" in (far.found() or "")


def test_false_alarm_rates():
    assert overall([0.1, 0.0, 0.1]) == pytest.approx(0.19)
    assert rate_text(1e-4) == "1 in 10,000"
    assert rate_text(0.0) == "none"
    assert coverage_slack(0.95, 1900, 0.01) == pytest.approx(0.03)


def test_an_exception_in_a_suite_is_a_failed_check(monkeypatch):
    def broken(self, smoke):
        yield Check("first", "holds", "1", True)
        raise RuntimeError("the rest did not run")

    monkeypatch.setattr(Suite, "checks", broken)
    suite = Suite("some", "Does it?")
    first, last = timed(suite, suite.checks(True))
    assert first.ok
    assert first.seconds >= 0
    assert not last.ok
    assert "the rest did not run" in last.result


def test_the_page_keeps_rows_of_suites_that_were_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "HERE", tmp_path)
    row = {"name": "a", "statement": "b | c", "result": "d", "ok": False, "false_alarm": 1e-4}
    kept = {"some": {"date": "2026-01-01", "machine": "m", "checks": [row]}}
    page.write([Suite("some", "Does it?"), Suite("other", "And this?")], kept)
    text = (tmp_path / "README.md").read_text()
    assert "| a | b \\| c | d | 1 in 10,000 | 0.0 | **FAILS** |" in text
    assert "No full run yet." in text
    assert "correct code fails any row: 1 in 10,000." in text
    assert Table("x").markdown() == "| x |\n| --- |"


def test_counts_of_searches_add_up_until_a_fault_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "LAST", tmp_path / "last_run.json")
    monkeypatch.setattr(page, "HERE", tmp_path)
    control = Check("control", "found", "a fault", True, control=True)
    clean = Check("logs", "no traceback", "no fault", True, examples=100, peak=300.0, seconds=2.0)
    broken = replace(clean, ok=False, result="a traceback", examples=7)
    run.record("fuzz", [clean, control])
    more = replace(clean, peak=200.0, examples=50)
    for number, found, total in ((1, more, 150), (2, broken, 157), (3, more, 50), (4, more, 100)):
        run.record("fuzz", [found], searches=number)
        saved = run.saved()["fuzz"]
        logs, kept = (Check(**row) for row in saved["checks"])
        assert (logs.examples, logs.ok, saved["searches"]) == (total, found.ok, number)
        assert kept == control
    assert "100 examples; at most 200 MB; no fault" in (tmp_path / "README.md").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="memory of an example is measured on Linux")
def test_memory_is_measured_by_example():
    memory, most = fuzz.Memory(), fuzz.FRESH + 100
    with pytest.raises(AssertionError, match="MB of memory"), memory.limited(most):
        np.ones(200 * 2**17)  # MB
    with memory.limited(most):
        np.ones(2**17)
    assert memory.peak > fuzz.FRESH + 150


def test_unknown_suites_are_refused():
    command = [sys.executable, "verification/run.py", "fuss"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "unknown suite 'fuss'; one of three_ways," in ended.stderr
