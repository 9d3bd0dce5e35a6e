"""The same numbers on any executor; stops, interrupts, and what a tally of blocks is."""

from concurrent.futures import Future
from itertools import pairwise

import numpy as np
import pytest

import mtpsim
from mtpsim.engine.block_sizes import FLOOR, blocks_for, first_unit, next_check, part_edges
from mtpsim.engine.options import ExecutorChoice
from mtpsim.engine.round_traces import record_requests
from mtpsim.engine.scheduler import BlockRange, simulate
from mtpsim.engine.simulate import compile_plan, compile_point, simulate_requests, tally_block
from mtpsim.stats.estimators import Tally
from tests.support.examples import latency, regime, simulation
from tests.support.random_chains import latency_by_depth, random_chain

LOGNORMAL = {"distribution": "lognormal", "mean": [22, 24], "cv": 0.2}
GAMMA = {"distribution": "gamma", "mean": [12, 16], "cv": 0.3}
TEXT = regime([0.9, 0.8], [0.5, 0.4], sojourn=[10, 10])
TEXT += latency(20, LOGNORMAL, GAMMA, correlation=0.4, persistence=0.0)


def experiment(**changes):
    return mtpsim.parse(TEXT + simulation(**({"rounds": 50, "requests": 40000} | changes)))


def numbers(result):
    document = dict(result.document)
    document.pop("provenance")
    return document


@pytest.fixture(scope="module")
def one_thread():
    return numbers(mtpsim.run(experiment(), executor=ExecutorChoice("threads", 1)))


@pytest.mark.parametrize("choice", ["threads:2", "threads:5", "processes:2"])
def test_the_same_bits_on_any_executor(choice, one_thread):
    assert numbers(mtpsim.run(experiment(), executor=ExecutorChoice.parse(choice))) == one_thread


def test_other_seeds_give_other_numbers(one_thread):
    other = mtpsim.run(experiment(seed=2))
    assert numbers(other)["points"][0]["depths"] != one_thread["points"][0]["depths"]


class ShuffledPool:
    """A pool that finishes blocks in another order than they were submitted."""

    count, timeout = 2, None

    def __init__(self, seed):
        self.rng, self.waiting = np.random.default_rng(seed), []

    def submit(self, point, first, size):
        future = Future()
        self.waiting.append((future, point.plan, first, size))
        if len(self.waiting) == 6:
            for index in self.rng.permutation(6):
                done, *job = self.waiting[index]
                done.set_result(tally_block(*job))
            self.waiting = []
        return future


@pytest.mark.parametrize("seed", [1, 2])
def test_any_order_of_blocks_gives_the_same_tally(seed):
    point = compile_point(experiment())
    plan = point.plan
    sizes = np.diff([first_unit(block) * plan.unit for block in range(13)])
    requests = sum(sizes)
    run = {"requests": requests, "stop_when": lambda _: False, "on_progress": lambda _: None}
    got = simulate(point, ShuffledPool(seed), **run)
    blocks = [tally_block(plan, sum(sizes[:b]), size) for b, size in enumerate(sizes)]
    expected = sum(blocks, Tally.empty(plan.layout.columns))
    assert got.count == expected.count == requests
    assert (got.mean == expected.mean).all()
    assert (got.comoment == expected.comoment).all()
    begin = BlockRange(0, 6, sum(blocks[:6], Tally.empty(plan.layout.columns)))
    again = simulate(point, ShuffledPool(seed), **run, begin=begin)
    assert (again.comoment == expected.comoment).all()


def test_the_stopping_rule_is_checked_on_a_fixed_schedule():
    checks = [first_unit(blocks) for blocks in range(1, 500) if next_check(blocks) == blocks]
    assert checks[:7] == [FLOOR, 40, 50, 60, 72, 87, 105]
    assert all(1.2 * one <= other <= 1.4 * one for one, other in pairwise(checks))


def test_block_sizes_grow_up_to_a_limit():
    edges = [first_unit(block) for block in range(600)]
    sizes = np.diff(edges)
    assert edges[0] == 0
    assert (np.diff(sizes) >= 0).all()
    assert sizes.max() == sizes[-1] == 4096
    for before, size in zip(edges, sizes, strict=False):
        assert size <= max(10, np.ceil(before / 5))  # little is simulated beyond the precision
        assert before < 4096 or size <= before / 32  # small shares for many workers
    for units in [0, 1, 6, 7, 30, 31, 1000, *edges[-3:], edges[-1] + 1, 10**9]:
        assert first_unit(blocks_for(units)) >= units
        assert units == 0 or first_unit(blocks_for(units) - 1) < units


