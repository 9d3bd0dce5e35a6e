"""Messages: warnings and notes on inputs, singular and plural."""

import re

import numpy as np
import pytest

import mtpsim
from mtpsim.cli.fit_steps import cost_section, cost_warnings
from mtpsim.common.errors import InputError
from mtpsim.common.text import counted
from mtpsim.engine.block_sizes import unit_of
from mtpsim.fit.step_times import StepTimes, fit_cost_models
from mtpsim.report.experiment_text import explain, rates_are_note, time_estimate
from mtpsim.report.html.page import render_page
from mtpsim.report.tables.diagnostics import length_sentence
from tests.support.examples import TWO_DEEP, independent, latency, section, simulation

TEXT = independent(0.8, 0.7) + TWO_DEEP


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (("target = 76", "target = 0.02"), "a plain step takes 0.02 ms; was it given in seconds?"),
        (("target = 76", "target = 5"), "a verify at depth 1 takes 90 ms, a plain step 5 ms; was"),
        (("target = 76", "target = 2000"), "was one of them given in seconds?"),
        (
            ("verify = [90, 104]\ndraft = [8, 14]", "verify = 76\ndraft = 0"),
            "drafting costs no time",
        ),
        (
            ("verify = [90, 104]", "verify = [90, 80]"),
            "verify times fall with depth: 90 ms at depth 1, 80 ms at depth 2",
        ),
        (
            ("verify = [90, 104]\ndraft = [8, 14]", "verify = [76, 90]\ndraft = [0, 8]"),
            "lists start at depth 1, so leave out depth 0",
        ),
        (
            ("verify = [90, 104]", "verify = [60, 104]"),
            "a round at depth 1 takes 68 ms, less than a plain step (76 ms)",
        ),
    ],
)
def test_implausible_times(change, shown):
    assert mtpsim.parse(TEXT).warnings() == []
    assert shown in " ".join(mtpsim.parse(TEXT.replace(*change)).warnings())


OTHER = (
    "rates_are is not given: rates are taken as conditional. If they are survival rates (as vLLM "
    "reports), the conditional rates are 0.8 0.875"
)


def test_check_shows_rates_by_the_other_definition():
    assert OTHER in explain(mtpsim.parse(TEXT))
    stated = TEXT.replace("[latency]", 'rates_are = "conditional"\n[latency]')
    rising = TEXT.replace("[0.8, 0.7]", "[0.7, 0.8]")  # no survival rates
    single = TEXT.replace("rates = [0.8, 0.7]", "rate = 0.8\ndepth = 2")
    for text in (stated, rising, single):
        assert "rates_are" not in explain(mtpsim.parse(text))


def test_note_on_rates_under_a_sweep():
    text = TEXT + "[sweep]\n"
    swept = mtpsim.parse(text + '"acceptance.rates_are" = ["conditional", "survival"]\n')
    assert rates_are_note(swept) == []
    rates = mtpsim.parse(text + '"acceptance.rates" = [[0.5, 0.4], [0.8, 0.7]]\n')
    (shown,) = rates_are_note(rates)
    assert shown.endswith("conditional rates are 0.5 0.8 at the first point")


def test_percentages_and_json_are_recognized():
    with pytest.raises(InputError, match=r"80 is given; it must be at most 1; 80 % is 0\.8"):
        mtpsim.parse(independent(80, 0.7) + TWO_DEEP)
    with pytest.raises(InputError, match="it looks like JSON"):
        mtpsim.parse('{"acceptance": {}}')


def steps(noise):
    batch, depth = np.repeat([1.0, 8, 64], 3), np.tile([0.0, 1, 2], 3)
    verify = (6 + 0.02 * batch * (depth + 1)) * (1 + noise * np.sin(np.arange(9) ** 2))
    return StepTimes(batch, depth, verify, 2 * depth, np.zeros(9))


def test_poor_cost_model_gives_a_warning():
    good, poor = (steps(noise) for noise in (0.002, 0.1))
    assert cost_warnings(fit_cost_models(good)[0], good, {}) == []
    (text,) = cost_warnings(fit_cost_models(poor)[0], poor, {})
    assert text.startswith("poor fit: the best cost model is off by")


def test_sweep_beyond_the_measured_range_gives_a_warning():
    some = steps(0.0)
    like = {"sweep": {"latency.batch": [1, 64], "latency.cached": [0, 1000]}}
    fit = fit_cost_models(some)[0]
    (text,) = cost_warnings(fit, some, like)
    assert text == "`cached` was not measured: the sweep over latency.cached has no effect"
    (text,) = cost_warnings(fit, some, {"sweep": {"latency.batch": [1, 1024]}})
    assert "batches from 1 to 64 were measured, but the sweep goes from 1 to 1024" in text


