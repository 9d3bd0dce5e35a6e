"""Tables, figures and the page of a simulated server."""

import json
from copy import deepcopy
from dataclasses import replace
from io import StringIO

import pytest
from matplotlib.text import Text
from rich.console import Console

from mtpsim.report.document import Interval, ResultDocument
from mtpsim.report.engine_flags import point_flags
from mtpsim.report.figures.gallery import figure, figures
from mtpsim.report.figures.serving import _looks, budgets_figure
from mtpsim.report.formatting import in_units, set_label
from mtpsim.report.html.page import sections
from mtpsim.report.html.svg import picture
from mtpsim.report.serving_document import (
    ArmGain,
    BudgetComparison,
    ServedCapacity,
    ServedDepths,
)
from mtpsim.report.tables.result import render
from mtpsim.report.tables.serving import sample_sentence, sentences, warnings_of
from mtpsim.results.serving import served_by_load, served_result
from tests.support.server_example import GOALS, server_data


def result_of(rates, **options):
    data = [server_data(rate, swept=len(rates) > 1, **options) for rate in rates]
    points = [served_result(one) for one in data]
    return ResultDocument(
        experiment={"title": "A server"}, points=points, by_load=served_by_load(data, points)
    )


SWEPT, ALONE = result_of((1.0, 12.0, 30.0)), result_of((4.0,))
NO_GOALS = result_of((4.0,), goals=None)


def printed(result, width):
    console = Console(file=StringIO(), width=width, markup=False, emoji=False)
    render(result, console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120, 170])
@pytest.mark.parametrize("result", [SWEPT, ALONE, NO_GOALS], ids=["sweep", "point", "no goals"])
def test_every_depth_and_the_advice_are_printed(result, width):
    text = printed(result, width)
    assert "A server" in text
    for name in ("off", "depth 1", "depth 3", "ema"):
        assert text.count(name) >= 2 * len(result.points)
    answer = result.by_load[0] if result.by_load else result.points[0].serving
    assert answer.sentence in " ".join(text.split())
    assert ("within" in text) == (result is not NO_GOALS)


def test_the_best_depth_is_marked():
    marked = [line.split() for line in printed(ALONE, 170).splitlines() if "▸" in line]
    assert {tuple(cells[1:3]) for cells in marked} == {("depth", "1")}


def test_capacity_is_a_table_of_its_own():
    point = ALONE.points[0].serving
    point.capacity = [
        ServedCapacity(name="off", rate=Interval(mean=3.1, low=2.88, high=3.32)),
        ServedCapacity(name="depth 1", rate=Interval(mean=4.25, low=4.03, high=4.47)),
        ServedCapacity(name="depth 3", rate=Interval(mean=None, low=None, high=None), limit="none"),
    ]
    text = printed(ALONE, 120)
    point.capacity = []
    assert "at which 99 % of requests meet TTFT at most 60 ms, TPOT at most 10 ms:" in text
    assert [line.split() for line in text.splitlines()][-3:] == [
        ["off", "3.1", "±0.2"],
        ["▸", "depth", "1", "4.2", "±0.2"],
        ["depth", "3", "none"],
    ]


def test_figures_show_goals_and_every_depth():
    drawn = figures(SWEPT, [])
    assert list(drawn) == ["served", "latencies", "timeline"]
    labels = drawn["latencies"].axes[0].get_legend_handles_labels()[1]
    assert labels == ["goal", "off", "depth 1", "depth 3", "ema"]
    goal = drawn["latencies"].axes[1].lines[-1]
    assert set(goal.get_ydata()) == {GOALS["tpot"]}
    assert list(figures(ALONE, [])) == ["latencies", "timeline"]
    assert figure(ALONE, [], "speedup").axes
    quantiles = figures(NO_GOALS, [])["latencies"].axes[0].get_legend_handles_labels()[1]
    assert quantiles == ["p50", "p95", "p99"]


