"""The document of a simulated server, from made-up data with known means."""

import json
from copy import deepcopy

import numpy as np
import pytest

import mtpsim
from mtpsim.common.errors import InputError
from mtpsim.kernels.server_layout import METRICS
from mtpsim.report.document import Interval, ResultDocument
from mtpsim.report.serialization import from_json, rows, to_json
from mtpsim.report.serving_document import UNSTABLE
from mtpsim.report.tables.serving import sentences, warnings_of
from mtpsim.results.comparison import compare
from mtpsim.results.serving import served_by_load, served_result
from mtpsim.results.serving_advice import by_load
from mtpsim.stats.estimators import Tally
from tests.support.examples import independent, linear_costs
from tests.support.server_example import GOALS, server_data


@pytest.fixture(scope="module")
def points():
    data = [server_data(rate) for rate in (1.0, 4.0, 12.0, 30.0)]
    return data, [served_result(one) for one in data]


@pytest.fixture(scope="module")
def result(points):
    data, found = points
    return ResultDocument(points=found, by_load=served_by_load(data, found))


def test_means_are_ratios_of_totals(points):
    data, found = points
    one, layout, mean = found[1].serving.arm("depth 3"), data[1].layout, data[1].tally.mean
    total = {name: mean[layout.of(name)][2] for name in ("tokens", "window_ms", "good", "requests")}
    assert one.throughput.mean == pytest.approx(1000 * total["tokens"] / total["window_ms"])
    assert one.good.mean == pytest.approx(total["good"] / total["requests"])
    assert one.goodput.mean == pytest.approx(4.0 * one.good.mean)
    assert one.accept_length.mean == pytest.approx(2.6)
    assert one.kv_use.mean == pytest.approx(one.running.mean * 500 / 100_000)


def test_quantiles_are_of_all_requests(points):
    data, found = points
    counts = data[0].histograms[0, METRICS.index("tpot")]
    below = counts[data[0].edges[1:] <= found[0].serving.arm("off").tpot.p95.mean].sum()
    assert below / counts.sum() == pytest.approx(0.95, abs=0.01)


def test_speedup_is_paired(points):
    """The same requests for all depths: the ratio is known better than both its parts."""
    off, one = (points[1][1].serving.arm(name) for name in ("off", "depth 1"))
    assert one.speedup.mean == pytest.approx(off.tpot.mean.mean / one.tpot.mean.mean)
    apart = [(c.high - c.low) / c.mean for c in (off.tpot.mean, one.tpot.mean, one.speedup)]
    assert apart[2] < 0.2 * np.hypot(*apart[:2])
    assert off.speedup.low == off.speedup.high == 1


def test_the_best_depth_meets_the_goals(result):
    light, heavy = result.points[0].serving, result.points[3].serving
    assert (light.best, light.within_goals, light.objective) == ("depth 1", True, "tpot")
    assert light.arm("depth 3").tpot.mean.mean < light.arm("depth 1").tpot.mean.mean
    assert light.arm("depth 3").good.mean < light.share  # TTFT: faster, but not allowed
    assert (heavy.within_goals, heavy.objective) == (False, "goodput")
    assert "no depth meets the goals for 99 % of requests" in heavy.sentence


def test_without_goals_the_fastest_is_best():
    found = [served_result(server_data(rate, goals=None)) for rate in (1.0, 30.0)]
    assert [point.serving.best for point in found] == ["depth 3", "depth 1"]
    assert found[0].serving.arms[0].good is None
    assert "mean TPOT" in found[0].serving.sentence


def test_a_depth_whose_queue_grows_is_not_advised():
    """The fastest depth grows its queue: the next one is best; where all do, the text says so."""
    data = server_data(1.0, goals=None)
    assert served_result(data).serving.best == "depth 3"
    one = served_result(changed(data, 2, last_waiting=90.0)).serving
    assert (one.best, one.arm("depth 3").unstable) == ("ema", True)
    data = overloaded(data)
    found = served_result(data).serving
    fastest = max(found.arms, key=lambda arm: arm.throughput.mean)
    assert (found.best, found.objective) == (fastest.name, "throughput")
    assert f"no depth serves the load, most output has {fastest.name}" in found.sentence.replace(
        'the policy "ema"', "ema"
    )
    warned = warnings_of(ResultDocument(points=[served_result(data)]))
    (text,) = [one for one in warned if "the load is more" in one]
    assert text.startswith("off, depth 1, depth 3 and ema at 1: the load is more than they serve:")
    assert "window and 90, 100, 110 and 120 at its end; latencies" in text


