"""The figures of the report: that they draw the right numbers and state the right finding."""

import copy
import itertools

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.image import imread

from mtpsim.report.document import Interval
from mtpsim.report.document_shapes import DraftTree
from mtpsim.report.figures.distributions import (
    accepted_figure,
    density,
    latency_figure,
    requests_figure,
)
from mtpsim.report.figures.gallery import figures, save_plots
from mtpsim.report.figures.panels import some_points
from mtpsim.report.figures.speedup import (
    dependence_figure,
    marginal_figure,
    speedup_figure,
    theory_figure,
)
from mtpsim.report.figures.style import MAX_PANELS, whole_dashes
from mtpsim.report.formatting import value_text
from mtpsim.report.tables.diagnostics import row_name
from tests.support.overlaps import texts
from tests.support.report_example import (
    EXAMPLES,
    RATES,
    document,
    example_deep,
    example_grid,
    example_point,
    example_result,
    example_round_times,
    example_sweep,
    without_numbers,
)


def drawn_lines(axes) -> list[list[float]]:
    return [np.asarray(line.get_ydata(), float).tolist() for line in axes.lines]


def bars_of(figure):
    return next(c for c in figure.axes[0].containers if hasattr(c, "patches")).patches


def has_line(axes, values, **tolerance) -> bool:
    return any(line == pytest.approx(values, **tolerance) for line in drawn_lines(axes))


TREE = {"tree": "topk", "topk": 3, "steps": 1, "nodes": 7}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (TREE, "topk-3 tree (1 step, 7 nodes)"),
        ({"tree": "chain"}, "chain"),
        ({"tree": "chain", "block": 8}, "chain (block 8)"),
        ({"tree": [0, 1, 0]}, "[0, 1, 0] tree"),
        ({"rule": "bandit", "width": 0.1}, "bandit width=0.1"),
    ],
)
def test_a_swept_shape_of_drafts_has_a_readable_name(value, text):
    assert value_text(value) == text


def test_every_panel_shows_all_that_its_point_sets():
    result = example_sweep()
    for point, batch in zip(result.points, (1, 16, 256), strict=False):
        point.set = {"draft": TREE, "latency.batch": batch}
    titles = [axes.get_title(loc="left") for axes in marginal_figure(result).axes]
    shape = "draft = topk-3 tree (1 step, 7 nodes)"
    assert titles == [f"{shape}\nbatch = {batch}" for batch in (1, 16, 256)][: len(titles)]


def test_a_map_has_the_longer_names_at_its_left():
    result = example_grid()
    for point, key in ((p, k) for p in result.points for k in list(p.set)[1:]):
        point.set[key] = {**TREE, "nodes": int(100 * point.set[key])}
    (axes,) = speedup_figure(result).axes
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert all(row.startswith("topk-3 tree (1 step, ") and "…" not in row for row in rows)


def crowded_grid(rows=16, columns=12):
    """A grid too large for texts in its cells: lists across, of which 4 make depth 3 the best."""
    points = [
        example_point(
            {"latency.target": 70 + row, "acceptance.sojourn": [100 + column, 200]},
            rates=[0.9 if column in (1, 4, 5, 7) else 0.5] * 3,
            round_time=[70 + row, 80, 90, 100],
        )
        for row in range(rows)
        for column in range(columns)
    ]
    return document(points)


def test_a_crowded_map_shows_depths_and_speedups_and_explains_only_what_it_draws():
    """Before, one map: depths at 1.5, 2.5, no speedups, and a note on texts of cells."""
    result = crowded_grid()
    figure = speedup_figure(result)
    figure.draw_without_rendering()
    depths, speeds, bar, _ = figure.axes
    advised = [point.advice.depth for point in result.points]
    best = [p.depths[k].speedup.mean for p, k in zip(result.points, advised, strict=True)]
    assert speeds.images[0].get_array().ravel().tolist() == best
    assert [label.get_text() for label in bar.get_yticklabels()] == ["2", "3"]
    assert bar.get_yticks().tolist() == [2, 3]
    assert "d2" not in texts(figure)
    assert "off" not in texts(figure)
    boxes = [label.get_window_extent() for label in depths.get_xticklabels()]
    assert all(left.x1 <= right.x0 for left, right in itertools.pairwise(boxes))
    assert len(boxes) == 12  # lists have no order: each has its name, turned
    theory = theory_figure(result)
    assert "d2" not in texts(theory)
    assert "off" not in texts(theory)