def test_the_timeline_is_of_the_last_load_that_is_served():
    """At 12 and 30 requests/s no depth meets the goals: the replication at 1 is drawn."""
    drawn = figures(SWEPT, [])["timeline"]
    found = [point.serving for point in SWEPT.points]
    assert [point.within_goals for point in found] == [True, False, False]
    texts = " ".join(text.get_text() for text in drawn.findobj(Text))
    assert "One replication at 1 request/s" in texts
    names = drawn.axes[0].get_legend_handles_labels()[1]
    assert names[0] == found[0].best
    assert any(found[0].arm(name).depth for name in names)  # the best fixed depth
    assert "A line ends when the last measured request of its arm is done." in texts
    ticks = drawn.axes[1].get_yticks()
    assert ticks.tolist() == ticks.round().tolist()


def test_the_sample_of_a_trace_says_what_its_intervals_hold():
    result = deepcopy(ALONE)
    assert "arrivals of the trace" not in sample_sentence(result)
    result.points[0].serving.arrivals = "trace"
    assert "the arrivals of the trace are the same in each replication" in sample_sentence(result)


@pytest.mark.parametrize("result", [SWEPT, ALONE], ids=["sweep", "point"])
def test_the_page_has_the_answer_first(result):
    pictures = {name: picture(name, one) for name, one in figures(result, []).items()}
    found = sections(result, pictures)
    assert [part.key for part in found][:4] == ["advice", "speeds", "latencies", "server"]
    answer = result.by_load[0] if result.by_load else result.points[0].serving
    lead = answer.sentence if result.by_load else f"{answer.sentence.partition(': ')[0]}."
    assert found[0].lead == [lead]
    assert result.by_load or found[0].text[0][1:] in answer.sentence
    assert len(found[1].tables[0].content.rows) == 4 * len(result.points)
    headings = [one.heading for part in found for one in part.pictures]
    assert not [text for text in headings if lead.startswith(text)]  # said once
    assert len(set(headings)) == len(headings)


def test_a_panel_says_that_its_axis_is_logarithmic():
    axes = figures(SWEPT, [])["latencies"].axes
    scales = {one.get_title("left"): (one.get_yscale(), one.get_title("right")) for one in axes}
    assert all((scale == "log") == (right == "log scale") for scale, right in scales.values())
    result = deepcopy(SWEPT)
    far = result.points[2].serving.arms[0].tpot
    far.p99 = Interval(mean=9000.0, low=8999.0, high=9001.0)
    panel = next(a for a in figures(result, [])["latencies"].axes if "TPOT" in a.get_title("left"))
    assert (panel.get_yscale(), panel.get_title("right")) == ("log", "log scale")
    assert panel.get_ylim()[1] > 9100


def test_markers_at_the_top_of_a_panel_are_whole():
    result = deepcopy(SWEPT)
    for point in result.points:
        for arm in point.serving.arms:
            high = 9.9 if arm.depth else 10.0
            arm.itl.p99 = Interval(mean=high, low=high, high=high)
    panel = next(a for a in figures(result, [])["latencies"].axes if "ITL" in a.get_title("left"))
    assert panel.get_ylim()[1] >= 10.5


RUNNING = ((2, 3.1), (4, 2.9), (8, 1.2))


def swept_over(values, key, base):
    """Copies of a result at values of another swept key."""
    result = replace(base, points=[], by_load=[])
    for value in values:
        copy = deepcopy(base)
        for point in copy.points:
            point.set = {**point.set, key: value}
            result.points.append(point)
        for group in copy.by_load:
            group.set, group.sentence = {key: value}, f"{set_label({key: value})}: {group.sentence}"
            result.by_load.append(group)
    return result


SHAPES = [{"tree": "chain"}, {"tree": "topk", "topk": 3, "steps": 3, "nodes": 7}]


