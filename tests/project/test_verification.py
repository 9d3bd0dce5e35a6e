"""The verification's own tools: its tests of random words, its judgement, its one command."""

import subprocess
import sys

import numpy as np
import pytest

from verification import battery, equivalent, mixers, mutation, page
from verification.check import Check, Table, overall, rate_in_words
from verification.mutants import mutants
from verification.run import Suite, timed
from verification.scores import Scores


@pytest.mark.parametrize("name", battery.TESTS)
def test_a_test_of_random_words_passes_another_generator_and_sees_what_is_not_random(name):
    test, rng = battery.TESTS[name], np.random.Generator(np.random.PCG64(5))
    good = rng.integers(0, 2**32, 2**18, dtype=np.uint32)
    assert test(good) > 1e-4
    sine = (np.sin(np.arange(2**18)) * 2**30 + 2**31).astype(np.uint32)
    repeated = np.tile(good[: 2**12], 2**6)
    parity = good ^ (np.bitwise_count(good).astype(np.uint32) & np.uint32(1))  # always even
    assert min(test(bad) for bad in (sine, repeated, parity)) < 1e-10


def test_p_values_of_the_battery_are_uniform():
    """Kolmogorov-Smirnov at 1 in 10,000 over 13 tests of 20 streams each; fixed seeds."""
    from scipy import stats

    rng = np.random.Generator(np.random.PCG64(6))
    found = [battery.run(rng.integers(0, 2**32, 2**16, dtype=np.uint32)) for _ in range(20)]
    for name in battery.TESTS:
        p = [values[name] for values in found]
        coarse = name == "collisions"  # half a collision is expected: hardly any values
        assert coarse or stats.kstest(p, "uniform").pvalue > 1e-4 / 13, name


def test_streams_are_of_the_length_asked_for_and_share_no_word_by_address():
    for name, stream in mixers.STREAMS.items():
        words = stream(mixers.RIGHT, 2**16, 3)
        assert words.size == 2**16, name
        assert words.size - np.unique(words).size < 10, name  # 0.5 collisions are expected


def test_a_mixer_that_is_asked_for_part_of_a_call_refuses():
    with pytest.raises(ValueError, match="3 ticks are no multiple of 4"):
        mixers.engine(1, 0, 0, 0, 3, 1)


@pytest.mark.parametrize("name", mixers.FAULTS)
def test_faults_change_the_words_of_some_stream(name):
    fault = mixers.FAULTS[name]
    assert any(
        (stream(fault, 2**14, 1) != stream(mixers.RIGHT, 2**14, 1)).any()
        for stream in mixers.STREAMS.values()
    )


def test_scores_notice_a_shift_and_one_that_is_far_off():
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


def test_rates_of_false_alarms_add_up():
    assert overall([0.1, None, 0.0, 0.1]) == pytest.approx(0.19)
    assert rate_in_words(1e-4) == "1 in 10,000"
    assert rate_in_words(0.0) == "none"
    assert rate_in_words(None) == "not stated"


def test_a_suite_that_breaks_is_a_check_that_failed(monkeypatch):
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
    assert "No full run by this command yet." in text
    assert "about once in 10,000 runs" in text
    assert Table("x").markdown() == "| x |\n| --- |"


def test_unknown_suites_are_refused():
    command = [sys.executable, "verification/run.py", "fuss"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "there is no 'fuss'" in ended.stderr


def test_explained_mutants_are_of_code_that_is_there():
    for same in equivalent.EQUIVALENT:
        assert same.lines, same
        assert "|" not in same.code + same.change + same.why, same


def test_explanations_of_more_or_fewer_than_survive_are_wrong():
    known = [m for m in mutants("tally") if m.change == "rows - mean -> rows + mean"]
    assert len(known) == 2
    assert all(map(equivalent.explained, known))
    assert equivalent.wrong("tally", known) == []
    for left, count in ((known[:1], 1), ([*known, known[0]], 3), ([], 0)):
        assert [error.split(", ")[-1] for error in equivalent.wrong("tally", left)] == [
            f"{count} survive"
        ]


def test_a_module_that_is_run_alone_keeps_the_rows_of_others(tmp_path, monkeypatch):
    monkeypatch.setattr(mutation, "PAGE", tmp_path / "mutation.md")
    known = [m for m in mutants("tally") if m.change == "rows - mean -> rows + mean"]
    assert mutation.finish("theory", 9, [], True) == (
        "9 mutants, 9 killed, 0 explained, 0 left",
        True,
    )
    assert mutation.finish("tally", 8, known, True)[1]
    assert not mutation.finish("exact", 7, known[:1], False)[0].endswith("explanations")
    text = mutation.PAGE.read_text()
    assert "| theory | 9 | 9 | 0 | 0 |" in text
    assert "| tally | 8 | 6 | 2 | 0 |" in text
    assert "| exact | not run |" in text
    assert not mutation.finish("tally", 8, known[:1], True)[1]
    assert "| tally | 8 | 7 | 1 | 0 |" in mutation.PAGE.read_text()
