"""Depth by batch, against times worked out by hand."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import brentq

import mtpsim
from mtpsim.common.errors import InputError
from mtpsim.report.document import ScheduleStep
from mtpsim.report.figures.batch import batch_figure
from mtpsim.report.tables.sweep import batch_sentences
from tests.support.examples import independent, linear, noise, section, simulation

TEXT = independent(0.7, 0.6) + linear(10, 0.1, 1) + noise(0.3, "gamma")
TEXT += simulation(requests=3000)
TEXT += section("sweep", **{"latency.base": [10, 40], "latency.batch": [1, 30, 400]})


@pytest.fixture(scope="module")
def result():
    return mtpsim.run(mtpsim.parse(TEXT)).data


def best_gain(batch, base):
    """Closed form: what the best draft gains, with a step of base + 0.1 B (k + 1) + k ms."""
    plain = base + 0.1 * batch
    lengths = {1: 1.7, 2: 1.7 + 0.42}
    return max(n * plain / (base + 0.1 * batch * (k + 1) + k) for k, n in lengths.items()) - 1


@pytest.mark.parametrize(("group", "base"), [(0, 10), (1, 40)])
def test_turning_point_agrees_with_the_closed_form(result, group, base):
    found = result.by_batch[group]
    truth = brentq(best_gain, 20, 1e5, args=(base,))
    assert found.set == {"latency.base": base}
    if truth > 400:
        assert found.turns == []
        return
    (turn,) = found.turns
    assert turn.to == "off"
    assert turn.low - 1 <= int(truth) <= turn.high + 1
    assert turn.high - turn.low < 0.04 * truth
    assert found.schedule[-1] == ScheduleStep(from_=turn.batch + 1, to=400, depth=0)
    assert (found.schedule[-2].low, found.schedule[-2].high) == (turn.low, turn.high)


def test_schedule_covers_every_batch_with_its_fastest_depth(result):
    schedule = result.by_batch[0].schedule
    assert schedule[0].from_ == 1
    for before, after in pairwise(schedule):
        assert after.from_ == before.to + 1
    lengths = np.array([1, 1.7, 2.12])
    depths = np.arange(3)
    for entry in schedule:
        middle = (entry.from_ + entry.to) / 2
        pace = lengths / (10 + 0.1 * middle * (depths + 1) + depths)
        assert np.argmax(pace) == entry.depth


def test_curves_pass_through_the_simulated_points(result):
    curves = result.by_batch[0].curves
    for point in result.points[:3]:
        for depth in (1, 2):
            there = np.interp(point.set["latency.batch"], curves.batch,
                              curves.speedup[depth])  # fmt: skip
            cell = point.depths[depth].speedup
            assert abs(there - cell.mean) < 2 * (cell.high - cell.low)


def test_sentences_and_figure(result):
    first, second = batch_sentences(result)
    assert first.startswith("By batch, base = 10: 1 to ")
    (turn,) = result.by_batch[0].turns
    assert f"Turn MTP off above a batch of {turn.batch} [{turn.low:.0f}, {turn.high:.0f}]" in first
    assert first.endswith("Intervals take the step times as exact.")
    heading, *_, note = (text.get_label() for text in batch_figure(result).texts)
    assert "off above" in heading or "pays" in second
    assert "Dashed: batch size at which drafting starts or stops to pay" in note


@pytest.mark.parametrize(
    ("ends", "text"),
    [((5, 35), "13 [5, 35]"), ((None, 35), "13 [at most 35]"), ((5, None), "13 [at least 5]"),
     ((13, 13), "13"), ((None, None), "13")],
)  # fmt: skip
def test_intervals_of_one_end_are_stated(ends, text, result):
    low, high = ends
    group = replace(
        result.by_batch[0],
        turns=[],
        schedule=[ScheduleStep(from_=1, to=13, depth=2, low=low, high=high)],
    )
    (sentence,) = batch_sentences(replace(result, by_batch=[group]))
    assert f": 1 to {text} depth 2." in sentence


MOE = (
    independent(0.4, 0.4)
    + section("latency", model="moe", base=8, per_expert=1, experts=64, active=2, per_token=0.0001)
    + "draft = { base = 0, per_token = 1 }\n"
    + simulation(requests=3000)
    + section("sweep", **{"latency.batch": [1, 8, 3000]})
)


def test_moe_can_turn_off_and_on_again():
    turns = mtpsim.run(mtpsim.parse(MOE)).data.by_batch[0].turns
    assert [turn.to for turn in turns] == ["off", "on"]
    assert turns[0].batch < turns[1].batch
    for turn in turns:
        assert turn.low <= turn.batch <= turn.high
        assert float(turn.low).is_integer()


@pytest.mark.parametrize(("batches", "groups"), [("[1]", 0), ("[1.2, 1.7]", 1)])
def test_no_schedule_for_one_batch_or_between_whole_numbers(batches, groups):
    found = mtpsim.run(mtpsim.parse(MOE.replace("[1, 8, 3000]", batches))).data
    assert [group.schedule for group in found.by_batch] == [[]] * groups
    for sentence in batch_sentences(found):
        assert "no whole one" in sentence
        batch_figure(found)


ROUGH = """
[uncertainty]
draws = 100
[uncertainty.inputs]
"latency.per_token" = { se = 0.01 }
"latency.base" = { se = 1 }
"""


def test_a_turning_point_carries_the_error_of_the_step_times(result):
    """Over base and time per token as uncertain as stated, against roots found one by one."""
    text = TEXT.replace('"latency.base" = [10, 40]\n', "") + ROUGH
    (group,) = mtpsim.run(mtpsim.parse(text)).data.by_batch
    (turn,) = group.turns
    rng, roots = np.random.default_rng(1), []
    for base, token in zip(rng.gamma(100, 0.1, 2000), rng.gamma(100, 0.001, 2000), strict=True):

        def gain(batch, base=base, token=token):
            times = base + token * batch * np.arange(1, 4) + np.arange(3)
            return (np.array([1.7, 2.12]) * times[0] / times[1:]).max() - 1

        roots.append(brentq(gain, 1, 1e5))
    low, high = np.quantile(roots, [0.025, 0.975])
    assert turn.over == "inputs"
    assert (turn.low, turn.high) == pytest.approx((low, min(high, 400)), rel=0.08)
    sure = result.by_batch[0].turns[0]
    assert turn.high - turn.low > 5 * (sure.high - sure.low)  # the negative control
    (sentence,) = batch_sentences(mtpsim.run(mtpsim.parse(text)).data)
    assert sentence.endswith("Intervals include input uncertainty.")


def test_few_requests_give_a_turning_point_without_an_interval():
    text = MOE.replace("3000\n[sweep]", "5\n[sweep]")
    (sentence,) = batch_sentences(mtpsim.run(mtpsim.parse(text)).data)
    assert "Turn MTP off above a batch of 2." in sentence
    assert sentence.endswith("Too few requests for intervals.")


def test_no_groups_without_a_batch_sweep():
    text = TEXT[: TEXT.index("[sweep]")]
    assert mtpsim.run(mtpsim.parse(text)).data.by_batch == []
    with pytest.raises(InputError, match="batch"):
        mtpsim.parse(TEXT.replace("[1, 30, 400]", "[0, 1]"))


def test_the_legend_names_the_depths_of_every_panel():
    """Trees of a sweep may differ in their depth; the deepest is in the first panel here."""
    experiment = mtpsim.load("experiments/trees.toml", overrides=["simulation.requests=100"])
    figure = batch_figure(mtpsim.run(experiment).data)
    drawn = {line.get_label() for axes in figure.axes for line in axes.get_lines()}
    named = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert {label for label in drawn if not label.startswith("_")} == named
    assert "depth 4" in named
