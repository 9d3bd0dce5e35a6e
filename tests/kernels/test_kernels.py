"""Kernels, naive simulator and exact solution agree: random chains, both clocks and horizons."""

import numpy as np
import pytest

from mtpsim.acceptance import AcceptanceChain
from mtpsim.acceptance.base import thresholds
from mtpsim.engine.simulate import compile_plan, random_key, simulate_requests
from mtpsim.exact.chain_solver import solve
from mtpsim.kernels.acceptance import BITS
from mtpsim.kernels.philox import philox_block
from tests.support import naive
from tests.support.random_chains import LIMIT, latency_by_depth, random_chain, z_scores
from verification.published_values import PHILOX


@pytest.mark.parametrize(("counter", "key", "output"), PHILOX)
def test_philox_known_answers(counter, key, output):
    out = np.empty(4, np.uint64)
    philox_block(np.array(counter, np.uint64), np.array(key, np.uint64), out)
    assert tuple(out.tolist()) == output


def test_thresholds_are_exact_at_0_and_1_and_within_2_to_minus_32_elsewhere():
    rows = np.array([[0.0, 1.0, 0.0], [0.3, 0.0, 0.7], [1 / 3, 1 / 3, 1 / 3]])
    accept = np.array([[0.0, 1.0], [0.123456789, 1.0], [1.0, 0.5]])
    state_bounds, accept_bounds, guide = thresholds(rows, accept)
    edges = np.concatenate([-np.ones((3, 1), np.int64), state_bounds.astype(np.int64)], axis=1)
    widths = np.diff(edges)
    assert np.abs(widths / 2.0**31 - rows).max() <= 2.0**-31
    assert (widths[rows == 0] == 0).all()
    assert state_bounds[:, -1].tolist() == [int(BITS)] * 3
    inside = accept_bounds.astype(np.int64) - edges[:, :-1, None]
    assert (inside[:, accept == 0] == 0).all()
    assert (inside[:, :, 1][:, 0] == widths[:, 0]).all()
    assert np.abs(inside - accept * widths[:, :, None]).max() <= 0.5
    for row in range(3):
        for bucket in (0, 1, 100, 255):
            word = bucket << 23
            assert guide[row, bucket] == np.flatnonzero(state_bounds[row] >= word)[0]


def kernel_rows(chain, latency, depth, requests, seed, **horizon):
    plan = compile_plan(chain, latency, seed=seed, **horizon)
    rows, layout = simulate_requests(plan, 0, requests), plan.layout
    columns = [rows[:, part][:, depth] for part in (layout.tokens, layout.time_ms, layout.rounds)]
    if layout.every or depth == layout.depth:
        columns.extend(rows[:, layout.accepted(depth)].T)
    return np.stack(columns, axis=1)


def exact_row(chain, latency, depth, columns, **horizon):
    solved = solve(chain, depth, **horizon)
    seconds = solved.slow_rounds * latency.round_time[depth]
    reached = np.cumsum(solved.accepted[::-1])[::-1][1:] * solved.rounds
    return np.array([solved.tokens, seconds, solved.rounds, *reached])[:columns]


HORIZONS = [{"rounds": 1}, {"rounds": 9}, {"tokens": 1}, {"tokens": 23}]
CLOCKS = "round", "token"
CASES = [(clock, n, horizon) for n, horizon in enumerate(HORIZONS * 6) for clock in CLOCKS]


@pytest.mark.parametrize(("clock", "seed", "horizon"), CASES)
def test_kernel_agrees_with_exact(clock, seed, horizon):
    chain = random_chain(np.random.default_rng(seed), clock)
    latency = latency_by_depth(chain.depth)
    for depth in range(chain.depth + 1):
        rows = kernel_rows(chain, latency, depth, 20_000, seed, **horizon)
        truth = exact_row(chain, latency, depth, rows.shape[1], **horizon)
        assert np.abs(z_scores(rows, truth)).max() < LIMIT


@pytest.mark.parametrize(("clock", "seed", "horizon"), CASES[:8])
def test_naive_simulator_agrees_with_exact(clock, seed, horizon):
    rng = np.random.default_rng(seed)
    chain = random_chain(rng, clock)
    latency = latency_by_depth(chain.depth)
    for depth in range(chain.depth + 1):
        rows = naive.simulate(rng, chain, depth, latency.round_time[depth], 1_500, **horizon)
        truth = exact_row(chain, latency, depth, rows.shape[1], **horizon)
        assert np.abs(z_scores(rows, truth)).max() < LIMIT


@pytest.mark.parametrize("clock", ["round", "token"])
def test_comparison_with_exact_notices_a_slightly_wrong_chain(clock):
    """Negative control: five percentage points on one rate of one state."""
    start, step = np.array([0.5, 0.5]), np.array([[[0.9, 0.1], [0.1, 0.9]]])
    accept = np.array([[0.9, 0.8], [0.5, 0.4]])
    right = AcceptanceChain(start, step, accept, clock, np.ones(2))
    wrong = AcceptanceChain(start, step, accept + np.array([[0, 0], [0, 0.05]]), clock, np.ones(2))
    latency = latency_by_depth(2)
    rows = kernel_rows(wrong, latency, 2, 20_000, 3, rounds=9)
    assert np.abs(z_scores(rows, exact_row(right, latency, 2, 5, rounds=9))).max() > LIMIT


def test_seeds_give_other_words():
    assert len({random_key(seed) for seed in range(1000)}) == 1000
