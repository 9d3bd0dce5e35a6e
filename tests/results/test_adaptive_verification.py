"""Whether a shared budget of drafts pays: verdicts by equivalence, and the advice by load."""

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

import mtpsim
from mtpsim.engine.server_data import Arm
from mtpsim.report.document import PointResult, ResultDocument
from mtpsim.report.figures.gallery import figures
from mtpsim.report.html.page import sections
from mtpsim.report.html.svg import picture
from mtpsim.report.serialization import from_json, rows, to_json
from mtpsim.report.serving_document import ArmGain, BudgetComparison, LoadGroup
from mtpsim.report.tables.result import render
from mtpsim.results.adaptive_verification import budget_comparisons, budget_sentence
from mtpsim.results.serving import served_result
from mtpsim.results.serving_advice import by_load
from mtpsim.stats.estimators import Estimates
from tests.support.examples import independent, section
from tests.support.server_example import server_data

ARMS = [Arm("off", 0), Arm("depth 3", 3), Arm("adaptive", None, "budget", drafted=3)]


def compared(*log_speeds, error):
    """Gains of the rule over the two depths, from log speeds with the same error."""
    values = Estimates(np.array(log_speeds), error**2 * np.eye(3), 99.0, 1.984)
    (found,) = budget_comparisons(values, ARMS, [0, 1, 2], (0.95, 0.01))
    return {gain.over: gain for gain in found.gains}


@pytest.mark.parametrize(
    ("gain", "error", "verdict"),
    [
        (0.0, 1e-4, "equal"),
        (0.0, 1e-2, "open"),  # no significant difference is no equivalence
        (0.006, 1e-4, "equal"),  # nor is a significant difference one that matters
        (0.05, 1e-3, "faster"),
        (-0.05, 1e-3, "slower"),
        (0.0105, 1e-3, "open"),
    ],
)
def test_verdicts_are_of_equivalence(gain, error, verdict):
    found = compared(-1.0, 0.0, gain, error=error)
    assert found["depth 3"].verdict == verdict
    assert found["off"].verdict == "faster"
    assert found["depth 3"].mean == pytest.approx(np.expm1(gain))


def test_intervals_are_simultaneous_and_unstable_arms_are_left_out():
    one = compared(-1.0, 0.0, 0.05, error=1e-2)["depth 3"]
    values = Estimates(np.array([-1.0, 0.0, 0.05]), 1e-4 * np.eye(3), 99.0, 1.984)
    (alone,) = budget_comparisons(values, ARMS, [1, 2], (0.95, 0.01))
    assert [gain.over for gain in alone.gains] == ["depth 3"]
    assert one.high - one.low > 1.05 * (alone.gains[0].high - alone.gains[0].low)
    assert budget_comparisons(values, ARMS, [0, 1], (0.95, 0.01)) == []


def point_at(load, gains, half=0.002):
    """A made-up point: the rule "ema" gains so much over off, depth 1 and depth 3."""
    point = served_result(server_data(load)).serving
    cells = [
        ArmGain(over=name, mean=gain, low=gain - half, high=gain + half)
        for name, gain in zip(("off", "depth 1", "depth 3"), gains, strict=True)
    ]
    point.budgets = [BudgetComparison(name="ema", gains=cells)]
    return point


PAYS, NEEDLESS, SLOWER = (0.9, 0.08, 0.05), (0.7, 0.06, 0.003), (0.5, -0.06, -0.04)


def test_one_load_is_judged():
    at = [budget_sentence([point_at(4.0, gains)], 0.01) for gains in (PAYS, NEEDLESS, SLOWER)]
    assert at[0] == (
        "At 4 requests/s ema gains 5.0 % [4.8, 5.2] over the best fixed depth (depth 3): it pays."
    )
    assert "fixed depth 3 is within 1 % of ema (gain 0.3 % [0.1, 0.5]): leave it off." in at[1]
    assert "fixed depth 1 is faster than ema (gain -6.0 %" in at[2]
    little = budget_sentence([point_at(4.0, (0.5, -0.005, -0.003))], 0.01)
    assert "fixed depth 1 is within 1 % of ema (gain -0.5 %" in little  # slower, but not by much
    wide = budget_sentence([point_at(4.0, NEEDLESS, half=0.02)], 0.01)
    assert "not known to within 1 %, raise serving.replications." in wide


def test_the_loads_between_which_a_budget_pays():
    points = [point_at(load, PAYS) for load in (1.0, 4.0)] + [point_at(12.0, NEEDLESS)]
    text = budget_sentence([*points, point_at(30.0, SLOWER)], 0.01)
    # Log gains 0.0488 and 0.0030 around 0.00995: a load of 4 * 3 ** 0.848.
    assert text == (
        "Ema gains 5.0 % over the best fixed depth up to 10.2 [4, 12] requests/s; fixed "
        "depth 3, then 1 is within 1 % of ema, or faster above 10.2 [4, 12] requests/s: leave it "
        "off."
    )
    every = budget_sentence(points[:2], 0.01)
    assert "over the best fixed depth at every load of the sweep." in every
    points[2].budgets = []  # a load that it does not serve
    some = budget_sentence(points[:3], 0.01)
    assert "at every load that it serves (1 to 4 requests/s)." in some
    for point in points:
        point.arrivals = "closed"  # no half clients
    points[2] = point_at(12.0, NEEDLESS)
    points[2].arrivals = "closed"
    assert "up to 10 [4, 12] clients" in budget_sentence(points, 0.01)


