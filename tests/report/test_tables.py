"""Tables at any width, numbers as text, tidy rows and progress."""

import csv
import io
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import mtpsim
from mtpsim.common.compilation import COMPILING, compilation
from mtpsim.report import progress as progress_module
from mtpsim.report.document import Interval, Loss, ResultDocument
from mtpsim.report.formatting import (
    MISSING,
    bracketed,
    cells_of,
    fixed,
    level,
    plus_minus,
    shared_decimals,
    short_names,
)
from mtpsim.report.progress import Progress, ProgressBar, progress_display
from mtpsim.report.serialization import columns, rows, write_csv
from mtpsim.report.tables.diagnostics import print_definitions, request_sentence
from mtpsim.report.tables.result import render, sample_sentence
from mtpsim.report.tables.sweep import summary_table, sweep_heading
from mtpsim.report.tables.terminal import VerdictText, console_on
from tests.support.examples import TWO_DEEP, independent, latency, section, simulation
from tests.support.report_example import (
    EXAMPLES,
    document,
    example_point,
    example_result,
    example_sweep,
    without_numbers,
)

INDEPENDENT_12 = independent(*[0.7] * 12) + latency(76, list(range(81, 93)), 2)


def printed(result: ResultDocument, width: int = 100, **options: Any) -> str:
    file = io.StringIO()
    render(result, Console(file=file, width=width, **options))
    return file.getvalue()


