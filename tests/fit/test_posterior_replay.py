"""Replays drawn from logs of engines whose text is known at every position."""

import numpy as np
import pytest
from scipy.special import ndtr

from mtpsim.acceptance.recording import play
from mtpsim.common.errors import InputError
from mtpsim.fit.labelled_tokens import label_tokens
from mtpsim.fit.posterior_replay import (
    draw_replay,
    has_several_depths,
    posterior_replay,
    sampling_half_width,
)
from mtpsim.fit.token_chain import TokenChain
from mtpsim.logs import Rounds
from tests.support.token_worlds import WORLDS, accept_length, log_at, text_of

HALF = np.where(np.arange(200) % 2, 1, 3)


def log_of(name, depths=3, requests=200, seed=0):
    """Rounds, and the text on which they were played."""
    return log_at(text_of(WORLDS[name], requests, np.random.default_rng(seed)), depths)


@pytest.fixture(scope="module", params=["trained", "lookup"])
def replay(request):
    rounds, text = log_of(request.param)
    return posterior_replay(label_tokens(rounds), draws=12, states=4), rounds, text


def test_the_recorded_depth_is_reproduced_round_by_round(replay):
    found, rounds, _ = replay
    for draw in (0, 7):
        played = play(found.recording(draw), slice(None), 3)
        assert played[played >= 0].tolist() == rounds.accepted.tolist()
    at = found.predict(3)
    mean = 1 + rounds.accepted.mean()
    assert (at.requests.mean, at.requests.low, at.requests.high) == pytest.approx((mean,) * 3)
    assert at.workload.low < mean < at.workload.high
    lengths = np.sort(np.diff(found.tokens.offsets))[::-1]
    share = lengths[:10].sum() / lengths.sum()
    assert share > 0.25
    assert f"have {100 * share:.0f} % of the tokens" in found.tail_note[0]


def test_other_depths_are_predicted(replay):
    """Within 1 %; a chain of one state is off (control)."""
    found, _, text = replay
    errors = []
    for depth in (1, 2, 4, 5, 6, 7):
        at, truth = found.predict(depth), accept_length(text, depth)
        assert at.workload.low < truth < at.workload.high
        assert at.requests.mean == pytest.approx(truth, rel=0.01)
        assert at.workload.high - at.workload.low > at.requests.high - at.requests.low
        assert at.extrapolated == (depth > 3)
        one = found.numbers[0].fit.chain
        counts = draw_replay(found.tokens, one, 7, np.random.default_rng(0)).astype(np.int32)
        simple = type(text)(counts, text.offsets, 7, "token")
        errors.append(accept_length(simple, depth) / truth - 1)
    assert max(map(abs, errors)) > 0.015


def test_two_depths_tell_the_shifts_and_narrow_depth_one():
    rounds, text = log_of("trained", HALF)
    tokens = label_tokens(rounds)
    both, alone = (
        posterior_replay(tokens, draws=6, free_shift=free, states=4) for free in (None, False)
    )
    assert both.free_shift
    assert not alone.free_shift
    for depth in (1, 2, 3, 5):
        at, truth = both.predict(depth).requests, accept_length(text, depth)
        assert at.low < truth < at.high
        assert at.mean == pytest.approx(truth, rel=0.025)
    widths = [r.predict(1).requests.high - r.predict(1).requests.low for r in (both, alone)]
    assert widths[0] < widths[1]


def test_each_request_keeps_its_own_depth_and_drafts():
    """A log whose rounds draft 0 to 3 tokens at random: what was seen is in every draw."""
    rng = np.random.default_rng(1)
    _, text = log_of("trained", requests=60)
    accepted, drafted, sizes = [], [], []
    for first, last in zip(text.offsets, text.offsets[1:], strict=False):
        at, size = first, 0
        while at < last - 4:
            drafted.append(int(rng.integers(0, 4)))
            accepted.append(min(int(text.accepted[at]), drafted[-1]))
            at, size = at + accepted[-1] + 1, size + 1
        sizes.append(size)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    tokens = label_tokens(Rounds(np.uint8(accepted), np.uint8(drafted), offsets))
    found = posterior_replay(tokens, draws=3, states=2)
    begins = np.cumsum(np.array(accepted) + 1) - np.array(accepted) - 1
    for counts in found.counts:
        assert np.minimum(counts[begins], drafted).tolist() == accepted
    assert found.free_shift
    assert not has_several_depths(label_tokens(log_of("trained", 2, 30)[0]))


def test_draws_are_repeatable_and_bounds_are_named():
    rounds, _ = log_of("lookup", requests=40)
    tokens = label_tokens(rounds)
    found, same = (posterior_replay(tokens, draws=3, free_shift=True, states=2) for _ in range(2))
    assert (found.counts == same.counts).all()
    assert (found.counts != posterior_replay(tokens, draws=3, seed=1, states=2).counts).any()
    assert any("is as good as" in text for text in found.at_bounds)


def test_depth_one_goes_deeper_and_no_rate_becomes_zero():
    found = posterior_replay(label_tokens(log_of("trained", 1, 60)[0]), draws=4, states=2)
    lengths = [found.predict(depth).workload.mean for depth in range(1, 6)]
    assert (np.diff(lengths) > 0.01).all()
    assert all((chain.accept(5) > 0).all() for chain in found.chains)
    assert isinstance(found.fits[0].chain, TokenChain)


@pytest.mark.parametrize(("accepted", "offsets"), [([1, 0], [0, 2]), ([0, 0], [0, 1, 2])])
def test_too_little_is_an_error(accepted, offsets):
    drafted = np.uint8(accepted)
    with pytest.raises(InputError, match="two requests with drafts"):
        posterior_replay(label_tokens(Rounds(np.uint8(accepted), drafted, np.array(offsets))))


def heavy_tails(number, rng):
    """Rounds with a Pareto tail and accepted drafts of requests; hard ones are longer."""
    hard, other = rng.standard_normal((2, number))
    rank = ndtr(0.6 * hard + 0.8 * other)
    rounds = np.floor(np.minimum(10 * (1 - rank) ** (-1 / 1.4), 700))
    return rounds, (2.0 - 0.3 * hard + 0.5 * rng.standard_normal(number)) * rounds


def test_sampling_intervals_allow_for_requests_that_decide():
    """60 requests of which a few have most rounds; plain standard errors cover less (control)."""
    rng, hits = np.random.default_rng(5), []
    rounds, accepted = heavy_tails(2_000_000, rng)
    truth = accepted.sum() / rounds.sum()
    for _ in range(800):
        rounds, accepted = heavy_tails(60, rng)
        share = accepted.sum() / rounds.sum()
        off = accepted - share * rounds
        widths = sampling_half_width(off, rounds, 0.95), 1.96 * (off @ off) ** 0.5 / rounds.sum()
        hits.append([abs(share - truth) <= width for width in widths])
    covered = np.mean(hits, axis=0)
    assert covered[0] > 0.9 - 2 * 0.011
    assert covered[0] > covered[1] + 0.04
    assert sampling_half_width(np.zeros(3), np.ones(3), 0.95) == 0
