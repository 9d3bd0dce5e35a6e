"""Texts of figures stay inside the figure and off other texts and lines."""

from functools import cache
from types import SimpleNamespace

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import mtpsim
from mtpsim.benchmark.power import BenchmarkPlan, Comparison, Design
from mtpsim.report.figures.fit import _spread
from mtpsim.report.figures.gallery import figures
from mtpsim.report.figures.policies import learning_figure, policies_figure, timeline_figure
from mtpsim.report.figures.power import plan_figure
from mtpsim.report.figures.style import LINES, Frame, fit, width_of
from mtpsim.report.figures.sweep import Along
from tests.support.examples import POLICIES
from tests.support.overlaps import overlaps
from tests.support.report_example import EXAMPLES, document, example_point, example_round_times

SIMULATED = {
    "carried_rates": "three swept keys, eight depths",
    "regimes": "two panels of eight depths",
    "from_log": "a closed form just below what was simulated",
    "robust": "a closed form that leaves what was simulated",
    "workload": "wide intervals",
}
"""Experiments with crowded figures, and what crowds them."""
LONG = POLICIES.replace('"heuristic", "goodput"', """
    { rule = "heuristic", name = "a heuristic, under a name of 40 letters." },
    { rule = "goodput", name = "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW" }
""")  # fmt: skip
ALONG = '[sweep]\n"latency.target" = [60, 76, 90]\n'
ACROSS = f'{ALONG}"acceptance.sojourn" = [[30, 20], [2, 2]]\n'
NAMES = {"one": LONG, "along": LONG + ALONG, "across": LONG + ACROSS}


@cache
def drawn(name):
    if name in SIMULATED:
        few = ["simulation.requests=60", *(["uncertainty.draws=20"] if name == "from_log" else [])]
        return figures(mtpsim.run(mtpsim.load(f"experiments/{name}.toml", few)).data, ())
    return figures(EXAMPLES[name], example_round_times(EXAMPLES[name], cv=0))


@pytest.mark.parametrize("name", [*EXAMPLES, *SIMULATED])
def test_texts_do_not_overlap(name):
    found = {kind: overlaps(figure) for kind, figure in drawn(name).items()}
    assert not {kind: sentences for kind, sentences in found.items() if sentences}


@pytest.mark.parametrize("kind", ["speedup", "theory"])
def test_a_note_keeps_off_the_legend(kind):
    figure = drawn("one")[kind]
    FigureCanvasAgg(figure).draw()
    (note,) = (text for text in figure.texts if text.get_gid() == "note")
    below = figure.legends[0].get_window_extent().y0 - note.get_window_extent().y1
    assert below >= 0.1 * figure.dpi


@pytest.mark.parametrize("name", NAMES)
def test_long_names_of_policies_fit(name):
    found = mtpsim.run(mtpsim.parse(NAMES[name])).data
    shown = {"policies": policies_figure, "timeline": timeline_figure, "learning": learning_figure}
    sentences = {kind: overlaps(figure(found)) for kind, figure in shown.items()}
    assert not any(sentences.values()), sentences


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([1, 2, 4, 8, 16, 32, 64], "log"),
        ([64, 256, 2048], "linear"),
        ([0, 0.01, 0.5, 1], "linear"),
        (["round", "token"], "linear"),
        ([[0.1 * n, 0.25] for n in range(1, 10)], "linear"),
        ([3], "linear"),
    ],
)
def test_tick_labels_of_swept_values_fit(values, scale):
    points = [example_point({"latency.batch": value}) for value in values]
    frame, along = Frame("", ""), Along.of(document(points), "latency.batch")
    frame.axes[0].plot(along.x, along.x, "o")
    along.tick(frame.axes[0])
    assert frame.axes[0].get_xscale() == scale
    assert not overlaps(frame.figure)


def test_computed_text_widths_are_those_drawn():
    figure = Figure()
    renderer = FigureCanvasAgg(figure).get_renderer()
    for text, bold in (("depth 3, fails", False), ("first = 0.8, $ and $", True)):
        weight = "bold" if bold else "normal"
        drawn = figure.text(0, 0, text, fontsize=9, fontweight=weight, parse_math=False)
        wide = drawn.get_window_extent(renderer).width / figure.dpi
        assert width_of(text, 9, bold=bold) == pytest.approx(wide, rel=0.06)
    assert width_of("one\nfour", 9) == width_of("four", 9)
    assert fit("a text that is far too long", 0.6, 9) == "a text t…"
    assert width_of("\N{CJK UNIFIED IDEOGRAPH-6DF1}\x00", 36) == 1


def words(figure):
    return [text.get_label() for text in figure.texts]


@pytest.mark.parametrize("pairs", [[(1, 2)], [(1, 2), (1, 3), (2, 3), (0, 1)]])
def test_plans_name_their_depths_and_what_was_asked_for(pairs):
    designs = [Design(False, 1200, 0.91, 0.05, 400), Design(True, 90, 0.9, 0.05, 400)]
    questions = [Comparison(pair, (0.02, 0.001), designs, None) for pair in pairs]
    figure = plan_figure(BenchmarkPlan(0.02, 0.9, 0.95, {}, 512, questions, []))
    assert not overlaps(figure)
    _, subtitle, note = words(figure)
    assert ("between depths 1 and 2" in subtitle) == (len(pairs) == 1)
    assert note == "Dashed: the wanted probability, 0.9."


@pytest.mark.parametrize(("log", "side"), [(0.28, "left"), (0.05, "right")])
def test_names_of_fitted_models_avoid_the_line_of_the_log(log, side):
    def check(low, high):
        found = {"low": low, "high": high, "mean": (low + high) / 2, "log": log}
        return SimpleNamespace(checks=[SimpleNamespace(kind="spread", **found)])

    models = {"regime2-token": check(0.25, 0.35), "beta": check(0.2, 0.3), "geometric": check(0, 0)}
    fitted = SimpleNamespace(log=SimpleNamespace(unit="request"), goodness=models)
    frame = Frame("A fit", "", panels=4)
    _spread(frame.axes[2], fitted, dict(zip(models, LINES, strict=False)))
    assert {text.get_ha() for text in frame.axes[2].texts} == {side}
    assert not overlaps(frame.figure)
    dashed = frame.axes[2].lines[2].get_window_extent().x0
    boxes = [text.get_window_extent() for text in frame.axes[2].texts]
    assert not any(box.x0 < dashed < box.x1 for box in boxes)


def test_overlaps_are_found():
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 1, 2], [0, 1, 0])
    axes.set(xlim=(0, 2), ylim=(0, 1))
    axes.text(0.9, 0.92, "peak")
    axes.text(1.5, 0.8, "here")
    axes.text(1.5, 0.82, "too")
    axes.text(1.9, 0.5, "a text that goes far to the right")
    assert [sentence.replace("'", "") for sentence in overlaps(figure)] == [
        "a text that goes far to the right reaches out of the figure",
        "here lies on too",
        "a line crosses peak",
    ]