def test_an_arm_whose_batch_still_fills_does_not_serve_the_load():
    """Off hides its queue in running requests: less output than arms whose queue grows."""
    data = server_data(1.0, goals=None)
    output = data.tally.mean[data.layout.of("output_tokens")]
    for arm, share in enumerate((0.4, 0.7, 0.8, 0.75)):
        data = changed(data, arm, tokens=share * output[arm], last_waiting=90.0 * (arm > 0))
    found = served_result(data).serving
    assert (found.overloaded, found.best) == (True, "depth 3")
    assert "its output in the window is 60 % below" in " ".join(found.arm("off").warnings)
    texts = [t for t in warnings_of(ResultDocument(points=[served_result(data)])) if "more" in t]
    assert [text.split(":")[0] for text in texts if "the load is" in text] == [
        "depth 1, depth 3 and ema at 1",
        "off at 1",
    ]
    for arm in (1, 2, 3):  # a short run, in which all servers fill
        data = changed(data, arm, last_waiting=0.0)
    assert not served_result(data).serving.arm("off").unstable


@pytest.mark.parametrize(("rate", "tied"), [(3.0, False), (1.0, True)])
def test_the_fastest_of_swept_shapes_is_named(rate, tied):
    """Made-up shapes: the second one serves requests as at another load."""
    shapes = {"chain": 1.0, "optimal": rate}
    points = [served_result(server_data(load, goals=None)) for load in shapes.values()]
    for point, tree in zip(points, shapes, strict=True):
        point.set, point.serving.load = {"serving.arrivals.rate": 1.0, "draft": {"tree": tree}}, 1.0
    *_, text = sentences(ResultDocument(points=points))
    assert text.startswith("At 1 request/s the fastest shape of drafts is ")
    assert ("chain" in text, "optimal" in text, "overlap" in text) == (True, tied, tied)
    assert "fastest shape" not in " ".join(sentences(ResultDocument(points=points[:1])))


def overloaded(data):
    """The data with a queue that grows under every arm, least without drafts."""
    for arm in range(4):
        data = changed(data, arm, last_waiting=90.0 + 10.0 * arm)
    return data


@pytest.mark.parametrize("goals", [None, {"tpot": 1000.0}])
def test_a_sweep_names_no_depth_for_a_load_that_none_serves(goals):
    data = [server_data(1.0, goals=goals), overloaded(server_data(30.0, goals=goals))]
    for one in data:
        one.tally.mean[one.layout.of("good")] = one.tally.mean[one.layout.of("requests")]
    (group,) = served_by_load(data, [served_result(one) for one in data])
    (turn,) = group.turns
    assert (turn.after, turn.low, turn.high) == ("overload", 1.0, 30.0)
    assert group.sentence.endswith(
        "[1, 30] requests/s, then no depth serves the load (loads 1 to 30 requests/s)."
    )
    (same,) = served_by_load([data[1]] * 2, [served_result(data[1])] * 2)
    assert same.sentence.startswith("No depth serves the load at any load of the sweep")


def test_goals_that_no_request_meets_are_not_met():
    data = server_data(4.0)
    for arm in range(4):
        data = changed(data, arm, good=-1.0)
    none = served_result(data).serving
    assert (none.within_goals, none.objective) == (False, "tpot")
    assert "no depth meets the goals" in none.sentence


def test_the_load_at_which_the_best_depth_changes():
    """Equal TPOT of depths 1 and 3, solved from the model of the example."""
    data = [server_data(rate, goals=None, requests=2000) for rate in (2.0, 8.0, 16.0, 24.0)]
    (group,) = served_by_load(data, [served_result(one) for one in data])
    turn = next(t for t in group.turns if t.before == "depth 3" or t.after == "depth 1")
    loads = [2.0, 8.0, 16.0, 24.0]
    assert turn.low in loads
    assert turn.high in loads
    assert turn.low < turn.load < turn.high
    assert group.key == "serving.arrivals.rate"
    assert group.sentence.startswith("Depth 3 up to ")


