"""Kernels of labelled tokens against the enumeration of all state paths."""

from itertools import pairwise

import numpy as np
import pytest

from mtpsim.acceptance import Recording
from mtpsim.acceptance.recording import play
from mtpsim.fit.labelled_tokens import LabelledTokens
from mtpsim.fit.posterior_replay import draw_replay
from mtpsim.fit.token_chain import TokenChain
from mtpsim.kernels.labelled_tokens import expected_labels, play_positions
from tests.support import naive_tokens


def random_chain(rng, states, depth):
    return TokenChain(
        rng.dirichlet(np.ones(states)),
        rng.dirichlet(np.ones(states), states),
        rng.normal(0, 1.5, states),
        -np.cumsum(np.concatenate([[0], rng.exponential(0.4, depth - 1)])),
    )


@pytest.mark.parametrize("states", [1, 2, 3])
def test_expected_counts_are_sums_over_state_paths(states):
    rng = np.random.default_rng(states)
    depth, lengths, weights = 3, [5, 1, 4], np.array([1.0, 2.5, 0.0])
    chain = random_chain(rng, states, depth)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    labels = rng.integers(-depth, depth + 1, offsets[-1]).astype(np.int8)
    tokens = LabelledTokens(labels, offsets)
    moves, starts = np.empty((states, states)), np.empty(states)
    out, seen = np.empty(3), np.empty((2 * depth + 1, states))
    arguments = chain.step, chain.start, tokens.symbols(depth), offsets, 5, weights
    expected_labels(chain.emission(depth), *arguments, out, moves, starts, seen)
    slow = [
        naive_tokens.expected(chain, labels[offsets[r] : offsets[r + 1]], depth) for r in range(3)
    ]
    assert out[:2] == pytest.approx([one[0] for one in slow[:2]], rel=1e-12)
    assert tokens.depth == depth
    assert chain.log_likelihood(tokens) == pytest.approx([one[0] for one in slow], rel=1e-12)
    for fast, part in zip((moves, starts, seen), (1, 2, 3), strict=True):
        total = sum(weight * one[part] for weight, one in zip(weights, slow, strict=True))
        assert fast == pytest.approx(total, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("untested", [0.0, 0.7])
def test_drawn_positions_have_their_posterior_distribution(untested):
    """Many copies of one request; the wrong change of untested tokens must be found."""
    rng, depth, copies = np.random.default_rng(3), 3, 20_000
    chain, labels = random_chain(rng, 2, depth), np.array([1, -2, 1, 2, 0], np.int8)
    tokens = LabelledTokens(np.tile(labels, copies), np.arange(copies + 1) * labels.size)
    counts = draw_replay(tokens, chain, depth, rng, untested).reshape(copies, -1)
    shares = np.stack([(counts == k).mean(0) for k in range(depth + 1)], 1)
    right, wrong = (
        naive_tokens.count_probabilities(chain, labels, depth, x) for x in (untested, 0.3)
    )
    assert abs(shares - right).max() < 4.5 * 0.5 / copies**0.5
    assert abs(shares - wrong).max() > 4.5 * 0.5 / copies**0.5


@pytest.mark.parametrize("states", [1, 2, 4])
def test_long_requests_agree_with_the_slow_twin(states):
    """Expected counts and drawn positions, of the same uniform numbers; other weights differ."""
    rng, depth, sizes = np.random.default_rng(states), 3, [150, 1, 60]
    chain = random_chain(rng, states, depth)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    labels = rng.integers(-depth, depth + 1, offsets[-1]).astype(np.int8)
    tokens, weights = LabelledTokens(labels, offsets), np.array([1.0, 3.0, 0.5])
    parts = [labels[a:b] for a, b in pairwise(offsets)]
    out, seen = np.empty(3), np.empty((2 * depth + 1, states))
    moves, starts = np.empty((states, states)), np.empty(states)
    arguments = chain.step, chain.start, tokens.symbols(depth), offsets, 150, weights
    expected_labels(chain.emission(depth), *arguments, out, moves, starts, seen)
    slow = [naive_tokens.forward_backward(chain, part, depth) for part in parts]
    short = naive_tokens.expected(chain, parts[0][:5], depth)
    by_paths = naive_tokens.forward_backward(chain, parts[0][:5], depth)
    for one, two in zip(short, by_paths, strict=True):
        assert one == pytest.approx(two, rel=1e-10, abs=1e-12)
    assert out == pytest.approx([one[0] for one in slow], rel=1e-11)
    for fast, part in zip((moves, starts, seen), (1, 2, 3), strict=True):
        total = sum(weight * one[part] for weight, one in zip(weights, slow, strict=True))
        assert fast == pytest.approx(total, rel=1e-9, abs=1e-10)
    counts = draw_replay(tokens, chain, depth, np.random.default_rng(9), 0.4)
    chance = np.random.default_rng(9).random((2, labels.size + 3 * depth), np.float32)
    ends = [(a + r * depth, b + (r + 1) * depth) for r, (a, b) in enumerate(pairwise(offsets))]
    drawn = [
        naive_tokens.draw_counts(chain, part, depth, chance[:, a:b].astype(float), 0.4)
        for part, (a, b) in zip(parts, ends, strict=True)
    ]
    assert counts.tolist() == [count for part in drawn for count in part]


def test_played_positions_are_those_of_the_recording():
    rng = np.random.default_rng(0)
    counts, offsets = rng.integers(0, 6, 200).astype(np.int32), np.array([0, 1, 90, 200])
    rounds, accepted = np.empty((2, 3), np.int64)
    for depth in range(6):
        play_positions(counts, offsets, depth, rounds, accepted)
        slow = play(Recording(counts, offsets, 5, "token"), slice(None), depth)
        assert rounds.tolist() == (slow >= 0).sum(1).tolist()
        assert accepted.tolist() == np.maximum(slow, 0).sum(1).tolist()
