"""Words to acceptance, at and around every threshold: by definition, word by word.

Random words meet a threshold once in 2^31 draws; here most of them do.
"""

from functools import cache

import numpy as np
import pytest

from mtpsim.acceptance.base import most_steps, thresholds
from mtpsim.kernels import acceptance as stage
from mtpsim.kernels.acceptance import MOST_STEPS, Path
from mtpsim.kernels.arrays import ChainArrays
from mtpsim.kernels.philox import BLOCK, TILE
from tests.support.machine_code import compiled

find_lengths, count_many = compiled(stage.find_lengths), compiled(stage.count_many)
counter = cache(lambda deep, slow: compiled(stage.counter(deep, slow)))
find_masks_two, find_masks_many = compiled(stage.find_masks_two), compiled(stage.find_masks_many)
find_state = compiled(stage.find_state)
LANES, DEEPEST, SIGN = BLOCK, 5, np.int64(1) << 31
SHAPES = [(2, 1), (2, 2), (3, 1), (4, 2)]  # states, outcomes; the first takes the vector path


def chain_of(states, outcomes, seed, deepest=DEEPEST):
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.full(states, 2.0), outcomes * states + 1)
    rows[0] = np.eye(states)[0]  # a certain step
    accept = np.cumprod(rng.beta(6, 2, (states, deepest)), axis=1)
    accept[0, 0], accept[1, -1] = 1, 0
    state_bounds, accept_bounds, guide = thresholds(rows, accept)
    slowdown, two = np.linspace(1, 2, states), (states, outcomes) == (2, 1)
    steps = most_steps(state_bounds, guide)
    return ChainArrays(state_bounds, accept_bounds, guide, slowdown, two, True, steps)


def words_around(chain, seed):
    """``[TILE, LANES]``, with the sign bit at random, which the path must not read."""
    rng = np.random.default_rng(seed)
    edges = np.concatenate(
        [chain.state_bounds.ravel(), chain.accept_bounds.ravel(), [0, 2**30]]
    ).astype(np.int64)
    near = rng.choice(edges, (TILE, LANES)) + rng.integers(-1, 2, (TILE, LANES))
    words = np.clip(near, 0, SIGN - 1) - SIGN * rng.integers(0, 2, (TILE, LANES))
    return words.astype(np.int32)


def read(chain, row, word):
    """State and accepted drafts, as the thresholds are defined."""
    low = int(word) & 0x7FFFFFFF
    state = next(s for s, edge in enumerate(chain.state_bounds[row]) if low <= edge)
    return state, [low <= edge for edge in chain.accept_bounds[row, state]]


def walk(chain, words, fresh, before, ticks, deep):
    """States and drafts ``[ticks][lanes]``, and the rows that the next tick would read."""
    states, played = chain.state_bounds.shape[1], []
    rows = [len(chain.state_bounds) - 1 if fresh else state for state in before]
    steers = len(chain.state_bounds) > states + 1
    for tick in range(ticks):
        read_now = [read(chain, row, word) for row, word in zip(rows, words[tick], strict=True)]
        played.append(read_now)
        rows = [s + states * (steers and sum(drafts[:deep]) == deep) for s, drafts in read_now]
    return played, rows


def path_of(chain, fresh, seed):
    """Lanes at the start of a request, or in a state that they came to before."""
    before = np.random.default_rng(seed).integers(0, chain.state_bounds.shape[1], LANES)
    old = np.random.default_rng(seed + 1).integers(0, 2, LANES)
    row = np.full(LANES, len(chain.state_bounds) - 1) if fresh else before
    pair = np.zeros(LANES) if fresh else 2 * old + before % 2
    states = np.full((TILE, LANES), -7, np.int32)
    return before, Path(row.astype(np.int32), states, pair.astype(np.int32))


CASES = [(shape, fresh) for shape in SHAPES for fresh in (True, False)]


