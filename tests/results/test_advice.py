"""Verdicts on steps of depth, and the sentence of the advice."""

import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Text

import mtpsim
from mtpsim.common.errors import InputError
from mtpsim.formula import closed_form
from mtpsim.report.document import Interval
from mtpsim.report.figures.gallery import figures
from mtpsim.report.html.page import render_page
from mtpsim.report.tables.result import step_texts
from mtpsim.results.advice import Basis, Steps, advise, judge
from mtpsim.results.point_data import LEAST_REQUESTS
from mtpsim.stats.comparisons import choose, log_of
from tests.support.examples import THREE_DEEP, independent, latency, noise, simulation
from tests.support.report_example import DECISION
from tests.support.strategies import estimates

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.2, 1.3, "essential"),
        (1.19, 1.3, "optional"),
        (1.001, 1.02, "optional"),
        (0.996, 1.004, "negligible"),
        (1.001, 1.004, "negligible"),
        (0.99, 1.01, "undecided"),
        (0.994, 0.999, "harmful"),
        (0.9, 0.95, "harmful"),
    ],
)
def test_step_verdicts(low, high, expected):
    gain = Interval(mean=(low + high) / 2, low=low, high=high)
    assert judge(gain, DECISION).verdict == expected
    assert judge(gain, DECISION, enough=False).verdict == "undecided"


def test_thresholds_are_of_the_experiment():
    gain = Interval(mean=1.104, low=1.103, high=1.105)
    assert judge(gain, DECISION.model_copy(update={"essential": 0.1})).verdict == "essential"
    assert judge(gain, DECISION.model_copy(update={"negligible": 0.11})).verdict == "negligible"
    text = independent(0.8, 0.74, 0.67) + THREE_DEEP + "[decision]\nessential = 0.004\n"
    with pytest.raises(InputError, match=r"0.005 is given; it must be below `essential`, 0.004"):
        mtpsim.parse(text)


@pytest.mark.parametrize("p2", [0.73, 0.735, 0.74, 0.745, 0.75])
@pytest.mark.parametrize("p3", [0.66, 0.67, 0.68])
def test_no_rounding_unit_of_a_rate_changes_a_verdict_of_the_founding_case(p2, p3):
    times = np.array([76, 98, 118, 139])
    speedup = closed_form.speedup(np.array([0.8, p2, p3]), 76, times)
    gains = closed_form.marginal_gain(speedup)[1:] - 1
    found = [closed_form.step_verdict(gain, gain) for gain in gains]
    assert found == ["essential", "optional", "harmful"]


def advice(speedups, marginals, error=1e-4, rates=(0.8, 0.74, 0.67), indifference=0.0, **more):
    speedup, gains = estimates(speedups, error), estimates(marginals, error)
    steps = Steps(gains, np.array([0.29, 0.46, 0.719]), np.array(rates))
    basis = Basis(
        speedup=intervals(speedup),
        gains=intervals(gains),
        choice=choose(log_of(speedup), 0.95, indifference),
        **more,
    )
    decision = DECISION.model_copy(update={"indifference": indifference})
    return advise(basis, steps, decision, 0.95)


def intervals(found):
    ends = zip(found.values, found.low, found.high, strict=True)
    return [Interval(mean=mean, low=low, high=high) for mean, low, high in ends]


FOUNDING = [1, 1.395918, 1.540610, 1.524724], [1.3959, 1.1037, 0.9897]


def test_sentence_of_the_founding_case():
    found = advice(*FOUNDING)
    assert found.sentence == (
        "Run depth 2: 1.5406x [1.5404, 1.5408]. Depth 3 is 1.03 % [1.01, 1.05] slower than depth "
        "2; break-even p3 = 0.719 (yours: 0.67)."
    )
    assert found.verdicts == ["essential", "optional", "harmful"]
    assert [step.mean for step in found.steps] == pytest.approx([0.3959, 0.1037, -0.0103])
    assert (found.depth, found.candidates, found.confidence) == (2, [2], None)


def test_sentences_of_other_outcomes():
    off = advice([1, 0.9, 0.85, 0.8], [0.9, 0.94, 0.94], rates=(0.2, 0.2, 0.2))
    assert off.sentence.startswith("Turn MTP off: no depth is faster. Depth 1 is 10.00 %")
    sure = advice([1, 1.5, 1.4, 1.3], [1.5, 0.9333, 0.92857], error=1e-9).sentence
    assert sure.startswith("Run depth 1: 1.5000x. Depth 2 is 6.6700 % slower than depth 1;")
    deep = advice([1, 1.2, 1.3, 1.4], [1.2, 1.08, 1.08])
    assert deep.sentence.endswith("No deeper draft was simulated; one may be faster.")
    flat = advice([1, 1.2, 1.3, 1.295], [1.2, 1.08, 0.996], indifference=0.01)
    assert "Depth 3 is within 1 % of it." in flat.sentence
    rough = advice([1, 1.2, 1.3, 1.283], [1.2, 1.08, 0.987], error=0.003, indifference=0.01)
    assert "Depth 3 may be within 1 % of it." in rough.sentence
    assert (flat.candidates, flat.within) == ([2], [2, 3])


def test_near_ties_have_a_bound_and_a_probability_only_of_a_tolerated_loss():
    near = [1, 1.2, 1.3, 1.3001], [1.2, 1.08, 1.0001]
    blind, aware = (advice(*near, error=0.002, indifference=loss) for loss in (0.0, 0.01))
    assert "Depths 2 and 3 cannot be distinguished; either may be" in aware.sentence
    assert aware.candidates == [2, 3]
    assert blind.confidence is None
    assert aware.confidence > 0.999
    assert aware.why.endswith("common random numbers); depth 3 is at most 0.5 % slower.")


