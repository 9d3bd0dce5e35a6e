"""The noise stage on small arrays: which words it reads, and what it makes of them, to the bit."""

import math
from itertools import product

import numpy as np
import pytest
from scipy import special

from mtpsim.engine.simulate import normal_table, random_key
from mtpsim.kernels import noise as stage
from mtpsim.kernels import totals
from mtpsim.kernels.arrays import NoiseArrays, RequestArrays, RowLayout
from mtpsim.kernels.noise import CELLS, CONSTANT, SAMPLES
from mtpsim.kernels.philox import ARMS, BLOCK, TILE
from tests.support.machine_code import compiled
from tests.support.scalar_reference import DRAFT, SEED, VERIFY, word

add_cells, draw_factors = compiled(stage.add_cells), compiled(stage.draw_factors)
fill_noise_words, slow_down = compiled(stage.fill_noise_words), compiled(stage.slow_down)
write_depths, write_windows = compiled(totals.write_depths), compiled(totals.write_windows)
KEY, FIRST, TICK, TICKS, LANES = np.uint64(random_key(SEED)), 3, 16, 5, 6
RNG = np.random.default_rng(11)
CELL_TABLES = [RNG.uniform(0.5, 2, (2**16, 2)) * [1, 1e-5] for _ in range(3)]
SAMPLE_TABLES = [RNG.uniform(0.5, 2, (n, 1)) for n in (5, 7, 11)]


def arrays(kinds, *, shared=False, correlation=0.0, persistence=0.0, arm=0):
    tables = [(SAMPLE_TABLES if k == SAMPLES else CELL_TABLES)[i] for i, k in enumerate(kinds)]
    kinds = np.array(kinds, np.int64)
    normal = normal_table().values
    return NoiseArrays(kinds, *tables, normal, shared, correlation, persistence, arm)


def quantile(noise, component, bits):
    """Of a 32-bit word, by the table of a component; ``bits`` signed."""
    kind = noise.kinds[component]
    table = (noise.target, noise.verify, noise.draft)[component]
    if kind == CONSTANT:
        return 1.0
    if kind == SAMPLES:
        return table[(bits % 2**32) * len(table) >> 32, 0]
    return in_cell(table, bits)


def in_cell(table, bits):
    pattern = int(np.float32(bits).view(np.uint32))
    return table[pattern >> 16, 0] + table[pattern >> 16, 1] * (pattern % 2**16)


def signed(request, tick, purpose):
    found = word(request, tick, purpose)
    return found - (found >> 31 << 32)


@pytest.mark.parametrize("arm", [0, 3])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kinds", [*product((CONSTANT, CELLS), repeat=3)], ids=str)
def test_words_are_read_for_the_components_that_have_noise(kinds, shared, arm):
    noise, scratch = arrays(kinds, shared=shared, arm=arm), stage.new_scratch(LANES)
    fill_noise_words(KEY, FIRST, TICK, TICKS, noise, scratch)
    for found, purpose, wanted in (
        (scratch.verify_words, VERIFY, kinds[0] or kinds[1]),
        (scratch.draft_words, DRAFT, kinds[2] and not shared),
    ):
        lanes, ticks = range(FIRST, FIRST + LANES), range(TICK, TICK + TICKS)
        expected = [[signed(lane, t, purpose + ARMS * arm) for lane in lanes] for t in ticks]
        assert (found[:TICKS] == (expected if wanted else 0)).all()


def scratch_of_words(seed=0):
    scratch, rng = stage.new_scratch(LANES), np.random.default_rng(seed)
    for words in (scratch.verify_words, scratch.draft_words):
        words[:] = rng.integers(-(2**31), 2**31, words.shape)
        words[0, :4] = [0, -1, 2**31 - 1, -(2**31)]
    return scratch


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kinds", [*product((CONSTANT, CELLS, SAMPLES), repeat=3)], ids=str)
def test_factors_are_quantiles_of_their_words(kinds, shared):
    noise, scratch = arrays(kinds, shared=shared), scratch_of_words()
    begin, memory = np.ones((TILE, LANES), np.int32), np.zeros((2, LANES))
    draw_factors(noise, begin, True, TICKS, memory, scratch)
    for t in range(TICKS):
        for lane in range(LANES):
            check, own = int(scratch.verify_words[t, lane]), int(scratch.draft_words[t, lane])
            assert scratch.verify[t, lane] == quantile(noise, 1, check)
            if not shared:
                assert scratch.target[t, lane] == quantile(noise, 0, check)
                assert scratch.draft[t, lane] == quantile(noise, 2, own)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("correlation", "persistence"), [(0.6, 0.0), (0.0, 0.7), (0.6, 0.7)])
@pytest.mark.parametrize("fresh", [True, False])
def test_scores_are_correlated_and_persist(fresh, correlation, persistence, shared):
    noise = arrays((CELLS,) * 3, shared=shared, correlation=correlation, persistence=persistence)
    scratch, rng = scratch_of_words(1), np.random.default_rng(2)
    begin = rng.integers(0, 2, (TILE, LANES)).astype(np.int32)
    begin[0] = 1  # a request begins with a round
    memory = rng.normal(size=(2, LANES))
    before = memory.copy()
    draw_factors(noise, begin, fresh, TICKS, memory, scratch)
    rest, new = math.sqrt(1 - correlation**2), math.sqrt(1 - persistence**2)
    for lane in range(LANES):
        scores = before[:, lane]
        for t in (t for t in range(TICKS) if begin[t, lane]):
            check, own = (
                in_cell(noise.normal, int(words[t, lane]))
                for words in (scratch.verify_words, scratch.draft_words)
            )
            drawn = np.array([check, correlation * check + rest * own])
            scores = drawn if fresh and t == 0 else persistence * scores + new * drawn
            factors = [(1, scratch.verify, 0)]
            factors += [] if shared else [(0, scratch.target, 0), (2, scratch.draft, 1)]
            for component, found, which in factors:
                wanted = quantile(noise, component, int(stage.to_word(scores[which])))
                assert found[t, lane] == pytest.approx(wanted, rel=1e-12)
        assert memory[:, lane] == pytest.approx(scores, rel=1e-12)


