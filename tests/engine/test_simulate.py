"""The same numbers on any executor; stops, interrupts, and what a tally of blocks is."""

from concurrent.futures import Future

import numpy as np
import pytest

import mtpsim
from mtpsim.engine.options import ExecutorChoice
from mtpsim.engine.round_traces import record_requests
from mtpsim.engine.scheduler import FLOOR, BlockRange, blocks_for, first_unit, next_check, simulate
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
    requests = 12 * plan.unit
    run = {"requests": requests, "stop_when": lambda _: False, "on_progress": lambda _: None}
    got = simulate(point, ShuffledPool(seed), **run)
    blocks = [tally_block(plan, b * plan.unit, plan.unit) for b in range(12)]
    expected = sum(blocks, Tally.empty(plan.layout.columns))
    assert got.count == expected.count == requests
    assert (got.mean == expected.mean).all()
    assert (got.comoment == expected.comoment).all()
    begin = BlockRange(0, 6, sum(blocks[:6], Tally.empty(plan.layout.columns)))
    again = simulate(point, ShuffledPool(seed), **run, begin=begin)
    assert (again.comoment == expected.comoment).all()


def test_the_stopping_rule_is_checked_on_a_fixed_schedule():
    checks = [blocks for blocks in range(1, 90) if next_check(blocks) == blocks]
    assert checks == [30, 36, 44, 53, 64, 71, 79, 89]
    assert [first_unit(blocks) for blocks in checks] == [30, 36, 44, 53, 64, 78, 94, 114]


def test_block_sizes_grow_up_to_a_limit():
    sizes = np.diff([first_unit(block) for block in range(600)])
    assert first_unit(0) == 0
    assert sizes[:64].max() == sizes[63] == 1
    assert (np.diff(sizes) >= 0).all()
    assert sizes.max() == sizes[-1] == 64
    assert all(size <= max(first_unit(block) / 32, 1) for block, size in enumerate(sizes))
    for units in [0, 1, 63, 64, 65, 66, 1000, 4095, 4096, 4097, 10**9]:
        assert first_unit(blocks_for(units)) >= units
        assert units == 0 or first_unit(blocks_for(units) - 1) < units


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
    monkeypatch.setattr("mtpsim.runs.point_run.PROGRESS_SECONDS", 0.0)
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