def test_too_few_requests_give_no_verdict_no_candidates_and_no_probability():
    found = advice(*FOUNDING, requests=4, requests_needed=10)
    assert found.sentence == (
        "Too few requests for advice: 4 requests were simulated, at least 10 are needed. Depth 2 "
        "has the greatest estimate, 1.54x."
    )
    assert (found.candidates, found.within, found.confidence) == ([], [], None)
    assert found.verdicts == ["undecided"] * 3


FEW = independent(0.8, 0.74, 0.67) + THREE_DEEP + noise(0.1) + "[simulation]\nrequests = 9\n"


def test_the_floor_of_requests():
    (few,), (enough,) = (
        mtpsim.run(mtpsim.parse(FEW, overrides=[f"simulation.requests={n}"])).data.points
        for n in (LEAST_REQUESTS - 1, LEAST_REQUESTS)
    )
    assert (few.advice.requests_needed, enough.advice.requests_needed) == (LEAST_REQUESTS, None)
    assert {depth.loss.verdict for depth in few.depths} == {"open"}
    assert [depth.loss.best for depth in few.depths] == [None] * 4
    assert {depth.theory_error.verdict for depth in few.depths[1:]} == {"undecided"}
    assert enough.advice.candidates
    assert set(enough.advice.verdicts) <= {"essential", "optional", "undecided", "harmful"}


def rare(*rates):
    return independent(*rates) + latency(100, [100, 104], 10) + simulation(requests=12, rounds=3)


def test_counts_of_zero_are_no_certainty():
    """No draft 2 was accepted in 36 rounds: depth 2 looks 3.5 % slower, without any width."""
    (point,) = mtpsim.run(mtpsim.parse(rare(0.5, 0.02))).data.points
    step = point.depths[2].marginal
    assert step.high - step.low < 1e-9
    assert point.advice.verdicts[1] == "undecided"
    assert point.advice.candidates == [1, 2]
    # The control: a rate of exactly 0 is known, and one draft in 100 is enough of many rounds.
    for first, second, requests in ((0.5, 0.0, 12), (0.5, 0.02, 2000)):
        sure = mtpsim.parse(rare(first, second), overrides=[f"simulation.requests={requests}"])
        (point,) = mtpsim.run(sure).data.points
        assert point.advice.verdicts[1] == "harmful"
        assert point.advice.candidates == [1]


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (1.1037, 0.0001, "+10.4 %, optional"),
        (1.1037, 0.03, "+10 %, optional"),
        (0.9897, 0.0001, "-1.0 %, harmful"),
        (0.9897, 0.06, "-1 %, undecided"),
        (0.99999, 0.0001, "+0.0 %, negligible"),
        (1.3959, 0.0, "+39.6 %, essential"),
    ],
)
def test_the_verdict_carries_its_number_in_digits_of_its_error(mean, half, text):
    point = mtpsim.run(mtpsim.parse(FEW)).data.points[0]
    step = judge(Interval(mean=mean, low=mean - half, high=mean + half), DECISION)
    shown = replace(point, advice=replace(point.advice, steps=[step] * 3))
    assert step_texts(shown)[0] == text


FREE = (
    independent(0.58, 0.38, 0.27, 0.2)
    + "[latency]\ntarget = 1\nverify = 1\ndraft = 0\n[simulation]\nrounds = 100\nrequests = 2000\n"
)


def test_without_times_no_depth_is_recommended():
    """Survival rates: a third draft adds 0.27 to 1.96 tokens: it may lengthen a round by 13.8 %."""
    text = FREE.replace("[latency]", 'rates_are = "survival"\n[latency]')
    text += '[uncertainty.inputs."acceptance.rates"]\nse = [0.002, 0.002, 0.002, 0.002]\n'
    result = mtpsim.run(mtpsim.parse(text))
    (point,) = result.points
    advice = point["advice"]
    assert not advice["times_known"]
    assert (advice["confidence"], advice["candidates"]) == (None, [0, 1, 2, 3, 4])
    assert set(advice["verdicts"]) == {"undecided"}
    assert point["uncertainty"] is None
    for allowed in ("58", "24", "13.8", "8.9"):
        assert re.search(rf"{re.escape(allowed)}[0-9.]* % \(draft", advice["sentence"])
    length = re.search(
        r"input uncertainty: .* (\S+) \[(\S+), (\S+)\] \(depth 4", advice["sentence"]
    )
    mean, low, high = map(float, length.groups())
    assert low < mean < high
    # The standard error of the sum of four survival rates is 0.004.
    assert (high - low) / 2 == pytest.approx(1.96 * 0.004, rel=0.5)
    drawn = figures(result.data, [[np.ones(10)] * 5])
    assert not {"latency", "requests"} & set(drawn)
    for name in ("speedup", "marginal"):
        words = [t.get_text() for t in drawn[name].findobj(Text)]
        assert not {"best depth", "undecided"} & set(words)
        assert any("No times are known" in word for word in words)
    page = render_page(result.data, mtpsim.parse(text), {})
    assert ">Depths</caption>" in page
    assert "advised one is marked" not in page
    shown = str(result)
    assert "+8.9 %, no times" in shown
    assert "Requests of" not in shown
    assert "No depth can be recommended without times." in shown
    assert not re.search(
        "Run depth|P\\(fastest|P\\(depth|would not change the choice|▸ +[0-9]", shown
    )
    timed = text.replace("verify = 1", "verify = 1.1")  # negative control
    control = mtpsim.run(mtpsim.parse(timed))
    assert "Run depth 4" in str(control)
    assert "latency" in figures(control.data, [[np.ones(10)] * 5])
    assert "advised one is marked" in render_page(control.data, mtpsim.parse(timed), {})
