"""No figure has a text that reaches out of it, or lies on another text or on a line."""

from __future__ import annotations

from functools import cache

import pytest
from matplotlib.figure import Figure
from picture_room import collisions
from report_example import EXAMPLES, example_round_times

import mtpsim
from mtpsim.report.plots import figures

SIMULATED = {
    "carried_rates": "three swept keys, eight depths",
    "regimes": "two panels of eight depths",
    "from_log": "a closed form just below what was simulated",
    "robust": "a closed form that leaves what was simulated",
    "workload": "wide intervals",
}
"""Experiments whose pictures are full, and of what."""


@cache
def drawn(name):
    if name in SIMULATED:
        few = ["simulation.requests=60", *(["uncertainty.draws=20"] if name == "from_log" else [])]
        return figures(mtpsim.run(mtpsim.load(f"experiments/{name}.toml", few)).document, ())
    return figures(EXAMPLES[name], example_round_times(EXAMPLES[name], cv=0))


@pytest.mark.parametrize("name", [*EXAMPLES, *SIMULATED])
def test_nothing_that_is_written_collides(name):
    found = {kind: collisions(figure) for kind, figure in drawn(name).items()}
    assert not {kind: told for kind, told in found.items() if told}


def test_collisions_are_found():
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 1, 2], [0, 1, 0])
    axes.set(xlim=(0, 2), ylim=(0, 1))
    axes.text(0.9, 0.92, "peak")
    axes.text(1.5, 0.8, "here")
    axes.text(1.5, 0.82, "too")
    axes.text(1.9, 0.5, "a text that goes far to the right")
    assert [told.replace("'", "") for told in collisions(figure)] == [
        "a text that goes far to the right reaches out of the figure",
        "here lies on too",
        "a line crosses peak",
    ]
