"""Adaptive depth in the report: tables, sentences, figures, rows."""

import copy
from dataclasses import replace
from io import StringIO
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

import mtpsim
from mtpsim.report.document import JudgedInterval, Reaction, ReactionCurve
from mtpsim.report.figures.policies import (
    _fastest_reaction,
    learning_figure,
    policies_figure,
    timeline_figure,
)
from mtpsim.report.figures.style import GREY
from mtpsim.report.tables.diagnostics import policy_request_sentence, policy_requests_table
from mtpsim.report.tables.policies import best_policy, policies_heading, verdict
from mtpsim.report.tables.result import render
from tests.support.examples import POLICIES, independent
from tests.support.overlaps import texts


def run(more=""):
    return mtpsim.run(mtpsim.parse(POLICIES + more))


@pytest.fixture(scope="module")
def one():
    return run()


@pytest.fixture(scope="module")
def swept():
    return run('[sweep]\n"acceptance.sojourn" = [[30, 20], [2, 2]]\n"latency.target" = [76, 60]')


def printed(result, width=120, **options):
    console = Console(file=StringIO(), width=width, no_color=True, **options)
    render(result.data, console)
    return console.file.getvalue()


def policy(result, name, point=0):
    entries = result.data.points[point].adaptive.policies
    return next(entry for entry in entries if entry.name == name)


def test_oracle_is_always_listed_and_captures_its_whole_gain(one):
    oracle = policy(one, "oracle")
    assert oracle.captured.mean == 1
    assert oracle.speedup.low < oracle.speedup.exact < oracle.speedup.high


def test_an_oracle_that_runs_the_best_fixed_depth_is_neither_faster_nor_slower():
    constant = ["acceptance.sd=0.0", 'sweep={ "acceptance.length" = [16] }']
    few = ["simulation={ rounds = 400, requests = 300 }"]
    (point,) = mtpsim.run(mtpsim.load("experiments/adapting.toml", constant + few)).data.points
    gains = {p.name: p.gain for p in point.adaptive.policies}
    assert gains["oracle"].mean == pytest.approx(1, abs=1e-12)
    assert gains["oracle"].verdict == "open"
    assert gains["ema"].verdict == "slower"


def test_a_policy_that_never_drafts_is_plain_decoding(one):
    off = policy(one, "off")
    assert off.speedup.mean == pytest.approx(1, abs=1e-12)
    assert off.speedup.exact == pytest.approx(1, abs=1e-12)
    best = one.data.points[0].depths[one.data.points[0].adaptive.best_fixed].speedup.mean
    assert off.gain.mean == pytest.approx(1 / best)
    assert off.gain.verdict == "slower"


def test_gain_and_captured_share_follow_from_the_speedups(one):
    best = one.data.points[0].depths[one.data.points[0].adaptive.best_fixed].speedup.mean
    oracle = policy(one, "oracle").speedup.mean
    for entry in one.data.points[0].adaptive.policies:
        mean = entry.speedup.mean
        assert entry.gain.mean == pytest.approx(mean / best)
        assert entry.captured.mean == pytest.approx((mean - best) / (oracle - best))
        assert sum(entry.depths) == pytest.approx(1)
        length, time = entry.accept_length.mean, entry.round_time.mean
        assert mean == pytest.approx(length / time * 76)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160])
def test_tables_fit_and_have_a_line_per_policy(one, swept, width):
    for result in (one, swept):
        text = printed(result, width, force_terminal=True, color_system=None)
        assert width < 60 or max(map(len, text.splitlines())) <= width
        assert "…" not in printed(result, width)
    lines = printed(one, width).splitlines()
    for entry in one.data.points[0].adaptive.policies:
        assert sum(line.startswith(f" {entry.name} ") for line in lines) == 1


def test_the_report_states_whether_adapting_pays(one, swept):
    text = " ".join(printed(one).split())
    assert "Adapting pays: heuristic is" in text
    assert "Knowing the hidden state would gain" in text
    assert "Adapting" in printed(swept)


def test_bounds_and_constant_policies_are_no_candidates(one):
    adaptive = one.data.points[0].adaptive
    assert best_policy(adaptive).name == "heuristic"
    others = [p for p in adaptive.policies if p.name != "heuristic"]
    bare = replace(adaptive, policies=others)
    assert best_policy(bare).name == "goodput"
    still = replace(adaptive, policies=[policy(one, "off"), policy(one, "oracle")])
    assert best_policy(still) is None
    assert verdict(still).startswith("Knowing the hidden state would gain")