def test_a_border_at_the_indifference_is_not_where_a_depth_is_faster():
    text = budget_sentence([point_at(4.0, PAYS), point_at(12.0, SLOWER)], 0.01)
    assert "fixed depth 1 is within 1 % of ema, or faster above" in text


def test_an_open_load_names_no_border():
    points = [point_at(1.0, PAYS), point_at(4.0, NEEDLESS, half=0.02), point_at(12.0, SLOWER)]
    text = budget_sentence(points, 0.01)
    assert "up to 1 request" in text
    assert "is not known at 4 requests/s: raise serving.replications" in text
    assert "fixed depth 1 is faster than ema from 12 requests/s on: leave it off." in text


@pytest.mark.parametrize(("tied", "words"), [(True, "Ema at every load"), (False, "Depth 3 up to")])
def test_rules_that_differ_by_chance_have_one_name(tied, words):
    points = [point_at(load, PAYS) for load in (1.0, 12.0)]
    for point, best in zip(points, ("depth 3", "ema"), strict=True):
        point.best, point.candidates, point.within_goals = best, [best], None
        point.budgets.append(BudgetComparison(name="depth 3", gains=[]))
    points[0].candidates += ["ema"] * tied
    results = [
        PointResult(set={"serving.arrivals.rate": p.load}, requests=1, rounds=1, serving=p)
        for p in points
    ]
    (group,) = by_load(results, lambda point, *_: (6.0 - point.load, 0.0, 0.0))
    assert group.sentence.startswith(words)


def test_the_rule_that_may_be_the_best_is_judged():
    point = point_at(4.0, PAYS)
    point.budgets.insert(
        0, BudgetComparison(name="depth 1", gains=point_at(4.0, SLOWER).budgets[0].gains)
    )
    point.best, point.candidates = "ema", ["ema"]
    assert budget_sentence([point], 0.01).startswith("At 4 requests/s ema gains 5.0 %")


def test_without_a_rule_there_is_no_sentence():
    assert budget_sentence([served_result(server_data(4.0)).serving], 0.01) == ""


def test_a_sweep_draws_and_prints_the_comparison():
    points = [
        PointResult(set={"serving.arrivals.rate": p.load}, requests=1, rounds=1, serving=p)
        for p in (point_at(1.0, PAYS), point_at(12.0, NEEDLESS))
    ]
    group = LoadGroup(key="serving.arrivals.rate", turns=[], sentence="Depth 1.")
    group.budget_sentence = budget_sentence([p.serving for p in points], 0.01)
    result = ResultDocument(
        experiment={"title": "A server", "decision": {"indifference": 0.01}},
        points=points,
        by_load=[group],
    )
    speed, *_ = figures(result, [])["budgets"].axes
    (line,) = [one for one in speed.lines if one.get_label() == "ema" or one.get_ydata()[0] == 100]
    assert set(line.get_ydata()) == {100.0}
    console = Console(file=StringIO(), width=170, markup=False)
    render(result, console)
    printed = " ".join(console.file.getvalue().split())
    assert group.budget_sentence in printed
    assert "gain of" in printed
    assert "5.0 ±0.2" in printed
    drawn = {name: picture(name, one) for name, one in figures(result, []).items()}
    assert "drafts" in [part.key for part in sections(result, drawn)]
    assert from_json(to_json(result)).points[0].serving.budgets[0].gains[0].over == "off"
    assert not any("budgets" in str(row["quantity"]) for row in rows(result))


def test_drafts_of_a_run_add_up():
    """Verified and unverified drafts are all drafts; rejected ones are verified, not accepted."""
    steps = {"tokens": [1, 64, 128, 256], "ms": [5.0, 6.0, 9.0, 20.0]}
    text = independent(0.8, 0.7, 0.6) + section("latency", model="steps", verify=steps, draft=1)
    text += section(
        "serving",
        arrivals={"closed": 32},
        prompt=20,
        output=40,
        max_requests=32,
        requests=200,
        depths=[0, 1, 3],
        auc=0.9,
        policies=[{"rule": "budget"}, {"rule": "budget", "stale": 0, "name": "now"}],
    )
    result = mtpsim.run(mtpsim.parse(text)).data
    served = result.points[0].serving
    panels = figures(result, [])["timeline"].axes
    titles = [axes.get_title(loc) for axes in panels for loc in ("left", "center")]
    titles += [text.get_text() for axes in panels for text in axes.texts]
    assert "verified drafts per request" in titles
    for arm in served.arms:
        verified, accepted = arm.verified.mean, arm.accept_length.mean - 1
        assert verified + arm.unverified.mean == pytest.approx(arm.drafts.mean)
        assert arm.rejected.mean == pytest.approx(verified - accepted)
        assert (arm.missed is None) == (arm.depth is not None)
    assert [arm.name for arm in served.arms if arm.bound] == ["now"]  # not lossless
    assert "now" not in served.candidates
    assert [one.name for one in served.budgets] == ["budget", "now"]
    assert served.budget_sentence.startswith("With 32 clients budget gains ")