def test_errors_of_a_map_span_its_colours():
    """Before, to 2.6 % at least, though all errors were within 0.05 %."""
    result = crowded_grid()
    for point, mean in zip(result.points, [-0.021, 0.001, *190 * [0.0]], strict=True):
        for depth in point.depths[1:]:
            depth.theory_error.mean = mean
    result.points[0].depths[2].theory_error.verdict = "fails"
    result.points[1].depths[1].theory_error.verdict = "fails"  # not the best depth: not shown
    result.points[1].depths[1].theory_error.mean = -0.05
    figure = theory_figure(result)
    axes, bar = figure.axes
    assert (axes.images[0].norm.vmin, axes.images[0].norm.vmax) == pytest.approx((-2.1, 2.1))
    assert bar.get_ylim() == pytest.approx((-2.1, 0.1))
    assert "underestimates the speedup by up to 2.1 % at depth 2" in " ".join(texts(figure).split())


def test_panels_of_a_grid_have_many_values_of_each_key_and_every_best_depth():
    """Before, six panels had two values of the second key, and none the second best depth."""
    result = crowded_grid(rows=20, columns=15)
    points, remark = some_points(result)
    assert remark == "6 of the 300 points. "
    for key in ("latency.target", "acceptance.sojourn"):
        assert len({value_text(point.set[key]) for point in points}) >= 3
    corners = {f"[{target}, [{start}, 200]]" for target in (70, 89) for start in (100, 114)}
    assert corners <= {value_text([*point.set.values()]) for point in points}
    assert {p.advice.depth for p in points} == {p.advice.depth for p in result.points}


def test_equal_panels_are_drawn_once_with_what_their_points_share():
    points = [
        example_point({"draft": draft, "latency.batch": batch}, rates=rates, round_time=times)
        for draft, rates, times in (
            ({"tree": "chain"}, [0.8] * 3, [76, 98, 118, 139]),
            (TREE, [0.7] * 2, [76, 98, 118]),
        )
        for batch in (1, 16)
    ]
    result = document(points)
    figure = accepted_figure(result)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["draft = chain", "draft = topk-3 tree (1 step, 7 nodes)"]
    assert "Equal panels of several points are drawn once." in texts(figure)
    assert "accept the most possible (2 to 3)" in " ".join(texts(figure).split())
    assert "at the greatest depth (2 to 3)" in texts(figure)
    times = example_round_times(result)
    assert "A round at the greatest depth (2 to 3) takes" in texts(latency_figure(result, times))


def test_a_tree_accepts_a_draft_per_level():
    result = example_result()
    result.points[0].tree = DraftTree(
        parents=[0, 0, 1, 3], probability=[0.1] * 4, accept_length=1.4
    )
    assert "40 % accept 3, one per level" in texts(accepted_figure(result))


def test_steps_that_pay_are_told_from_the_best_depth():
    result = example_sweep()
    assert "Steps up to depth" in texts(marginal_figure(result))
    result.points[0].advice.verdicts[1] = "negligible"
    assert "Essential or optional steps by point: 1 to 2; best depth: 2" in texts(
        marginal_figure(result)
    )


@pytest.mark.parametrize("length", [0.2, 0.41, 0.5, 0.77, 3.0])
def test_dashes_end_with_the_line(length):
    _, (dash, gap) = whole_dashes(length, 1.2)
    count = (72 * length / 1.2 + gap) / (dash + gap)
    assert count == pytest.approx(round(count))
    assert dash == pytest.approx(4, rel=0.25)


def test_each_of_a_few_different_times_is_a_line():
    result = example_result()
    times = np.repeat([80.0, 90.0, 95.0], [10, 30, 20])
    figure = latency_figure(result, [[times] * 4])
    assert "Vertical lines" in texts(figure)
    assert "Vertical lines" not in texts(latency_figure(result, example_round_times(result)))
    axes = figure.axes[0]
    lines = np.array(axes.collections[0].get_segments())
    assert lines[:, 0, 0].tolist() == [80, 90, 95]
    heights = lines[:, 1, 1] - lines[:, 0, 1]
    assert heights / heights[1] == pytest.approx([1 / 3, 1, 2 / 3])