class TestTable:
    @pytest.mark.parametrize("name", EXAMPLES)
    @pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 140, 170, 200])
    def test_lines_fit_and_no_value_is_cut_off(self, name, width):
        pipe = printed(EXAMPLES[name], width)
        assert "…" not in pipe
        assert width < 80 or max(map(len, pipe.splitlines())) <= width
        assert printed(EXAMPLES[name], width, force_terminal=True, color_system=None) == pipe

    @pytest.mark.parametrize("width", [60, 80, 100])
    def test_values_of_a_wide_sweep_are_not_cut_off(self, width):
        keys = "latency.noise.persistence", "acceptance.correlation", "theory.measured_at"
        sets = [dict.fromkeys(keys, value) for value in (0.125, 0.625)]
        points = [example_point(each, relative_half_width=0.002) for each in sets]
        text = printed(document(points), width).partition("All 2 points")[2]
        assert max(map(len, text.splitlines())) <= max(width, 84)  # what long names of keys take
        row = next(x for x in text.splitlines() if x.count("0.625") == 3)
        best = points[1].depths[2].speedup
        assert re.search(rf" 2  {best.mean:.3f} (±0.003|\[{best.low:.3f}, )", row)

    def test_closed_form_has_two_decimals_beside_wide_intervals(self):
        text = printed(example_result(relative_half_width=2.0), 200)
        row = next(x for x in text.splitlines() if x.startswith("     2"))
        assert " 1.54 " in row

    def test_each_point_states_its_swept_confidence(self):
        whole = {"simulation": {"confidence": 0.9}}
        points = [example_point(p) for p in ({"simulation.confidence": 0.6}, whole, {})]
        text = printed(document(points))
        assert re.findall(r"(\d+ %) intervals", text) == ["60 %", "90 %", "95 %"]
        assert level(document(points)) == "60 % to 95 %"

    @pytest.mark.parametrize("name", EXAMPLES)
    @pytest.mark.parametrize("width", [60, 80, 100, 140])
    def test_each_depth_is_one_line(self, name, width):
        """A wrapped cell would put a fragment on a line that does not start with a depth."""
        body = re.findall(r"─\n((?:.+\n)+)", printed(EXAMPLES[name], width))
        assert body
        for line in "".join(body).splitlines():
            name = re.match(r" (▸|  ?)? *(input|cond|surv|pool|p1 at)", line)
            assert name or re.match(r" *(▸ )?[\d.]+ ", line), line

    def test_plain_text_has_the_numbers_the_mark_and_the_advice(self):
        result = example_result()
        text = printed(result)
        best = result.points[0].depths[2]
        row = next(line for line in text.splitlines() if line.strip().startswith("▸ 2"))
        for number in (plus_minus(best.speedup, 3), "+10.4 %, optional", "holds"):
            assert number in row
        steps = re.findall(r"^ (1 to 2|2 to 3) +(0\.\d+) +(0\.\d+)", text, re.M)
        assert steps == [("1 to 2", "0.459", "0.74"), ("2 to 3", "0.719", "0.67")]
        assert result.points[0].advice.sentence in text
        assert "\x1b" not in text

    def test_wide_table_has_theory_and_exact_of_everything(self):
        header = printed(example_result(), 200).partition("─")[0]
        assert header.count("exact") == 2
        assert len(re.findall("closed(?!-)", header)) == 3
        assert header.count("verdict") == 2

    @pytest.mark.parametrize("key", ["NO_COLOR", None])
    def test_colour_only_where_wanted(self, monkeypatch, key):
        monkeypatch.delenv("NO_COLOR", raising=False)
        if key:
            monkeypatch.setenv(key, "1")
        text = printed(example_result(), force_terminal=True, color_system="standard")
        assert ("\x1b[32m" in text or "\x1b[1;32m" in text) == (key is None)

    @pytest.mark.parametrize("name", EXAMPLES)
    def test_missing_numbers_are_dashes(self, name):
        text = printed(without_numbers(EXAMPLES[name]))
        assert not re.search(r"(?i:\bnan\b|inf\b)|None", text)
        assert re.search(r" - ", text)

    def test_ascii_console_gets_ascii(self):
        raw = io.BytesIO()
        file = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
        render(example_sweep(), Console(file=file, width=100))
        file.flush()
        assert b"> 2" in raw.getvalue()
        assert b"+-" in raw.getvalue()

    def test_sweep_summary_names_points_and_verdicts(self):
        summary = printed(example_sweep()).partition("All 3 points")[2]
        assert "noise.cv" in summary
        shown = [line.split()[0] for line in summary.splitlines() if "±" in line]
        assert shown == ["0", "0.1", "0.4"]
        assert summary.count("fails") == 2

    def test_a_sweep_prints_its_heading_and_no_quantiles(self, monkeypatch):
        sentence = "mtpsim.report.tables.diagnostics.request_sentence"
        monkeypatch.setattr(sentence, lambda _: "Requests: p50 1 s.")
        text, alone = printed(example_sweep()), printed(example_result())
        assert f"{sweep_heading(example_sweep())}." in text
        assert ("p50 1 s" in alone, "p50 1 s" in text) == (True, False)

    def test_long_sweep_has_a_summary_and_its_warnings(self):
        text = printed(EXAMPLES["long sweep"])
        assert len(re.findall(r"^ +best +form +form *$", text, re.M)) == 1
        assert "even p" not in text
        assert "warning: the round time varies by 40 %" in text
        assert "(noise.cv = 1.2)" in " ".join(text.split())

    def test_definitions_of_the_rates_have_a_row_each(self):
        result = example_result()
        text = printed(result)
        rows = result.points[0].trial.rows
        survival = next(r for r in rows if r.definition == "survival")
        line = next(x for x in text.splitlines() if "survival used as conditional  " in x)
        for entry in survival.depths[1:]:
            assert f"{100 * entry.speedup_error.mean:+.1f}" in line
        assert "▸ input rates" in text
        assert "request mean" in text
        assert ", all of the text" not in text  # the same here as over rounds
        assert "would be 3x too narrow" in text
        assert "10 % of the variance of accepted drafts lies between requests" in text
        assert "Conditional rates rise by 0.020" in text
        assert "p1 falls from 0.790 at depth 1 to 0.770 at depth 3" in text

    @pytest.mark.parametrize(("width", "rows", "note"), [(110, 12, False), (60, 5, True)])
    def test_many_depths_are_shown_or_said_to_be_missing(self, width, rows, note):
        text = INDEPENDENT_12 + simulation(requests=50, rounds=20)
        result = mtpsim.run(mtpsim.parse(text)).data
        table = printed(result, width).partition("Closed-form error")[2].partition("\n\n")[0]
        assert len(re.findall(r"^.*(?:holds|fails|undecided) *$", table, re.M)) == rows
        assert ("2 of 12 depths are shown; result.json has all" in table) == note

    def test_the_measured_depth_is_among_the_depths_shown(self):
        text = INDEPENDENT_12 + simulation(requests=50, rounds=20) + "[theory]\nmeasured_at = 6\n"
        trial = mtpsim.run(mtpsim.parse(text)).data.points[0].trial
        file = io.StringIO()
        print_definitions(trial, 12, Console(file=file, width=90))
        assert re.search(r"\b6\b", file.getvalue().partition("\n")[2])

    def test_narrow_terminals_drop_columns_of_theory_first_and_never_verdicts(self):
        heads = [printed(example_result(), n).partition("──")[0] for n in (80, 66, 40)]
        assert ["closed" in head for head in heads] == [True, False, False]
        assert ["length" in head for head in heads] == [True, True, False]
        assert all("step" in head and "speedup" in head for head in heads)

    def test_speedups_with_uncertain_inputs_have_centre_and_width_of_one_law(self):
        text = independent(0.8, 0.7) + TWO_DEEP + simulation(requests=500, rounds=50)
        text += "[uncertainty]\ndraws = 50\n"
        text += '[uncertainty.inputs]\n"latency.verify" = { se = [9, 9] }\n'
        point = mtpsim.run(mtpsim.parse(text)).data.points[0]
        for cell, found in zip(cells_of(point, "speedup"), point.uncertainty.depths, strict=True):
            assert cell.mean == found.speedup.mean
        assert point.depths[1].speedup.mean != point.uncertainty.depths[1].speedup.mean

    @pytest.mark.parametrize(("verify", "without"), [([76, 76], True), ([90, 104], False)])
    def test_intervals_without_input_uncertainty_say_so(self, verify, without):
        text = independent(0.8, 0.7) + section("latency", target=76, verify=verify, draft=[0, 0])
        text += simulation(requests=100, rounds=20) + "[uncertainty]\ndraws = 20\n"
        text += '[uncertainty.inputs]\n"acceptance.rates" = { se = [0.05, 0.05] }\n'
        result = mtpsim.run(mtpsim.parse(text)).data
        found = sample_sentence(result, result.points[0])
        assert ("intervals without input uncertainty" in found) == without
        assert ("over uncertain inputs" in found) != without

    @pytest.mark.parametrize("requests", [9, 500])
    def test_a_sweep_of_few_requests_names_no_best_depth(self, requests):
        text = independent(0.8, 0.7) + TWO_DEEP + simulation(requests=requests, rounds=20)
        result = mtpsim.run(mtpsim.parse(text + '[sweep]\n"latency.target" = [70, 80]\n')).data
        enough = requests > 9
        assert ("Too few requests" in sweep_heading(result)) != enough
        rows = summary_table(result).rows
        assert [row.cells[1] == MISSING for row in rows] == [not enough] * 2

    def test_sweep_has_a_column_per_definition(self):
        text = printed(example_sweep()).partition("Closed-form error (%) at the best depth")[2]
        assert "survival  pooled" in text
        assert "adjusted for 9 comparisons (Holm)" in text

    def test_sweep_names_depth_0_where_it_is_best(self):
        on = example_point({"latency.batch": 1})
        off = example_point({"latency.batch": 1024}, round_time=[76, 200, 300, 400])
        assert (on.advice.depth, off.advice.depth) == (2, 0)
        text = printed(document([on, off])).partition("Closed-form error (%) at the best depth")[2]
        first, last = re.findall(r"^ +(?:1|1024)  .*$", text, re.M)
        assert first.split()[1] == "2"
        assert last.split()[1:] == ["0", "(off)", *(len(first.split()) - 2) * ["-"]]

    def test_interrupted_and_undecided_points_are_reported(self):
        point = example_point(relative_half_width=0.05)
        missed = replace(point, precision_reached=False)
        assert "precision not reached" in printed(document([missed]))
        assert "precision" not in printed(document([replace(point, precision_reached=None)]))
        assert "interrupted" in printed(document([replace(point, interrupted=True)]))
        text = " ".join(printed(document([point], warnings=["the machine is warm"])).split())
        assert "undecided at depths 1, 2, 3; about 12,000 more requests" in text
        assert "warning: the machine is warm" in text

    def test_titles_are_not_markup(self):
        result = example_result()
        result.experiment["title"] = "[red]odd[/] $x_"
        assert "[red]odd[/] $x_" in printed(result)


