"""Kernels against a scalar reference that reads the same random words: every count is equal.

The words come from another implementation of Philox; the reference walks one request at one depth,
draft by draft. So it is quick, sees faults of one request in many, and serves the mutation run
(verification/mutation.md) with the kernels as plain Python.
"""

from dataclasses import replace

import numba
import numpy as np
import pytest

from mtpsim.acceptance import AcceptanceChain
from mtpsim.engine.simulate import compile_plan, complete, simulate_requests, tally_block
from mtpsim.kernels import philox
from mtpsim.kernels import round_clock as rounds
from mtpsim.kernels import token_clock as positions
from mtpsim.kernels.moments import moments
from mtpsim.latency import Latency
from tests.support.scalar_reference import FIRST, REQUESTS, SEED, VERIFY, expected, walk, word

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered")  # where nothing is compiled


def random_chain(seed, clock, states, outcomes, slow):
    rng = np.random.default_rng(seed)
    accept = rng.beta(4, 2, (states, 3))
    accept[0, 1] = 1.0
    return AcceptanceChain(
        rng.dirichlet(np.ones(states)),
        rng.dirichlet(np.full(states, 2.0), (outcomes, states)),
        accept,
        clock,
        rng.uniform(0.5, 2, states) if slow else np.ones(states),
    )


MODELS = [
    (clock, states, outcomes, slow)
    for clock in ("round", "token")
    for states, outcomes, slow in ((1, 1, False), (2, 1, True), (4, 1, True), (3, 2, True))
]
HORIZONS = [{"rounds": 1}, {"rounds": 11}, {"tokens": 1}, {"tokens": 25}]


def compiled(depth, **noise):
    verify = [20.0 + 3 * k for k in range(1, depth + 1)]
    draft = [2.0 * k for k in range(1, depth + 1)]
    return Latency(**{"target": 17, "verify": verify, "draft": draft, **noise}).compile(depth)


def plan_for(model, horizon, measured_at=None, **noise):
    chain = random_chain(len(horizon) + model[1], *model)
    times = compiled(3, **noise)
    return chain, times, compile_plan(chain, times, seed=SEED, measured_at=measured_at, **horizon)


def compare(chain, times, plan, horizon, noise=None, rel=1e-12):
    rows, layout = simulate_requests(plan, FIRST, REQUESTS), plan.layout
    for lane, row in enumerate(rows):
        for k in range(4):
            expected_row = expected(chain, times, FIRST + lane, k, noise, **horizon)
            tokens, time, rounds, reached = expected_row
            assert row[layout.tokens][k] == tokens
            assert row[layout.rounds][k] == rounds
            assert row[layout.time_ms][k] == pytest.approx(time, rel=rel)
            if layout.every or k == 3:
                assert row[layout.accepted(k)].tolist() == reached
    return rows