class TestFigures:
    def test_speedup_shows_theory_exact_and_simulation(self):
        result = example_result(bias=-0.03)
        figure = speedup_figure(result)
        cells = [depth.speedup for depth in result.points[0].depths]
        for field in ("theory", "exact", "mean"):
            assert has_line(figure.axes[0], [getattr(c, field) for c in cells])
        (bars,) = figure.axes[0].containers
        segments = bars[2][0].get_segments()
        assert [s[0, 1] for s in segments] == pytest.approx([c.low for c in cells])
        assert [s[1, 1] for s in segments] == pytest.approx([c.high for c in cells])
        assert "Depth 2 is fastest: 1.45x" in texts(figure)
        assert {"closed form", "exact solution", "simulated"} <= set(texts(figure).splitlines())
        values = [label.get_text() for label in figure.axes[0].get_xticklabels()]
        assert values == [f"{k}\n{cell.mean:.3f}x" for k, cell in enumerate(cells)]

    def test_founding_case_draws_the_published_speedups(self):
        published = [1, 1.395918, 1.540610, 1.524724]
        assert has_line(speedup_figure(example_result()).axes[0], published, abs=1e-6)

    def test_headings_name_tied_depths_and_that_no_depth_pays(self):
        assert "may be as fast" in texts(speedup_figure(example_result(relative_half_width=0.1)))
        slow = example_result(round_time=[76, 200, 300, 400])
        assert "No depth pays" in texts(speedup_figure(slow))
        assert "depth 1 is" in texts(marginal_figure(slow))

    def test_few_points_are_lines_with_a_legend(self):
        figure = speedup_figure(example_sweep())
        assert len(figure.axes) == 1
        for label in ("noise.cv = 0.4", "closed form", "plain decoding"):
            assert label in texts(figure)

    def test_many_points_lie_along_the_swept_key(self):
        result = EXAMPLES["long sweep"]
        axes = speedup_figure(result).axes[0]
        at_2 = [point.depths[2].speedup.mean for point in result.points]
        assert has_line(axes, at_2)
        assert axes.get_xlabel() == "noise.cv"

    def test_two_keys_make_a_map(self):
        axes = speedup_figure(example_grid()).axes[0]
        shown = axes.images[0].get_array()
        assert shown.shape == (3, 4)
        best = [point.advice.depth for point in example_grid().points]
        assert shown.ravel().tolist() == best

    def test_marginal_bars_show_the_gain_and_the_verdict(self):
        result = example_result()
        figure = marginal_figure(result)
        bars = bars_of(figure)
        tops = [bar.get_y() + bar.get_height() for bar in bars]
        gains = [depth.marginal.mean for depth in result.points[0].depths[1:]]
        assert tops == pytest.approx(gains)
        faces = [bar.get_facecolor() for bar in bars]
        assert len(set(faces)) == 3
        assert all(word in texts(figure) for word in ("essential", "optional", "harmful"))
        assert "Steps up to depth 2 pay; depth 3 is 1.0 % slower than depth 2" in texts(figure)

    @pytest.mark.parametrize(("gain", "shown"), [(1.0, True), (12345.0, False)])
    def test_all_panels_of_a_sweep_show_their_values_or_none_does(self, gain, shown):
        result = copy.deepcopy(EXAMPLES["sweep"])
        cell = result.points[-1].depths[1].marginal
        cell.mean, cell.low, cell.high = gain * cell.mean, gain * cell.low, gain * cell.high
        figure = marginal_figure(result)
        figure.draw_without_rendering()
        ticks = [[t.get_text() for t in axes.get_xticklabels()] for axes in figure.axes]
        assert {"\n" in text for panel in ticks for text in panel} == {shown}
        assert ("Below each step: its gain." in texts(figure)) == shown
        assert {axes.get_xlabel() for axes in figure.axes} == {"step to depth k"}

    def test_marginal_interval_across_one_is_undecided(self):
        figure = marginal_figure(example_result(relative_half_width=0.2))
        assert [bar.get_hatch() for bar in bars_of(figure)] == [None, "////", "////"]
        assert "\nundecided" in texts(figure)

    def test_accepted_bars_are_shares_of_rounds(self):
        figure = accepted_figure(example_result())
        heights = [bar.get_height() for bar in bars_of(figure)]
        assert sum(heights) == pytest.approx(100, rel=1e-3)
        assert heights[0] == pytest.approx(100 * (1 - RATES[0]), rel=1e-3)
        assert "20 % of rounds accept no draft, 40 % accept all 3" in texts(figure)

    def test_latency_rows_mark_the_mean_of_each_depth(self):
        result = example_result()
        axes = latency_figure(result, example_round_times(result)).axes[0]
        dots = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]
        times = [depth.round_time.mean for depth in result.points[0].depths]
        assert dots == pytest.approx(times)
        assert len(axes.collections) == len(times)

    def test_constant_time_is_a_vertical_line(self):
        result = example_result()
        axes = latency_figure(result, example_round_times(result, cv=0)).axes[0]
        places = [c.get_segments()[0][:, 0].tolist() for c in axes.collections]
        assert places == [[t, t] for t in (76, 98, 118, 139)]

    def test_times_of_hidden_points_are_not_sampled(self):
        class Sampled(list):
            def __getitem__(self, place):
                places.append(place)
                return super().__getitem__(place)

        result, places = EXAMPLES["long sweep"], []
        latency_figure(result, Sampled(example_round_times(result)))
        assert len(places) == MAX_PANELS < len(result.points)

    @pytest.mark.parametrize("name", EXAMPLES)
    def test_every_kind_of_result_gives_six_figures(self, name):
        result = EXAMPLES[name]
        drawn = figures(result, example_round_times(result))
        names = ["speedup", "marginal", "accepted", "theory", "dependence", "latency"]
        assert list(drawn) == names
        bare = without_numbers(result)
        empty = figures(bare, [[np.empty(0)] * len(point.depths) for point in bare.points])
        assert list(empty) == names
        assert "nan" not in "".join(map(texts, empty.values()))

    def test_documents_without_samples_definitions_and_diagnostics_are_drawn(self, tmp_path):
        old = example_result()
        old.experiment["title"] = r"costs $5 \frac and $6"  # is not mathematics
        assert len(save_plots(old, [], tmp_path)) == 5
        for point in old.points:
            point.trial = point.diagnostics = None
        assert len(save_plots(old, [], tmp_path)) == 3