def cell(mean):
    return Interval(mean=mean, low=mean - 0.001, high=mean + 0.001)


@pytest.mark.parametrize("backwards", [False, True])
def test_a_depth_that_meets_the_goals_longer_is_named(points, backwards):
    """Depth 1 is faster, but depth 3 meets the goals up to a greater load."""
    light, heavy = (deepcopy(point) for point in points[1][1:3])
    for point, shares in ((light, (0.5, 0.995, 0.9999)), (heavy, (0.1, 0.9, 0.97))):
        for arm, share in zip(point.serving.arms, shares, strict=False):
            arm.good = cell(share)
        point.serving.arms[3].good = cell(0.2)
    light.serving.within_goals, heavy.serving.within_goals = True, False
    if backwards:  # a server that does better under more load
        light.serving.load, heavy.serving.load = 12.0, 4.0
    (group,) = by_load([light, heavy], lambda *_: (np.nan,) * 3)
    names = ["depth 1", "depth 3", "none"]
    assert [turn.before for turn in group.turns] == (names[:0:-1] if backwards else names[:2])
    assert [turn.after for turn in group.turns] == (names[1::-1] if backwards else names[1:])
    loads = [turn.load for turn in group.turns]
    assert 4.0 < loads[0] < loads[1] < 12.0
    assert all(turn.low < turn.load < turn.high for turn in group.turns)


def test_no_depth_is_named_for_a_range_that_chance_explains(points):
    """Depth 3 meets the goals up to a load that is higher by less than the simulation's error."""
    light, heavy = (deepcopy(point) for point in points[1][1:3])
    for point, shares in ((light, (0.5, 0.9985, 0.9986)), (heavy, (0.1, 0.9, 0.9001))):
        for arm, share in zip(point.serving.arms, shares, strict=False):
            arm.good = cell(share)
        point.serving.arms[3].good = cell(0.2)
    light.serving.within_goals, heavy.serving.within_goals = True, False
    (group,) = by_load([light, heavy], lambda *_: (np.nan,) * 3)
    assert [(turn.before, turn.after) for turn in group.turns] == [("depth 1", "none")]


def test_an_interval_of_a_turn_ends_at_loads_where_the_sign_is_sure(points):
    """Margins of the loads around the turn that chance explains widen it, or leave it open."""
    ordered = [deepcopy(point) for point in points[1]]
    for point, best in zip(ordered, ("depth 3", "depth 3", "depth 1", "depth 1"), strict=True):
        point.serving.within_goals, point.serving.best = None, best
        for arm in point.serving.arms:
            arm.good = None

    def turn(**unsure):
        def lead(point, *_):
            width = 1.0 if point.load in unsure.get("at", ()) else 0.01
            margin = 0.2 if point.load < 5 else -0.2
            return margin, margin - width, margin + width

        (group,) = by_load(ordered, lead)
        return group.turns[0], group.sentence

    assert [(t.low, t.high) for t, _ in [turn()]] == [(4.0, 12.0)]
    assert "6.93 [4, 12] requests/s" in turn()[1]
    assert [(t.low, t.high) for t, _ in [turn(at=(4.0, 12.0))]] == [(1.0, 30.0)]
    wide, text = turn(at=(12.0, 30.0))
    assert (wide.low, wide.high) == (4.0, None)
    assert "6.93 requests/s (above 4 requests/s, no closer bound from these loads)" in text


def test_json_and_rows_keep_every_number(result):
    plain = json.loads(json.dumps(to_json(result)))
    assert from_json(plain) == result
    found = [row for row in rows(result) if row["quantity"] == "tpot_p99" and row["point"] == 2]
    assert [row["depth"] for row in found] == [0, 1, 3, None]
    assert found[3]["policy"] == "ema"
    assert found[1]["mean"] == result.points[2].serving.arm("depth 1").tpot.p99.mean
    assert found[1]["serving.arrivals.rate"] == 12.0


def test_single_requests_have_no_key_of_the_server():
    assert "serving" not in to_json(ResultDocument(points=[]))
    assert "by_load" not in to_json(ResultDocument(points=[]))