def test_fitted_section_has_a_batch():
    fit = fit_cost_models(steps(0.0))[0]
    assert cost_section(fit, steps(0.0), {}, None)["batch"] == 1
    before = {"batch": 16, "noise": {"distribution": "gamma"}, "target": 3}
    kept = cost_section(fit, steps(0.0), before, None)
    assert (kept["batch"], kept["noise"]) == (16, {"distribution": "gamma"})
    assert "target" not in kept


def test_request_times_by_rounds_and_by_tokens():
    text = TEXT + "[simulation]\nrequests = 2000\n"
    rounds = str(mtpsim.run(mtpsim.parse(text + "rounds = 50\n")))
    assert "Requests of 50 rounds at depth 2: p50" in rounds
    tokens = str(mtpsim.run(mtpsim.parse(text + "tokens = 50\n")))
    assert "Requests at depth 2: p50" in tokens


def test_oracle_gains_nothing_with_independent_rounds():
    text = TEXT + "[simulation]\nrequests = 500\nrounds = 20\n"
    shown = str(mtpsim.run(mtpsim.parse(text + '[adaptive]\npolicies = ["heuristic"]\n')))
    assert "Adaptive depth cannot help: the oracle always chooses depth 2." in shown


def test_check_explains_the_minimum_number_of_requests():
    text = TEXT + "[simulation]\nprecision = 0.01\n"
    unit, _ = unit_of(mtpsim.parse(text).acceptance.chain(), 200, 0)
    shown = explain(mtpsim.parse(text))
    assert f"at every depth: {30 * unit:,} to 10,000,000 requests" in shown
    assert f"first test of the precision after {30 * unit:,} requests" in shown
    (line,) = time_estimate(mtpsim.parse(text), 1)
    assert re.search(r"1 core: about [\d.]+ s \([\d.]+ (s|min|h|days) at max_requests\)", line)
    assert "First point" not in shown
    swept = explain(mtpsim.parse(text + '[sweep]\n"latency.target" = [70, 80]\n'))
    assert "First point of 2: latency.target = 70" in swept


NARROW, WIDE = ([{"rule": "bandit", "width": width}] for width in (0.1, 0.5))
SWEPT = {"adaptive.policies": [NARROW, WIDE], "simulation.epsilon": [0.001, 0.02]}
SWEPT_POLICIES = TEXT + simulation(requests=20)
SWEPT_POLICIES += section("adaptive", policies=["bandit"]) + section("sweep", **SWEPT)


def test_check_shows_swept_policies_and_tolerances():
    shown = explain(mtpsim.parse(SWEPT_POLICIES))
    assert [shown.count(f"width {width}") for width in (0.1, 0.5)] == [1, 1]
    assert "accurate if within ±0.1 to 2 %" in shown


def test_report_distinguishes_swept_policies():
    experiment = mtpsim.parse(SWEPT_POLICIES)
    result = mtpsim.run(experiment)
    for width in (0.1, 0.5):
        assert f"policies = [bandit width={width}]" in str(result)
    page = render_page(result.data, experiment, {})
    assert "within 0.1 % to 2 %, as its point states" in page


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ((1, "round"), "1 round"),
        ((0, "round"), "0 rounds"),
        ((2000, "round"), "2,000 rounds"),
        ((1, "broken entry", "were"), "1 broken entry was"),
        ((2, "broken entry", "were"), "2 broken entries were"),
        ((1, "torn record", "lie"), "1 torn record lie"),
    ],
)
def test_counted(given, text):
    assert counted(*given) == text


def test_singular_in_the_report_of_a_log(tmp_path, cli):
    (tmp_path / "log.csv").write_text("request,accepted,drafted\na,1,1\n")
    done = cli("fit", tmp_path / "log.csv", "-o", tmp_path / "f.toml")
    assert done.code == 0
    assert "1 request, 1 round of up to 1 draft; granularity: per round" in done.shown


def test_singular_in_errors_plans_and_pages(tmp_path, cli):
    path, rest = tmp_path / "e.toml", latency(76, [90], [8]) + simulation(rounds=1, requests=100)
    path.write_text(independent(0.8, 0.7) + rest)
    assert "1 time is given, but the acceptance model" in cli("check", path).err
    path.write_text(independent(0.8) + rest)
    assert "requests of 1 round:" in cli("plan", path, "--delta", "0.2").shown
    (point,) = mtpsim.run(mtpsim.load(path)).data.points
    assert "1 round long" in length_sentence(point)
