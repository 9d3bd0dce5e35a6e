"""Numbers of the document that must not contradict each other."""

import builtins
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

import mtpsim
from mtpsim.report.tables.result import break_even_table
from mtpsim.results.document import Result
from mtpsim.results.point_data import COCHRAN, skewness_of
from tests.support.examples import (
    TWO_DEEP,
    acceptance,
    independent,
    latency,
    noise,
    regime,
    simulation,
)

TEXT = (
    acceptance("copula", rates=[0.75, 0.72, 0.69], structure="equal", correlation=0)
    + latency(10, 10, [3, 6, 9])
    + simulation(requests=4000)
)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_a_step_pays_iff_its_rate_exceeds_break_even(correlation):
    (point,) = mtpsim.run(
        mtpsim.parse(TEXT.replace("correlation = 0", f"correlation = {correlation}"))
    ).points
    _agree(point)
    stated = point["depths"][3]["break_even"]["rate"]["now"] == 0.69
    assert stated == (correlation == 0)  # dependent drafts have other rates than those stated


@pytest.mark.parametrize("changes", [("tokens=2",), ("rounds=20", "control_variates=true")])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_break_even_and_gain_agree_where_the_closed_form_does_not(changes, seed):
    text = TEXT.replace("0.69", "0.793")  # the third step pays above 0.795
    changes = (*changes, "requests=30", f"seed={seed}")
    overrides = [f"simulation.{change}" for change in changes]
    (point,) = mtpsim.run(mtpsim.parse(text, overrides=overrides)).points
    _agree(point)


def _agree(point):
    for depth in point["depths"][1:]:
        rate, verify, draft = (depth["break_even"][name] for name in ("rate", "verify", "draft"))
        pays = depth["marginal"]["mean"] > 1
        at = float("inf") if rate["at"] is None else rate["at"]  # no token is left for position 3
        assert (rate["now"] > at) == pays
        assert (verify["at"] > verify["now"]) == pays
        assert (draft["at"] > draft["now"]) == pays


@pytest.mark.parametrize(
    ("law", "warned"),
    [
        ('distribution = "lognormal", cv = 0.4', False),
        ('distribution = "spike", probability = 0.001, factor = 200', True),
        ('distribution = "pareto", alpha = 1.5', False),  # has a warning of its own
    ],
)
def test_warning_for_rare_long_rounds(law, warned):
    text = TEXT.replace("[simulation]", f"noise = {{ {law} }}\n[simulation]")
    overrides = "simulation.requests=100", "simulation.rounds=10"
    (point,) = mtpsim.run(mtpsim.parse(text, overrides=overrides)).points
    assert any("rare long rounds" in warning for warning in point["warnings"]) == warned


def test_text_is_the_same_in_a_notebook(monkeypatch, capsys):
    result = mtpsim.run(mtpsim.parse(TEXT))
    outside = str(result)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as Jupyter's kernels do
    assert str(result) == outside
    assert "Run depth" in outside
    assert capsys.readouterr().out == ""


def test_rows_to_data_frame(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=lambda rows: ("of", rows)))
    result = mtpsim.run(mtpsim.parse(TEXT))
    assert result.to_frame() == ("of", result.rows())


@pytest.mark.parametrize("missing", ["pandas", "dateutil"])
def test_missing_pandas_names_the_extra(monkeypatch, missing):
    real = builtins.__import__

    def lacking(name, *arguments, **named):
        if name == "pandas":
            raise ModuleNotFoundError(f"No module named '{missing}'", name=missing)
        return real(name, *arguments, **named)

    monkeypatch.delitem(sys.modules, "pandas", raising=False)
    monkeypatch.setattr(builtins, "__import__", lacking)
    with pytest.raises(ImportError) as caught:
        Result({"points": []}).to_frame()
    hint = r"pip install 'mtpsim[pandas]'" in str(caught.value)
    assert hint == (missing == "pandas")  # other missing modules keep the original error


def test_the_named_extra_exists():
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    assert any(need.startswith("pandas") for need in project["optional-dependencies"]["pandas"])
    assert "'.[pandas]'" in Path("README.md").read_text()


def test_intervals_of_two_requests_stay_within_limits():
    """Student's quantile with one degree of freedom is 12.7: the intervals are very wide."""
    text = (
        regime([0.95, 0.93], [0.3, 0.2], sojourn=[30, 20])
        + TWO_DEEP
        + noise(0.3)
        + "[simulation]\nrequests = 2\nrounds = 3\n"
        + '[adaptive]\npolicies = ["heuristic"]\n'
    )
    cut = 0
    for seed in range(12):
        (point,) = mtpsim.run(mtpsim.parse(text, overrides=[f"simulation.seed={seed}"])).points
        rows = [*point["depths"], *point["adaptive"]["policies"]]
        for k, row in enumerate(rows):
            most = min(k, 2) + 1
            for name, low, high in (("accept_length", 1, most), ("speedup", 0, 1e9)):
                cell = row[name]
                assert low <= cell["low"] <= cell["mean"] <= cell["high"] <= high
                cut += cell["low"] == low < cell["mean"]
        for rates in point["diagnostics"]["rates_by_depth"]:
            assert min(rates["low"]) >= 0
            assert max(rates["high"]) <= 1
        assert "[-" not in point["advice"]["sentence"].partition("Depth")[0]
    assert cut > 12  # intervals that would exceed the limits