@pytest.mark.parametrize(("still", "says"), [(9.0, " that changes its depth"), (0.1, "")])
def test_a_constant_policy_may_be_faster_than_the_best_that_adapts(one, still, says):
    adaptive = one.data.points[0].adaptive
    moving = best_policy(adaptive)
    moving = replace(moving, gain=replace(moving.gain, low=0.9, high=1.1, verdict="open"))
    speedup = replace(moving.speedup, mean=still)
    stands = replace(moving, name="still", depths=[0.0, 0.0, 1.0], speedup=speedup)
    text = verdict(replace(adaptive, policies=[moving, stands]))
    assert f"{moving.name}, the fastest policy{says}, and" in text


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (1.011, 1.03, "Adapting pays: heuristic is 2.05 % [1.10, 3.00] faster"),
        (1.002, 1.009, "Within 1 %, not worth adapting: heuristic is 0.55 % [0.20, 0.90] faster"),
        (1.002, 1.03, "Adapting may pay: heuristic"),
        (0.9, 0.95, "does not pay"),
        (0.99, 1.02, "and fixed depth 2."),
        (0.99, 1.009, "and fixed depth 2 (within 1 %: not worth adapting)."),
    ],
)
def test_adaptive_verdict_follows_the_interval_of_the_gain(one, low, high, says):
    found = "faster" if low > 1 else "slower" if high < 1 else "open"
    gain = JudgedInterval(mean=(low + high) / 2, low=low, high=high, verdict=found)
    heuristic = replace(policy(one, "heuristic"), gain=gain)
    policies = [heuristic, policy(one, "oracle")]
    assert says in verdict(replace(one.data.points[0].adaptive, policies=policies))


def test_a_sweep_counts_gains_beyond_the_indifference_of_each_point(swept):
    gains = [best_policy(point.adaptive).gain.low - 1 for point in swept.data.points]
    for limit in (0.0, sorted(gains)[-1] + 1e-9):
        experiment = {**swept.data.experiment, "decision": {"indifference": limit}}
        heading = policies_heading(replace(swept.data, experiment=experiment))
        pays = sum(gain > limit for gain in gains)
        assert heading.startswith(f"Adapting pays at {pays or 'none'} of 4 points")


def test_policy_bars_equal_the_gains(one):
    figure = policies_figure(one.data)
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    gains = [100 * (p.gain.mean - 1) for p in one.data.points[0].adaptive.policies]
    assert sorted(widths) == pytest.approx(sorted(gains))
    assert "Adapting pays" in texts(figure)


def test_policy_map_has_oracle_and_policy_panels(swept):
    figure = policies_figure(swept.data)
    oracle_gain, policy_gain = (axes.images[0].get_array() for axes in figure.axes)
    for point in range(4):
        oracle = 100 * (policy(swept, "oracle", point).gain.mean - 1)
        assert np.isclose(oracle_gain, oracle).any()
        assert (np.asarray(policy_gain) <= np.asarray(oracle_gain) + 1e-9).all()


def test_a_sweep_of_one_key_has_a_line_a_policy():
    result = run('[sweep]\n"latency.target" = [70, 76, 82]')
    figure = policies_figure(result.data)
    names = {entry.name for entry in result.data.points[0].adaptive.policies}
    assert names <= set(texts(figure).splitlines())
    entry = result.data.points[0].adaptive.policies[0]
    for point in result.data.points:
        point.adaptive.policies = [replace(entry, name=f"policy {n}") for n in range(8)]
    many = policies_figure(result.data)
    assert {f"policy {n}" for n in range(8)} <= set(texts(many).splitlines())
    styles = [(line.get_color(), line.get_linestyle()) for line in many.axes[0].get_lines()[:8]]
    assert len(set(styles)) == 8