def changed(data, arm, **totals):
    """The data with other means of one arm, and a little noise, which intervals need."""
    rows = data.tally.mean + np.random.default_rng(1).normal(0, 1e-3, (20, data.layout.columns))
    for name, value in totals.items():
        rows[:, data.layout.arm(arm)][:, data.layout.index(name)] = value + rows[:, 0] * 1e-6
    tally = Tally.of(rows)
    changed_tally = Tally(tally.count, tally.mean, tally.comoment, data.tally.histograms)
    return type(data)(**{**vars(data), "tally": changed_tally})


@pytest.mark.parametrize(
    ("totals", "text"),
    [
        ({"last_waiting": 90.0}, "the load is more than it serves: 0 requests wait at the begin"),
        ({"half_e2e_ms": 1e5}, "longer than those of the first: raise serving.warm_up"),
        ({"window_ms": 900.0}, "a replication is short: its window is below 5 mean"),
        ({"requests": 150.0}, "150 requests per replication: intervals of p99 need 200"),
        ({"tokens": 70_000.0}, "% below that of the requests that arrive"),
        ({"clipped": 4.0}, "1 % of requests are longer than serving.kv_tokens and were cut"),
    ],
)
def test_warnings_name_what_is_wrong(totals, text):
    data = server_data(4.0, goals=GOALS)
    warned = [arm.warnings for arm in served_result(changed(data, 2, **totals)).serving.arms]
    assert any(text in one for one in warned[2]), warned[2]
    assert not any(text in one for one in warned[1])


def test_a_p99_that_few_replications_decide_has_no_upper_end():
    data = server_data(4.0)
    data.tally.histograms[1, 2, METRICS.index("ttft")] *= 30  # as if few had most of the values
    arms = served_result(data).serving.arms
    assert arms[1].ttft.p99.high is not None
    assert arms[2].ttft.p99.high is None
    assert any("the p99 of the TTFT has no upper end" in text for text in arms[2].warnings)
    assert not any("no upper end" in text for text in arms[1].warnings)


def test_a_queue_of_less_than_a_request_is_none():
    """Three requests per replication: 3 % of them is no queue."""
    data = changed(server_data(4.0), 2, requests=3.0, last_waiting=0.4)
    assert not served_result(data).serving.arm("depth 3").unstable


def test_an_arm_chosen_by_goodput_shows_it():
    point = served_result(server_data(30.0)).serving
    assert point.objective == "goodput"
    assert f"{point.best} comes closest: goodput 0." in point.sentence


def test_two_servers_are_compared_arm_by_arm(points):
    """Half as much load again: each depth's TPOT rises; the same run has no change."""
    before = ResultDocument(points=[served_result(server_data(12.0, swept=False))])
    after = ResultDocument(points=[served_result(server_data(18.0, swept=False))])
    (found,) = compare(before, after).points
    change = {(one.name, one.quantity): one.change for one in found.served}
    assert len(change) == 16
    assert all(change[arm.name, "TPOT, ms"].mean > 0 for arm in before.points[0].serving.arms)
    assert change["off", "output tok/s"].mean == pytest.approx(0.5, abs=0.06)
    assert found.best[0] == "ema"
    (same,) = compare(before, before).points
    assert {one.change.mean for one in same.served} == {0.0}


def test_a_load_without_time_between_tokens_is_refused():
    """A closed loop of equal requests: all that are measured end in one step."""
    text = """[serving]
arrivals = { closed = 64 }
prompt = 50
output = 50
requests = 20
"""
    with pytest.raises(InputError, match="no throughput can be computed"):
        mtpsim.run(mtpsim.parse(independent(1.0) + linear_costs() + text))


def test_clients_that_wait_for_answers_overload_no_server():
    """Equal requests go in lumps: how many wait at the end of a window is a matter of phase."""
    text = """[serving]
arrivals = { closed = 64 }
prompt = 30
output = 20
max_requests = 64
max_tokens = 2048
requests = 200
depths = [0, 3]
"""
    (point,) = mtpsim.run(
        mtpsim.parse(independent(0.1, 0.1, 0.1) + linear_costs() + text)
    ).data.points
    assert point.serving.best == "off"
    assert not any(UNSTABLE in text for arm in point.serving.arms for text in arm.warnings)