class TestNumbers:
    def test_verdicts_have_a_tone_and_undecided_steps_are_labelled(self):
        words = "holds", "harmful", "undecided", ""
        shown = {verdict: VerdictText(verdict) for verdict in words}
        assert list(shown.values()) == ["holds", "harmful", "undecided", "-"]
        assert [text.tone for text in shown.values()] == ["good", "bad", "open", ""]
        point = example_point()
        point.advice.steps[1].verdict = "undecided"
        row = next(x for x in printed(document([point])).splitlines() if x.startswith("   ▸ 2"))
        assert row.split()[-2:] == ["undecided", "holds"]

    @pytest.mark.parametrize(
        ("half", "text"),
        [
            (0.0015, "1.541 [1.539, 1.542]"),
            (0.2, "1.5 [1.3, 1.7]"),
            (0, "1.5406"),
            (30, "2 [-28, 32]"),
        ],
    )
    def test_digits_come_from_the_width(self, half, text):
        cell = Interval(mean=1.5406, low=1.5406 - half, high=1.5406 + half)
        assert bracketed(cell, shared_decimals([cell, None])) == text

    @pytest.mark.parametrize(
        ("ms", "half", "text"),
        [
            (23_598, 2.1, "p50 23.598 s [23.596, 23.600]"),
            (23_598, 210, "p50 23.60 s [23.39, 23.81]"),
            (98.0, 0.0, "p50 98.00 ms,"),
            (98.0, 1e-6, "p50 98.0000 ms,"),
            (2_360, 20, "p50 2,360 ms [2,340, 2,380]"),
        ],
    )
    def test_no_interval_of_a_request_has_equal_ends(self, ms, half, text):
        cell = Interval(mean=ms, low=ms - half, high=ms + half)
        point = example_point()
        for depth in point.depths:
            depth.request_time = dict.fromkeys(("p50", "p95", "p99"), cell)
            depth.request_speed = dict.fromkeys(("p50", "p1"), cell)
        assert text in request_sentence(point)
        assert bracketed(Interval(mean=23.6, low=23.5999, high=23.6001), 2) == "23.60"

    def test_80_columns_have_the_closed_form_and_the_verdict_on_a_step(self):
        text = printed(example_result(), 80)
        assert "+10.4 %, optional" in text
        assert "closed" in text.partition("Run depth")[0]
        assert "Run depth 2: 1.5" in text

    def test_a_column_shares_the_digits_of_its_narrowest_interval(self):
        cells = [Interval(mean=1, low=1 - half, high=1 + half) for half in (0.1, 0.01, 1e-15)]
        rounding = Interval(mean=118, low=118 - 2e-7, high=118 + 2e-7)  # slopes by differences
        assert shared_decimals([*cells, rounding]) == 2
        assert plus_minus(rounding, 2) == "118.00"

    def test_missing_and_negative_zero(self):
        bare = Interval(mean=None, low=None, high=None)
        assert bracketed(None, 2) == plus_minus(bare, 2) == fixed(float("nan"), 1) == "-"
        assert fixed(-0.0001, 2) == "0.00"
        assert plus_minus(replace(bare, mean=1), 1) == "1.0"
        assert bracketed(replace(bare, mean=1), 1) == "1.0"
        for text in (plus_minus, bracketed):
            assert text(replace(bare, mean=1, low=0.5), 1) == "1.0 [0.5, -]"
            assert text(replace(bare, mean=1, high=1.5), 1) == "1.0 [-, 1.5]"
            assert text(replace(bare, low=0.5), 1) == "-"

    def test_short_names_stay_distinct(self):
        assert short_names(["latency.noise.cv", "acceptance.mean"]) == {
            "latency.noise.cv": "noise.cv",
            "acceptance.mean": "mean",
        }
        clash = ["a.mean", "b.mean"]
        assert short_names(clash) == dict(zip(clash, clash, strict=True))