FEW = independent(0.99, 0.98) + TWO_DEEP + simulation(requests=4, rounds=3)


def test_zero_variance_by_chance_gives_no_verdict():
    (point,) = mtpsim.run(mtpsim.parse(FEW)).points
    gain = point["depths"][2]["speedup"]
    assert gain["low"] == gain["mean"] == gain["high"] != pytest.approx(gain["exact"], rel=0.01)
    assert point["depths"][2]["theory_error"]["verdict"] == "undecided"
    assert any("rare rejections" in warning for warning in point["warnings"])
    sure = FEW.replace("[0.99, 0.98]", "[1.0, 1.0]")  # the negative control: they never differ
    (point,) = mtpsim.run(mtpsim.parse(sure)).points
    assert point["depths"][2]["theory_error"]["verdict"] == "holds"
    assert not any("rare" in warning for warning in point["warnings"])


def test_noise_gives_no_verdict_without_rejections():
    target = 'target = { distribution = "lognormal", mean = 76, cv = 5e-4 }'
    noisy = FEW.replace("target = 76", target)
    (point,) = mtpsim.run(mtpsim.parse(noisy + "epsilon = 0.001")).points
    errors = [depth["theory_error"] for depth in point["depths"][1:]]
    assert all(error["high"] > error["low"] for error in errors)
    assert max(errors[0]["low"], -errors[0]["high"]) > 0.001  # all of it is outside
    assert [error["verdict"] for error in errors] == ["undecided"] * 2
    assert {
        depth[name]["verdict"]
        for row in point["trial"]["rows"]
        for depth in row["depths"]
        for name in ("accept_length_error", "speedup_error")
    } == {"undecided"}


def test_identities_hold_with_few_rounds():
    """Rates measured at a depth give its own accept length back, whatever they are."""
    text = FEW.replace("requests = 4", "requests = 100") + "[theory]\nmeasured_at = 2"
    (point,) = mtpsim.run(mtpsim.parse(text)).points
    assert any("rare rejections" in warning for warning in point["warnings"])
    assert point["depths"][2]["accept_length"]["low"] < point["depths"][2]["accept_length"]["high"]
    error = point["depths"][2]["theory_error"]
    assert (error["verdict"], error["mean"]) == ("holds", pytest.approx(0, abs=1e-9))


def test_break_even_zero_for_a_step_that_always_pays():
    fast = independent(0.0, 0.1) + latency(76, [60, 90], [8, 40])
    fast += simulation(requests=40, rounds=30)
    (point,) = mtpsim.run(mtpsim.parse(fast)).data.points
    assert point.depths[1].break_even.rate.at == 0
    assert break_even_table(point).rows[0].cells[:2] == ["0 to 1", "0.000"]
    dear = fast.replace("verify = [60", "verify = [100").replace("0.0, ", "0.8, ")  # the control
    (point,) = mtpsim.run(mtpsim.parse(dear)).data.points
    assert 0 < float(break_even_table(point).rows[0].cells[1]) < 0.8


@pytest.mark.parametrize(
    ("rates", "rounds", "warned"),
    [
        ("[0.99, 0.98]", 600, "rare rejections"),  # skewness -9.85 at depth 1: 2,426 rounds
        ("[0.99, 0.98]", 610, ""),
        ("[0.02, 0.5]", 200, "rare accepted drafts"),
        ("[0.8, 0.7]", 20, ""),
    ],
)
def test_warning_for_rare_rejections(rates, rounds, warned):
    text = FEW.replace("[0.99, 0.98]", rates).replace("rounds = 3", f"rounds = {rounds}")
    (point,) = mtpsim.run(mtpsim.parse(text)).points
    rare = [warning for warning in point["warnings"] if "rare" in warning]
    assert [warned in warning for warning in rare] == [True] * bool(warned)


@pytest.mark.parametrize("p", [0.9, 0.99])
def test_coverage_reaches_nominal_at_cochrans_rule(p):
    """Coverage is at least 94 % for nominal 95 %. Control: a twentieth of the rounds."""
    law, repeats = np.array([1 - p, p * (1 - p), p * p]), 4_000
    rng, error = np.random.default_rng(5), np.sqrt(0.95 * 0.05 / 4_000)

    def coverage(rounds):
        found = rng.choice(3, size=(repeats, rounds), p=law)
        half = stats.t.ppf(0.975, rounds - 1) * found.std(1, ddof=1) / np.sqrt(rounds)
        return (abs(found.mean(1) - law @ np.arange(3)) <= half).mean()

    needed = round(COCHRAN * skewness_of(law) ** 2)
    assert 0.94 - 4 * error < coverage(needed) < 0.95 + 4 * error
    assert coverage(needed // 20) < 0.85