@pytest.mark.parametrize("blocks", [7, 40, 1000])
def test_parts_have_equal_numbers_of_requests_and_at_least_one_block(blocks):
    for parts in (1, 2, 3, 7, blocks):
        edges = part_edges(blocks, parts) if parts <= blocks else [0, blocks]
        assert edges[0] == 0
        assert edges[-1] == blocks
        assert (np.diff(edges) > 0).all()
        units = [first_unit(edge) for edge in edges]
        share, block = units[-1] / parts, max(np.diff([first_unit(b) for b in range(blocks + 1)]))
        assert parts > 3 or (abs(np.diff(units) - share) <= block).all()


def test_a_point_at_half_a_percent_simulates_little_more_than_it_needs():
    text = TEXT + simulation(rounds=200, precision=0.005)
    (point,) = mtpsim.run(mtpsim.parse(text)).points
    found = point["depths"][2]["speedup"]
    assert point["rounds"] <= 1_000_000
    assert 0.001 < (found["high"] - found["low"]) / 2 / found["mean"] <= 0.005


def test_a_precision_stop_needs_the_least_number_of_units():
    rough = mtpsim.parse(TEXT + simulation(rounds=20, precision=0.9))
    (point,) = mtpsim.run(rough).points
    plan = compile_point(rough).plan
    assert point["requests"] == FLOOR * plan.unit
    assert point["precision_reached"] is True


def test_a_precision_out_of_reach_is_reported():
    text = TEXT + simulation(rounds=20, precision=1e-6, max_requests=500)
    (point,) = mtpsim.run(mtpsim.parse(text)).points
    assert point["requests"] == 500
    assert point["precision_reached"] is False


def interrupt_after(reports):
    """A progress callback that raises KeyboardInterrupt after some reports."""
    left = iter(range(reports))

    def on_progress(*_):
        if next(left, None) is None:
            raise KeyboardInterrupt

    return on_progress


class Watcher:
    """The older form of a progress callback."""

    def __init__(self, reports):
        self.update = interrupt_after(reports)


@pytest.mark.parametrize(
    "options", [{"on_progress": interrupt_after(3)}, {"watcher": Watcher(3), "patience": 9.0}]
)
def test_an_interrupt_keeps_the_finished_blocks(options, monkeypatch):
    monkeypatch.setattr("mtpsim.runs.block_run.PROGRESS_SECONDS", 0.0)
    slow = experiment(requests=1_000_000)
    result = mtpsim.run(slow, **options)
    (point,) = result.points
    assert point["interrupted"]
    assert 0 < point["requests"] < 1_000_000
    assert not result.document["complete"]
    plan = compile_point(slow).plan
    same = mtpsim.run(experiment(requests=point["requests"]))
    assert point["requests"] % plan.unit == 0
    assert same.points[0]["depths"] == point["depths"]


@pytest.mark.parametrize("clock", ["round", "token"])
@pytest.mark.parametrize("horizon", [{"rounds": 8}, {"tokens": 16}], ids=str)
def test_constant_and_sampled_noise_reach_every_path_of_the_kernel(clock, horizon, tmp_path):
    (tmp_path / "t.csv").write_text("1\n3\n")
    samples = {"samples": "t.csv"}
    text = regime([0.9, 0.8], [0.5, 0.4], sojourn=[10, 10], clock=clock) + "slowdown = [1, 2]\n"
    text += latency(samples, {**samples, "mean": 5}, 1) + simulation(**horizon, requests=30000)
    result = mtpsim.run(mtpsim.parse(text, folder=tmp_path))
    for depth in result.points[0]["depths"][1:]:
        for quantity in ("accept_length", "round_time", "speedup"):
            found = depth[quantity]
            half = (found["high"] - found["low"]) / 2
            assert abs(found["mean"] - found["exact"]) < 2.2 * half  # over 4 standard errors


@pytest.mark.parametrize("clock", ["round", "token"])
@pytest.mark.parametrize("horizon", [{"rounds": 9}, {"tokens": 23}])
@pytest.mark.parametrize("seed", range(4))
def test_recorded_rounds_add_up_to_the_totals(clock, horizon, seed):
    chain = random_chain(np.random.default_rng(seed), clock)
    for at in range(1, chain.depth + 1):
        times = latency_by_depth(chain.depth)
        plan = compile_plan(chain, times, seed=seed, measured_at=at, **horizon)
        rows = simulate_requests(plan, 0, 200)
        counts = record_requests(plan, 200, max(horizon.values()))
        live = counts >= 0
        assert (live.sum(1) == rows[:, plan.layout.rounds][:, at]).all()
        for j in range(1, at + 1):
            accepted = rows[:, plan.layout.accepted(at)][:, j - 1]
            assert ((counts >= j).sum(1) == accepted).all()
        tokens = np.where(live, counts + 1, 0).sum(1)
        cut = np.minimum(tokens, horizon.get("tokens", 10**9))
        assert (cut == rows[:, plan.layout.tokens][:, at]).all()