def check_counts(count, chain, fresh, ticks, deep):
    words, (before, path) = words_around(chain, seed=deep), path_of(chain, fresh, seed=deep)
    played, rows = walk(chain, words, fresh, before, ticks, deep)
    lengths = np.array([[sum(drafts[:deep]) for _, drafts in tick] for tick in played])
    reached = np.full((deep, LANES), 4, np.int32)
    count(chain, words, fresh, ticks, path, reached)
    for j in range(deep):
        assert (reached[j] - 4 == (lengths > j).sum(0)).all()
    if count is not count_many and ticks == TILE:
        assert (path.pair & 1).tolist() == rows
    if count is count_many:
        assert path.row.tolist() == rows
    noted = [[state for state, _ in tick] for tick in played] if chain.slow else []
    assert path.state[: len(noted)].tolist() == noted
    assert (path.state[len(noted) :] == -7).all()


@pytest.mark.parametrize("searched", [False, True])
@pytest.mark.parametrize("deep", range(DEEPEST + 1))
@pytest.mark.parametrize(("shape", "fresh"), CASES)
def test_rounds_that_reach_each_draft(shape, fresh, deep, searched):
    chain = chain_of(*shape, seed=deep)
    assert 0 < chain.steps <= MOST_STEPS
    chain = chain._replace(steps=MOST_STEPS + 1 if searched else chain.steps)
    check_counts(count_many, chain, fresh, 3 + deep, deep)


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("ticks", [5, TILE])
@pytest.mark.parametrize("deep", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("fresh", [False, True])
def test_rounds_that_reach_each_draft_of_two_states(fresh, deep, ticks, slow):
    chain = chain_of(2, 1, seed=deep, deepest=7)._replace(slow=slow)
    check_counts(counter(deep, slow), chain, fresh, ticks, deep)


@pytest.mark.parametrize("deep", [0, 3])
@pytest.mark.parametrize(("shape", "fresh"), CASES)
def test_find_lengths_equals_the_scalar_walk(shape, fresh, deep):
    chain, ticks = chain_of(*shape, seed=9), 5
    words = words_around(chain, seed=9)
    before, path = path_of(chain, fresh, seed=9)
    played, _ = walk(chain, words, fresh, before, ticks, deep)
    length = np.full((TILE, LANES), 9, np.int32)
    find_lengths(chain, words, fresh, ticks, deep, path, length)
    assert length[:ticks].tolist() == [[sum(d[:deep]) for _, d in tick] for tick in played]
    assert (length[ticks:] == 9).all()
    assert path.state[:ticks].tolist() == [[state for state, _ in tick] for tick in played]


@pytest.mark.parametrize("deep", [1, DEEPEST])
@pytest.mark.parametrize(("shape", "fresh"), CASES[:2] + CASES[4:6])
def test_positions_judged_as_each_draft(shape, fresh, deep):
    chain, words = chain_of(*shape, seed=7), words_around(chain_of(*shape, seed=7), seed=7)
    chain = chain._replace(accept_bounds=np.ascontiguousarray(chain.accept_bounds[:, :, :deep]))
    before, path = path_of(chain, fresh, seed=7)
    played, _ = walk(chain, words, fresh, before, TILE, deep)
    masks = np.full((TILE, LANES), 99, np.int8)
    find_masks = find_masks_two if chain.two else find_masks_many
    for first, last in ((0, 3), (3, 4), (4, 6)):
        find_masks(chain, words, fresh and first == 0, first, last, path, masks)
    for tick, lanes in enumerate(played[:6]):
        assert masks[tick].tolist() == [sum(d << j for j, d in enumerate(ds)) for _, ds in lanes]
        assert path.state[tick].tolist() == [state for state, _ in lanes]
    assert (masks[6:] == 99).all()


def test_a_state_is_the_first_whose_threshold_holds_the_word():
    chain = chain_of(4, 1, seed=3)
    words = words_around(chain, seed=3).ravel() & np.int32(0x7FFFFFFF)
    for row in range(len(chain.state_bounds)):
        for word in words:
            assert (
                find_state(word, row, chain.state_bounds, chain.guide) == read(chain, row, word)[0]
            )


def test_no_state_is_more_steps_from_the_guide_than_stated():
    """One step fewer would not reach some state."""
    chain = chain_of(9, 1, seed=5)
    words = words_around(chain, seed=3).ravel() & np.int32(0x7FFFFFFF)
    away = [
        read(chain, row, word)[0] - chain.guide[row, int(word) >> 23]
        for row in range(len(chain.state_bounds))
        for word in words
    ]
    assert max(away) == chain.steps > 0