@pytest.mark.parametrize("horizon", HORIZONS, ids=str)
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_every_count_equals_the_scalar_reference(model, horizon):
    chain, times, plan = plan_for(model, horizon)
    compare(chain, times, plan, horizon)


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="NumPy refuses integers that wrap")
@pytest.mark.parametrize("depth", [8, 64])
def test_token_clock_at_the_widths_of_its_masks(depth):
    accept = np.random.default_rng(depth).beta(9, 0.4, (2, depth))
    accept[:, depth // 2] = 1.0
    chain = AcceptanceChain(
        np.array([0.5, 0.5]), np.array([[[0.9, 0.1], [0.3, 0.7]]]), accept, "token", np.ones(2)
    )
    plan = compile_plan(chain, compiled(depth), seed=SEED, rounds=11)
    rows, layout = simulate_requests(plan, FIRST, REQUESTS), plan.layout
    for lane, row in enumerate(rows):
        for k in (1, depth - 1, depth):
            tokens, _, rounds, reached = expected(
                chain, compiled(depth), FIRST + lane, k, rounds=11
            )
            assert (row[layout.tokens][k], row[layout.rounds][k]) == (tokens, rounds)
            assert row[layout.accepted(k)].tolist() == reached
    assert rows[:, layout.accepted(depth)][:, -1].sum() > 0


LAW = {"distribution": "lognormal", "cv": 0.3}
OWN = {
    "target": {"mean": 17, "distribution": "lognormal", "cv": 0.1},
    "verify": {"mean": [23.0, 26.0, 29.0], **LAW},
    "draft": {"mean": [2.0, 4.0, 6.0], **LAW},
}
BOTH = {"correlation": 0.7, "persistence": 0.5}
NOISES = [
    ({"noise": LAW}, {}),
    ({"noise": LAW, "persistence": 0.6}, {"persistence": 0.6}),
    (OWN, {"shared": False}),
    ({**OWN, **BOTH}, {"shared": False, **BOTH}),
]


@pytest.mark.parametrize(("given", "more"), NOISES, ids=["shared", "lasting", "own", "both"])
@pytest.mark.parametrize("horizon", HORIZONS[1::2], ids=str)
@pytest.mark.parametrize("model", [MODELS[0], *MODELS[1::2], ("round", 4, 1, False)], ids=str)
def test_noise_comes_from_the_words_at_the_start_of_rounds(model, horizon, given, more):
    chain, times, plan = plan_for(model, horizon, **given)
    # a table of cells stands for the law: good to about 1e-4 of a factor
    compare(chain, times, plan, horizon, {"cv": 0.3, **more}, rel=1e-3)


def test_noise_of_samples_is_the_sample_that_the_word_points_at(tmp_path):
    (tmp_path / "ms.csv").write_text("ms\n" + "\n".join(map(str, [30, 31, 35, 44, 60])))
    context = {"folder": tmp_path}
    given = {"target": {"samples": "ms.csv", "column": "ms"}, "verify": 20, "draft": 2}
    times = Latency.model_validate(given, context=context).compile(3)
    factors = np.array([30, 31, 35, 44, 60]) / 40
    plan = compile_plan(random_chain(1, *MODELS[0]), times, seed=SEED, rounds=11)
    rows = simulate_requests(plan, FIRST, REQUESTS)
    for lane, row in enumerate(rows):
        words = [word(FIRST + lane, tick, VERIFY) for tick in range(11)]
        time = sum(40 * factors[w * 5 >> 32] for w in words)
        assert row[plan.layout.time_ms][0] == pytest.approx(time)


@pytest.mark.parametrize("measured_at", [1, 2, 3])
@pytest.mark.parametrize("model", MODELS[4:], ids=str)
def test_window_counts_equal_the_scalar_walk(model, measured_at):
    """Each position whose M are all decoded, and how many drafts it accepts there."""
    sizes = range(measured_at + 1)
    for horizon in HORIZONS:
        chain, _, plan = plan_for(model, horizon, measured_at)
        rows = simulate_requests(plan, FIRST, REQUESTS)[:, plan.layout.windows]
        for lane, row in enumerate(rows):
            _, seen = walk(chain, FIRST + lane, measured_at, **horizon)
            starts = [seen[i : i + measured_at] for i in range(len(seen) - measured_at + 1)]
            run = [all(start[j][j] for j in range(k)) for start in starts for k in sizes]
            expected_row = [sum(run[k :: len(sizes)]) for k in sizes]
            assert row.tolist() == expected_row


@pytest.mark.parametrize("horizon", HORIZONS[1::2], ids=str)
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_kernels_do_not_write_derived_columns(model, horizon):
    _, _, plan = plan_for(model, horizon, 2)
    of_rounds = rounds.simulate_rounds_to_tokens if "tokens" in horizon else rounds.simulate_rounds
    kernel = positions.simulate_positions if model[0] == "token" else of_rounds
    rows = np.full((REQUESTS, plan.layout.columns), -1.0)
    shallow, deep = (2, 2) if model[2] == 2 else (0, 3)
    where = np.uint64(plan.key), FIRST
    kernel(*where, plan.source, plan.noise, plan.task, shallow, deep, rows)
    assert (rows[:, plan.layout.windows.stop :] == -1).all()
    assert (rows[:, plan.layout.tokens][:, deep] > 0).all()


@pytest.mark.parametrize("horizon", HORIZONS[:2], ids=str)
def test_derived_columns_follow_from_the_counts(horizon):
    chain, _, plan = plan_for(MODELS[2], horizon, 2)
    rows, layout = simulate_requests(plan, 0, 30), plan.layout
    rounds = rows[:, layout.rounds][:, 2]
    reached = rows[:, layout.accepted(2)]
    assert rows[:, layout.request_survival] == pytest.approx(reached / rounds[:, None])
    came = np.stack([rounds, reached[:, 0]], 1)
    assert (rows[:, layout.reached_mask] == (came > 0)).all()
    own = np.divide(reached, came, out=np.zeros_like(came), where=came > 0)
    assert rows[:, layout.request_conditional] == pytest.approx(own)
    total = reached.sum(1)
    squares = np.stack([total**2, total * rounds, rounds**2], 1)
    assert rows[:, layout.squares] == pytest.approx(squares)
    never = replace(chain, accept=np.zeros_like(chain.accept))
    plan = compile_plan(never, compiled(3), seed=SEED, rounds=11)
    rows = simulate_requests(plan, 0, 2)
    assert rows[:, plan.layout.reached_mask].tolist() == [[1, 0, 0]] * 2
    assert rows[:, plan.layout.request_conditional].tolist() == [[0, 0, 0]] * 2
    again = rows.copy()
    complete(again, plan.layout)
    assert (again == rows).all()


@pytest.mark.parametrize("count", [1, 4, 6])
def test_moments_are_those_of_numpy(count):
    rows = np.random.default_rng(count).normal(3, 2, (count, 5))
    mean, comoment = np.full(5, 9.0), np.full((5, 5), 9.0)
    moments(rows, mean, comoment)
    assert mean == pytest.approx(rows.mean(0))
    assert comoment == pytest.approx((rows - rows.mean(0)).T @ (rows - rows.mean(0)))


def test_requests_beyond_a_batch_of_lanes_are_their_own(monkeypatch):
    for model in (MODELS[1], MODELS[5]):
        for horizon in ({"rounds": 2}, {"tokens": 3}):
            _, _, plan = plan_for(model, horizon)
            many = philox.LANES + 2
            if numba.config.DISABLE_JIT:  # plain Python: fewer lanes, for speed
                lanes = plan.layout.columns + 3  # more than columns, so that the two axes differ
                many = lanes + 2
                monkeypatch.setattr(philox, "LANES", lanes)
            last = simulate_requests(plan, FIRST + 2 - many, many)[-2:]
            assert (last == simulate_requests(plan, FIRST, 2)).all()


def test_a_block_is_the_tally_of_its_requests():
    _, _, plan = plan_for(MODELS[1], {"rounds": 3})
    rows = simulate_requests(plan, 3, 150)
    found = tally_block(replace(plan, unit=64), 3, 150)
    assert found.count == 150
    assert found.mean == pytest.approx(rows.mean(0))
    centred = rows - rows.mean(0)
    assert found.comoment == pytest.approx(centred.T @ centred, abs=1e-6)