def test_values_of_a_second_swept_key_have_a_panel_each():
    """Before, the points of all shapes were one line, and the title was that of the first."""
    result = swept_over(SHAPES, "draft", SWEPT)
    drawn = figures(result, [])
    labels = [set_label({"draft": shape}) for shape in SHAPES]
    for name, panels in (("served", labels), ("latencies", labels * 2)):
        axes = drawn[name].axes
        assert [one.get_title("left") for one in axes] == panels
        assert all(len(c[0].get_xdata()) == 3 for one in axes for c in one.containers)
        assert len({one.get_ylim() for one in axes[:2]}) == 1
    assert [one.get_ylabel() for one in drawn["latencies"].axes] == [
        *("TTFT p99 (ms)", ""),
        *("TPOT p99 (ms)", ""),
    ]
    texts = [text.get_text() for text in drawn["served"].findobj(Text)]
    assert "The best depth at each load is the same at every draft of the sweep" in texts
    result.points[0].serving.best = "depth 3"
    texts = [text.get_text() for text in figures(result, [])["served"].findobj(Text)]
    assert "The best depth depends on draft" in texts


def test_a_sweep_over_another_key_than_the_load_names_it():
    """Before, it was called the load, and the same advice stood there once per point."""
    result = swept_over((0, 0.146), "serving.resumed", ALONE)
    result.points[1].serving.arms[0].warnings = ["its queue is odd"]
    drawn = figures(result, [])
    assert {axes.get_xlabel() for axes in drawn["latencies"].axes} == {"resumed"}
    texts = " ".join(text.get_text() for name in drawn for text in drawn[name].findobj(Text))
    assert "Latencies by resumed" in texts
    assert "a marker per resumed" in " ".join(texts.split())
    assert sentences(result) == [ALONE.points[0].serving.sentence]
    assert "off at resumed = 0.146: its queue is odd" in warnings_of(result)
    result.points[1].serving.sentence = "Another."
    assert sentences(result)[1] == "resumed = 0.146: Another."


def test_arms_of_a_figure_are_distinguishable():
    """Before, 7 depths had shades of one colour; rules are dashed, upper bounds are grey."""
    result = deepcopy(ALONE)
    arms = result.points[0].serving.arms
    arms += [replace(arms[1], name=f"depth {n}", depth=n) for n in (2, 4, 5, 6, 7)]
    arms.append(replace(arms[3], name="bound", bound=True))
    looks = _looks(result)
    depths = [look for name, look in looks.items() if name.startswith("depth")]
    assert len({(look["color"], look["marker"]) for look in depths}) == 7
    assert len({look["color"] for look in looks.values()}) == 9  # off and the bound are grey
    styles = {name: looks[name]["linestyle"] for name in ("depth 7", "ema", "bound")}
    assert styles == {"depth 7": "-", "ema": "--", "bound": ":"}


def test_engine_settings_are_those_of_the_best_arm_at_each_load():
    """Before, the page of a server had none: not those of adaptive verification either."""
    result = deepcopy(SWEPT)
    policies = [{"rule": "budget", "name": "early", "search": "prefix"}, {"rule": "budget"}]
    result.experiment["serving"] = {"max_requests": 64, "policies": policies}
    slow, middle, fast = (point.serving for point in result.points)
    for point in (slow, middle, fast):
        point.within_goals = True
        point.arms += [replace(point.arms[3], name=n, drafted=3) for n in ("early", "budget")]
    fast.best, fast.candidates = "early", ["early", "budget"]
    middle.best = slow.best = "ema"
    slow.arm("ema").depths[:] = [ServedDepths(running=n, depth=d, share=0.5) for n, d in RUNNING]
    middle.arm("ema").depths[:] = [ServedDepths(running=1, depth=0.1, share=1)]
    found = {flags.engine: flags.text for flags in point_flags(result)}
    schedule = json.loads(found["vLLM, at 1 request/s"].split("'")[1])
    assert schedule["num_speculative_tokens_per_batch_size"] == [[1, 7, 3], [8, 64, 1]]
    assert found["vLLM, at 12 requests/s"] == ""
    adaptive = json.loads(found["vLLM, at 30 requests/s"].split("'")[1])
    assert adaptive["enable_adaptive_verification"]
    assert adaptive["num_speculative_tokens"] == 3
    fast.candidates = ["early"]  # which vLLM cannot run
    middle.within_goals = False
    notes = {flags.engine: flags.note for flags in point_flags(result) if not flags.text}
    assert notes == {
        "At 12 requests/s": "no settings: no arm meets the goals",
        "At 30 requests/s": "no settings: no engine has the rule of early",
    }
    slow.within_goals = False
    assert point_flags(result) == []