def test_words_of_scores_are_exact_in_both_tails():
    table = normal_table().values
    assert [stage.to_word(z) for z in (9.0, -9.0)] == [-1, 0]
    for z in (6.0, 3.0, 1.0, 0.25, 1e-3):
        found = int(stage.to_word(z))
        assert found == -1 - stage.to_word(-z) < 0
        assert in_cell(table, found) == pytest.approx(z, rel=1e-2, abs=1e-6)


def test_words_of_scores_follow_the_normal_distribution_exactly():
    assert stage.to_word(0.0) == 2**31 - 1  # the middle, which has no word, counts as below
    for z in np.linspace(0.01, 2, 20):
        index = math.floor(special.ndtr(-z) * 2**32)
        assert (stage.to_word(-z), stage.to_word(z)) == (index, -1 - index)


@pytest.mark.parametrize(
    ("kinds", "more", "expected"),
    [
        ((CELLS,) * 3, {"shared": True}, True),
        ((CONSTANT, CELLS, CONSTANT), {"shared": True}, True),
        ((CELLS,) * 3, {}, False),
        ((CELLS, SAMPLES, CELLS), {"shared": True}, False),
        ((CELLS, CONSTANT, CELLS), {"shared": True}, False),
        ((CONSTANT,) * 3, {}, True),
        ((CONSTANT,) * 3, {"shared": True, "persistence": 0.5}, True),
        ((CONSTANT, CONSTANT, CELLS), {}, False),
        ((CELLS,) * 3, {"shared": True, "correlation": 0.5}, False),
        ((CELLS,) * 3, {"shared": True, "correlation": 1.0}, False),
        ((CELLS,) * 3, {"shared": True, "persistence": 0.5}, False),
        ((CELLS,) * 3, {"shared": True, "persistence": -1.0}, False),
    ],
)
def test_only_sums_are_computed_if_no_single_factor_is_needed(kinds, more, expected):
    assert bool(stage.sums_alone(arrays(kinds, **more))) == expected


def test_sums_are_those_of_the_factors():
    rng, total = np.random.default_rng(3), np.full(2 * BLOCK, 2.5)
    words = rng.integers(-(2**31), 2**31, (TILE, total.size)).astype(np.int32)
    add_cells(CELL_TABLES[1], words, TICKS, total)
    each = [[in_cell(CELL_TABLES[1], int(w)) for w in words[t]] for t in range(TICKS)]
    assert total == pytest.approx(2.5 + np.sum(each, axis=0), rel=1e-14)


@pytest.mark.parametrize("shared", [False, True])
def test_slowdown_applies_to_every_component(shared):
    noise, scratch, rng = arrays((CELLS,) * 3, shared=shared), stage.new_scratch(LANES), RNG
    parts = scratch.verify, scratch.target, scratch.draft
    for part in parts:
        part[:] = rng.uniform(1, 2, part.shape)
    before = [part.copy() for part in parts]
    state, slowdown = rng.integers(0, 3, (TILE, LANES)).astype(np.int32), np.array([1, 1.5, 4])
    slow_down(noise, slowdown, state, TICKS, scratch)
    factor = slowdown[state]
    factor[TICKS:] = 1
    assert (scratch.verify == before[0] * factor).all()
    for part, was in zip(parts[1:], before[1:], strict=True):
        assert (part == (was if shared else was * factor)).all()


@pytest.mark.parametrize(("shallow", "deep"), [(0, 4), (2, 3), (4, 4)])
@pytest.mark.parametrize("every", [True, False])
def test_write_depths_fills_the_columns_of_the_layout(every, shallow, deep):
    depth, measured, rng = 4, 2, np.random.default_rng(5)
    layout = RowLayout(depth, every, measured, True)
    task = RequestArrays(0, 0, measured, rng.uniform(1, 2, (2, depth + 1)), every)
    tokens, rounds = rng.integers(1, 99, (2, depth + 1, LANES))
    accepted = rng.integers(0, 9, (depth + 1, depth, LANES))
    verify, draft = rng.uniform(1, 2, (2, depth + 1, LANES))
    windows, out = rng.integers(0, 9, (1 + measured, LANES)), np.full((LANES, layout.columns), -1.0)
    write_depths(task, shallow, deep, tokens, rounds, accepted, verify, draft, out)
    write_windows(task, windows, out)
    wanted = np.full_like(out, -1)
    time = task.times[0][:, None] * verify + task.times[1][:, None] * draft
    some = slice(shallow, deep + 1)
    for part, values in (("tokens", tokens), ("time_ms", time), ("rounds", rounds)):
        columns = getattr(layout, part)
        wanted[:, columns][:, some] = values[some].T
    for k in range(shallow, deep + 1):
        if every or k == depth:
            wanted[:, layout.accepted(k)] = accepted[k, :k].T
    wanted[:, layout.windows] = windows.T
    assert out == pytest.approx(wanted)
