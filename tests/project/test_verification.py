"""The tools of the verification: criteria, command, page, and its searches for faults."""

import subprocess
import sys

import numpy as np
import pytest

from verification import fuzz, page
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
    first, last = timed(Suite("some", "Does it?"), True)
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


def test_unknown_suites_are_refused():
    command = [sys.executable, "verification/run.py", "fuss"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "unknown suite 'fuss'; one of three_ways," in ended.stderr


@pytest.mark.parametrize("name", [name for name, (_, few, _) in fuzz.AREAS.items() if few])
def test_damaged_input_ends_with_a_result_or_an_error_message(name):
    area, few, _ = fuzz.AREAS[name]
    tried, fault = fuzz.search(area, few, number=2)
    assert fault == ""
    assert tried >= few / 2


@pytest.mark.parametrize("name", fuzz.CONTROLS)
def test_planted_faults_are_found(name):
    area, plant = fuzz.CONTROLS[name]
    with plant():
        assert fuzz.search(area, 100, shrink=False)[1]