class TestRows:
    def test_one_row_per_point_depth_and_quantity(self):
        tidy = rows(example_sweep())
        keys = [(r["point"], r["depth"], r["quantity"]) for r in tidy]
        assert len(set(keys)) == len(keys) == 3 * (3 + 3 * 6 + 3 * 3)
        assert all(list(r) == columns(example_sweep()) for r in tidy)
        row = tidy[keys.index((keys[0][0], 3, "break_even_rate"))]
        assert row["theory"] == pytest.approx(0.7191, abs=5e-5)
        assert row["now"] == 0.67

    def test_what_the_choice_of_a_depth_rests_on(self):
        point = example_point()
        loss = {"mean": 0.1, "low": 0.05, "high": 0.2, "verdict": "worse"}
        point.depths[3].loss = Loss(**loss, best=0.3, regret=0.02)
        by_name = {r["quantity"]: r for r in rows(document([point])) if r["depth"] == 3}
        depth, step = point.depths[3], point.advice.steps[2]
        assert list(by_name["loss"])[-3:] == ["p_best", "regret", "now"]
        assert by_name["loss"]["p_best"] == depth.loss.best
        assert by_name["loss"]["regret"] == depth.loss.regret
        assert by_name["step_gain"]["verdict"] == step.verdict == "harmful"
        assert by_name["step_gain"]["low"] == step.low
        for name in ("verify", "draft"):
            time = getattr(depth.break_even, name)
            found = by_name[f"break_even_{name}"]
            assert (found["mean"], found["low"], found["now"]) == (time.at, time.low, time.now)

    def test_csv_round_trip(self, tmp_path):
        result = example_sweep()
        path = write_csv(result, tmp_path / "result.csv")
        with path.open(newline="") as file:
            read = list(csv.DictReader(file))
        wanted = rows(result)
        assert len(read) == len(wanted)
        for got, row in zip(read, wanted, strict=True):
            for name, value in row.items():
                if value is None:
                    assert got[name] == ""
                elif isinstance(value, float):
                    assert float(got[name]) == value
                else:
                    assert got[name] == str(value)

    def test_swept_lists_are_json(self, tmp_path):
        result = document([example_point({"latency.verify": [90, 104.5]})])
        with write_csv(result, tmp_path / "r.csv").open(newline="") as file:
            assert json.loads(next(csv.DictReader(file))["latency.verify"]) == [90, 104.5]


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(progress_module, "time", clock)
    return clock


