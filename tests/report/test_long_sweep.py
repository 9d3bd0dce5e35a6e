"""Sweeps of more points than a screen has lines."""

import io

import numpy as np
import pytest
from rich.console import Console

from mtpsim.common.errors import InputError
from mtpsim.report.tables.long_sweep import where_sentence
from mtpsim.report.tables.result import render
from mtpsim.results.document import Result
from mtpsim.runs.export import export
from tests.support.report_example import document, example_point


def long_grid(targets=range(40, 120, 10), drafts=(2, 5, 8, 12, 20, 30, 40)):
    """A sweep over two keys, 56 points by default, with a warning at some of them."""
    points = []
    for target in targets:
        for cost in drafts:
            times = [target, *(90 + cost * np.arange(1, 5)).tolist()]
            setting = {"latency.target": target}
            if len(drafts) > 1:
                setting["latency.draft"] = cost
            points.append(example_point(setting, rates=[0.7] * 4, round_time=times))
            if target > cost + 90:
                text = f"a round takes {cost + 90} ms, less than a plain step ({target} ms)"
                points[-1].warnings = [text]
    return document(points)


def printed(result, every=False):
    file = io.StringIO()
    render(result, Console(file=file, width=100), every=every)
    return file.getvalue()


def test_a_sweep_of_many_points_fits_a_screen_and_ends_with_the_answer():
    text = printed(long_grid())
    lines = text.splitlines()
    assert len(lines) < 40 < 112 < len(printed(long_grid(), every=True).splitlines())
    assert "40 to 50   -          -          60 to 110" in text.partition("draft = 20")[2]
    counts = "off at 11, depth 1 at 4, depth 2 at 5, depth 3 at 13 and depth 4 at 23"
    assert counts in lines[-1] + lines[-2]
    assert text.count("warning:") == 1
    folded = "takes 92 to 102 ms, less than a plain step (100 to 110 ms) (7 of 56 points, "
    assert f"{folded}target = 100 to 110, draft = 2 to 12)" in " ".join(text.split())


def test_a_sweep_says_where_each_depth_is_best():
    one, two = long_grid(drafts=[20]), long_grid(targets=[40, 60])
    depths = "Off at target = 40 to 50, depth 3 at target = 60 to 110."
    assert where_sentence(one) == depths
    assert where_sentence(two).startswith("target = 40: depth 4 at draft = 2 to 5, off at")


def test_export_of_many_points_names_the_swept_values_and_an_example():
    with pytest.raises(InputError) as caught:
        export(Result(long_grid()), "vllm")
    text = str(caught.value)
    assert "latency.target: 40, 50, 60, 70, 80, 90, 100, 110; latency.draft: 2, 5, 8, 12" in text
    assert text.endswith("such as --set latency.target=40 --set latency.draft=2")
    assert len(text) < 300


def test_answers_of_the_first_point_of_a_sweep_warn():
    result = Result(long_grid(targets=[40, 60]))
    with pytest.warns(UserWarning, match=r"advice is that of the first of 14 points \(latency"):
        assert result.advice == result.data.points[0].advice.sentence
    with pytest.warns(UserWarning, match=r"point i has depth\(2, point=i\)"):
        first = result.depth(2)
    assert first == result.depth(2, point=0) != result.depth(2, point=13)