@pytest.mark.parametrize(("high", "depth"), [(0.004, 3), (0.02, None)])
def test_engine_settings_leave_off_a_rule_that_gains_nothing(high, depth):
    """Before, the settings had a rule of which the advice said to leave it off."""
    result = deepcopy(SWEPT)
    result.points = result.points[:1]
    (point,) = (p.serving for p in result.points)
    result.experiment["serving"] = {"max_requests": 64, "policies": [{"rule": "budget"}]}
    point.within_goals, point.best, point.candidates = True, "budget", ["budget"]
    fixed = next(arm for arm in point.arms if arm.depth)
    point.arms.append(replace(fixed, name="budget", depth=None, drafted=3))
    verdict = "equal" if depth else "faster"
    gain = ArmGain(over=fixed.name, mean=0.003, low=0.002, high=high, verdict=verdict)
    point.budgets = [BudgetComparison(name="budget", gains=[gain])]
    vllm = point_flags(result)[0]
    assert ("enable_adaptive_verification" in vllm.text) == (depth is None)
    if depth:
        assert f'"num_speculative_tokens": {fixed.depth}' in vllm.text
        assert vllm.note.endswith("at 1 request/s budget gains nothing that matters over it")


@pytest.mark.parametrize(("gain", "cut"), [(1.5, True), (0.1, False)])
def test_speeds_below_the_axis_have_a_note(gain, cut):
    """Before, a line entered the panel from below without a word."""
    result = deepcopy(SWEPT)
    result.experiment["decision"] = {"indifference": 0.01}
    for point in result.points:
        others = [arm.name for arm in point.serving.arms if arm.name != "ema"]
        ends = {"mean": gain, "low": gain, "high": gain, "verdict": "faster"}
        gains = [ArmGain(over=name, **ends) for name in others]
        point.serving.budgets = [BudgetComparison(name="ema", gains=gains)]
    drawn = budgets_figure(result, "serving.arrivals.rate")
    texts = " ".join(text.get_text() for text in drawn.findobj(Text))
    assert ("Speeds below 50 % of ema are not shown." in texts) == cut


def test_a_load_of_one_is_singular():
    assert in_units(1, "rate") == "1 request/s"
    assert [in_units(n, "closed") for n in (1, 2048)] == ["1 client", "2,048 clients"]


def test_a_warning_on_a_load_names_its_key():
    result = deepcopy(SWEPT)
    result.points[0].warnings.append("no depth can")
    assert "rate = 1: no depth can" in warnings_of(result)


def test_warnings_that_differ_in_a_percentage_are_one():
    """Before, each depth of an overloaded server had a sentence of its own."""
    result = deepcopy(SWEPT)
    off, one, three, _ = result.points[2].serving.arms
    off.warnings, one.warnings, three.warnings = (
        [f"its output is {share} % below"] for share in (4.5, 12, 5.3)
    )
    assert "off at 30; depth 1 at 30; depth 3 at 30: its output is 4.5 to 12 % below" in (
        warnings_of(result)
    )
    one.warnings = ["10 % of 2 % are late"]
    found = warnings_of(result)
    assert "off at 30; depth 3 at 30: its output is 4.5 to 5.3 % below" in found
    assert "depth 1 at 30: 10 % of 2 % are late" in found


def test_warnings_name_loads_and_depths():
    text = " ".join(printed(SWEPT, 170).split())
    assert "depth 3 at 30: a replication is short: its window is" in text
    assert "depth 1 at 30" not in text