class TestProgress:
    @pytest.mark.parametrize(
        ("quiet", "seconds", "lines"), [(False, 0.099, 0), (True, 10.0, 0), (False, 1.0, 4)]
    )
    def test_short_and_quiet_runs_print_nothing_and_stuck_ones_a_heartbeat(
        self, quiet, seconds, lines, clock, capsys
    ):
        with progress_display(quiet=quiet) as report:
            for step in range(100 if lines else 10):
                clock.now = step * seconds
                report(Progress("", 0.05, step))
        assert len(capsys.readouterr().err.splitlines()) == lines

    def test_lines_are_few_and_state_the_progress(self, clock, capsys):
        with progress_display() as report:
            for step in range(1001):
                clock.now = step * 0.1
                report(Progress("noise.cv = 0.1", step / 1000, 10 * step, 0.01, 0.001))
        out, err = capsys.readouterr()
        lines = err.splitlines()
        assert out == ""
        assert lines[0] == "noise.cv = 0.1: 2 % done, 200 requests, ±1 % reached, ±0.1 % asked"
        shares = [int(re.search(r"(\d+) % done", line)[1]) for line in lines]
        assert 5 <= len(lines) <= 10
        assert min(np.diff(shares)) >= 10

    def test_bar_on_a_terminal_from_many_threads(self):
        file = io.StringIO()
        console = Console(file=file, force_terminal=True, width=100)
        with progress_display(console=console) as report:

            def work(number):
                for step in range(50):
                    report(Progress(f"point {number}", step / 50, step, 0.02, 0.01))

            with ThreadPoolExecutor(4) as pool:
                list(pool.map(work, range(4)))
            report(Progress("[b]last", 0.5, 1234, 0.02, 0.01))
        assert "[b]last" in file.getvalue()
        assert "1,234 requests, ±2 %" in file.getvalue()

    @pytest.mark.parametrize("columns", [60, 80, 100])
    def test_bar_of_a_sweep_keeps_share_and_count_and_cuts_off_the_name(self, columns, clock):
        bar, file = ProgressBar(), io.StringIO()
        clock.now = 30.0
        label = "250/300: latency.target = 27, acceptance.sojourn = [200, 100]"
        bar.report(Progress(label, 0.5, 400, 0.004, 0.005, point=249, points=300))
        Console(file=file, width=columns).print(bar.line(columns))
        (line,) = file.getvalue().splitlines()
        assert len(line) <= columns
        assert " 83 %  0:06 left  250/300  400 requests" in line.replace("…", "")
        bar.report(Progress("250/300 scenarios", 0.0, point=249, points=300))
        assert " 83 %" in bar.text

    def test_a_compilation_is_shown_and_its_time_is_not_of_the_simulation(self, clock, monkeypatch):
        monkeypatch.setattr("mtpsim.common.compilation.time", clock)
        bar = ProgressBar()
        compilation.begin()
        compilation.begin()  # of a kernel within
        compilation.end()
        clock.now = 12.0
        assert bar.text == f"{COMPILING}; 12 s so far"
        compilation.end()
        clock.now = 16.0
        bar.report(Progress("", 0.5, 10))
        assert bar.text == " 50 %  0:04 left  10 requests  simulating"