def test_the_timeline_is_the_replayed_request(one):
    line = one.data.points[0].adaptive.timeline
    assert line.hardness == [0, 1]
    oracle = line.policies["oracle"]
    states = np.array(oracle.state)
    assert (np.diff(states) != 0).any()
    by_state = {s: set(np.array(oracle.depth)[states == s]) for s in (0, 1)}
    assert by_state == {0: {2}, 1: {0}}
    assert all(p.state == oracle.state for p in line.policies.values())
    figure = timeline_figure(one.data)
    turns = {n: int((np.diff(line.policies[n].depth) != 0).sum()) for n in ("heuristic", "goodput")}
    assert turns["goodput"] == 1
    heading = f"heuristic changes its depth {turns['heuristic']} times in 150 rounds, goodput once"
    assert heading in texts(figure)


def test_learning_is_drawn_where_the_text_changes(one):
    figure = learning_figure(one.data)
    assert "drafts get harder" in texts(figure)
    lines = figure.axes[0].get_lines()
    grey = [line._dash_pattern for line in lines if line.get_color() == GREY]
    bounds = [p.name for p in one.data.points[0].adaptive.policies if p.knows]
    drawn = [name for name in bounds if name in texts(figure).splitlines()]
    assert drawn  # grey lines differ by their dashes
    assert len({str(dashes) for dashes in grey}) == len(grey) == len(drawn)
    text = independent(0.8, 0.7) + POLICIES[POLICIES.index("[latency]") :]
    still = mtpsim.run(mtpsim.parse(text))
    assert learning_figure(still.data) is None
    assert policy(still, "heuristic").learning is None


def test_a_small_change_of_depth_is_no_fast_reaction():
    """Before, a rule that moved from 4.6 to 4.3 was said to react at once."""

    def reacting(name, half, harder, easier):
        easy, hard = (
            ReactionCurve(changes=9, half=half, rounds=[-1, 5], depth=depth)
            for depth in (easier, harder)
        )
        learning = Reaction(easier=easy, harder=hard)
        return SimpleNamespace(name=name, knows="", learning=learning)

    still = reacting("still", 0, [4.6, 4.3], [4.1, 4.3])
    quick = reacting("quick", 2, [4.2, 2.0], [2.2, 4.4])
    heading = _fastest_reaction(SimpleNamespace(policies=[still, quick]))
    assert heading.startswith("quick makes half of its depth change (4.2 to 2.0) within 2 rounds")
    alone = _fastest_reaction(SimpleNamespace(policies=[still]))
    assert "(4.6 to 4.3) in the round of a change" in alone


def test_a_strip_that_ends_early_has_a_note(one):
    data = copy.deepcopy(one.data)
    line = data.points[0].adaptive.timeline
    assert "Short strips" not in texts(timeline_figure(data))
    short = line.policies["heuristic"]
    for name in ("depth", "accepted", "state"):
        setattr(short, name, getattr(short, name)[:100])
    assert "Short strips: the first 150 rounds." in " ".join(texts(timeline_figure(data)).split())


def test_rows_have_a_line_a_policy_and_quantity(one):
    rows = [row for row in one.rows() if row.get("policy") == "heuristic"]
    names = [row["quantity"] for row in rows]
    assert names[:5] == ["speedup", "gain", "captured", "accept_length", "round_time"]
    shares = ("p1", "p5", "p50", "p95", "p99")
    quantiles = [f"request_{kind}_{s}" for kind in ("time", "speed") for s in shares]
    assert names[5:] == [*quantiles, "mean_request_speed", "mean_request_speedup"]
    assert rows[1]["mean"] == policy(one, "heuristic").gain.mean
    assert rows[1]["verdict"] == "faster"
    assert rows[0]["depth"] is None


def test_single_requests_of_policies_have_a_sentence_and_a_table(one):
    adaptive, heuristic = one.data.points[0].adaptive, policy(one, "heuristic")
    p99 = heuristic.request_time["p99"].mean
    sentence = policy_request_sentence(heuristic)
    assert sentence.startswith("Requests under heuristic: p50 ")
    assert f"p99 {p99 / 1000:,.2f} s" in sentence
    assert sentence in " ".join(str(one).split())
    table = policy_requests_table(adaptive, heuristic)
    names = [entry.name for entry in adaptive.policies]
    assert [row.cells[0] for row in table.rows] == names
    assert table.rows[names.index("heuristic")].tone == "best"
    assert all(len(row.cells) == len(table.columns) for row in table.rows)
    assert policy_request_sentence(None) == ""
    assert policy_request_sentence(replace(heuristic, request_time=None)) == ""