@pytest.mark.parametrize("examples", ["one", "grid"])
def test_the_same_document_gives_the_same_file(examples, tmp_path):
    result = EXAMPLES[examples]
    times = example_round_times(result)
    first, second = (save_plots(result, times, tmp_path / name) for name in "ab")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert imread(one).std() > 0.02


def test_density_peaks_where_the_sample_does():
    sample = np.random.default_rng(3).normal(100, 5, 20_000)
    grid = np.linspace(70, 130, 400)
    found = density(sample, grid)
    wanted = np.exp(-0.5 * ((grid - 100) / 5) ** 2)
    # Relative error of the peak: sd (2 sqrt(pi) n h f)^-1/2 = 1.7 %, bias 0.8 %.
    # Four standard errors.
    assert np.abs(found - wanted).max() < 0.07
    assert found.max() == 1


class TestTheory:
    def test_one_point_shows_every_definition_and_weightings_that_differ(self):
        result = example_result()
        figure = theory_figure(result)
        rows = result.points[0].trial.rows
        for row in rows:
            errors = [100 * entry.speedup_error.mean for entry in row.depths]
            assert (
                has_line(figure.axes[0], errors) or row.weighting == "every-position"
            )  # here the same as round-pooled
        written = texts(figure)
        shown = [row for row in rows if row.weighting != "every-position"]
        assert {row_name(row) for row in shown} <= set(written.splitlines())
        assert ", all of the text" not in written
        assert "The closed form is within 0.5 % at every depth" in written
        assert "tolerance of 0.5 %" in written

    def test_a_failure_is_the_heading(self):
        result = example_result()
        error = result.points[0].depths[3].theory_error
        error.mean, error.verdict = -0.0691, "fails"
        assert "underestimates the speedup by 6.91 % at depth 3" in texts(theory_figure(result))

    def test_one_swept_key_gives_lines_two_a_map_and_zipped_keys_a_list(self):
        sweep = example_sweep()
        figure = theory_figure(sweep)
        at_2 = [100 * point.depths[2].theory_error.mean for point in sweep.points]
        assert has_line(figure.axes[0], at_2)
        assert "depth 2" in texts(figure)
        grid = theory_figure(example_grid())
        (image,) = grid.axes[0].images
        assert image.get_array().shape == (3, 4)
        zipped = example_grid()
        zipped.points = zipped.points[:5]  # not a full grid
        assert not theory_figure(zipped).axes[0].images
        assert "depth" in texts(theory_figure(zipped))

    def test_a_swept_tolerance_is_that_of_each_point(self):
        within = [0.001, 0.004, 0.02]
        points = [example_point({"simulation.epsilon": e}, seed=n) for n, e in enumerate(within)]
        figure = theory_figure(document(points))
        assert "tolerance of 0.1 % to 2 %" in texts(figure)
        (band,) = [c for c in figure.axes[0].collections if isinstance(c, PolyCollection)]
        corners = {tuple(corner) for corner in band.get_paths()[0].vertices.round(6).tolist()}
        assert {(e, sign * 100 * e) for e in within for sign in (1, -1)} <= corners

    def test_theory_says_off_where_plain_decoding_is_fastest(self):
        slow = {"round_time": [76, 200, 300, 400]}
        points = [
            example_point({"latency.batch": batch, "latency.cached": cached}, **more)
            for cached, more in ((0, {}), (9, slow))
            for batch in (1, 64)
        ]
        crossed = texts(theory_figure(document(points)))
        assert crossed.count("off") == 2 + 1  # two cells, and the note
        assert crossed.count(", d2") == 2
        zipped = texts(theory_figure(document([points[0], points[3]])))
        assert zipped.splitlines().count("off") == 1
        assert zipped.count("depth 2, ") == 1