class TestWidth:
    """How wide tables are: COLUMNS, else the terminal, else enough for all of them."""

    @pytest.mark.parametrize(
        ("columns", "in_a_pipe", "on_a_terminal"),
        [
            *[(wrong, 170, 93) for wrong in (None, "0", "wide", "")],
            *[("80", 80, 80), ("120", 120, 120), ("1", 40, 40)],
        ],
    )
    def test_columns_is_respected(self, monkeypatch, columns, in_a_pipe, on_a_terminal):
        monkeypatch.setattr("os.get_terminal_size", lambda _: os.terminal_size((93, 20)))
        monkeypatch.delenv("COLUMNS", raising=False)
        if columns is not None:
            monkeypatch.setenv("COLUMNS", columns)
        for terminal, width in ((False, in_a_pipe), (True, on_a_terminal)):
            file = io.StringIO()
            file.isatty, file.fileno = lambda t=terminal: t, lambda: 1
            assert console_on(file).width == width


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_the_command_respects_columns(columns, tmp_path, monkeypatch, cli, no_pictures):
    path, widths = tmp_path / "e.toml", {}
    path.write_text(independent(0.8, 0.7) + TWO_DEEP + simulation(requests=200, rounds=20))
    for value in (str(columns), ""):
        monkeypatch.setenv("COLUMNS", value)
        done = cli("run", path, "--out", tmp_path / "run", "--quiet")
        widths[value] = max(map(len, done.out.splitlines()))
    assert widths[str(columns)] <= columns < widths[""]