def speeds(p1, p50, p99):
    """A point with these quantiles of request speed at every depth."""
    means = {"p1": p1, "p5": p1, "p50": p50, "p95": p99, "p99": p99}
    cells = {share: Interval(mean=mean, low=None, high=None) for share, mean in means.items()}
    point = example_point()
    for depth in point.depths:
        depth.request_speed = cells
    return point


class TestRequests:
    @pytest.mark.parametrize(
        ("points", "heading"),
        [
            ([(8, 10, 12)], "1 % of requests at depth 2 are at least 20 % slower than the median"),
            ([(10, 10, 10)], "All requests at depth 2 are equally fast"),
            ([(8, 10, 12), (6, 10, 12)], "1 % of requests are at least 20 to 40 % slower than the"),
            ([(None, None, None)], "Speed of single requests"),
        ],
    )
    def test_the_heading_compares_the_slowest_requests_with_the_median(self, points, heading):
        figure = requests_figure(document([speeds(*point) for point in points]))
        (found,) = (text for text in figure.texts if text.get_gid() == "heading")
        assert found.get_label().startswith(heading)

    def test_medians_are_written_where_they_fit(self):
        deep = example_deep()
        for depth in deep.points[0].depths:
            depth.request_speed = speeds(8, 1234.4, 1500).depths[0].request_speed
        ticks = [
            [label.get_text() for label in requests_figure(result).axes[0].get_xticklabels()]
            for result in (document([speeds(8, 1234.4, 1500)]), deep)
        ]
        assert ticks[0] == [f"{k}\n1,234" for k in range(4)]
        assert ticks[1] == [f"{k}" for k in range(17)]


class TestDependence:
    def test_autocorrelation_with_intervals_and_its_limit(self):
        result = example_result()
        figure = dependence_figure(result)
        found = result.points[0].diagnostics
        assert has_line(figure.axes[0], found.autocorrelation.mean)
        assert has_line(figure.axes[0], [0.1, 0.1])
        (bars,) = figure.axes[0].containers
        low = [s[0, 1] for s in bars[2][0].get_segments()]
        assert low == pytest.approx(found.autocorrelation.low)
        assert "makes intervals 3 times too narrow" in texts(figure)
        assert "between-request share" in texts(figure)

    def test_rates_by_position_for_each_depth_or_p1_for_each_point(self):
        figure = dependence_figure(example_result())
        lines = drawn_lines(figure.axes[1])
        assert [len(line) for line in lines] == [3, 2, 1]
        assert "rates at depth 3\nrates at depth 2\nrates at depth 1" in texts(figure)
        sweep = dependence_figure(example_sweep())
        assert [len(line) for line in drawn_lines(sweep.axes[1])] == [3, 3, 3]
        assert "noise.cv = 0.4" in texts(sweep)

    def test_constant_counts_have_no_autocorrelation(self):
        figure = dependence_figure(without_numbers(example_result()))
        assert "constant counts" in texts(figure)
        assert "No dependence between rounds of a request detected" in texts(figure)
