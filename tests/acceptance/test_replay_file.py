"""Files of replayed requests: draws, requests played once in order, damaged files."""

from dataclasses import replace

import numpy as np
import pytest

import mtpsim
from mtpsim.acceptance.replay_file import ReplayFile, read_replay_file
from mtpsim.engine.simulate import compile_point, simulate_requests
from tests.support.examples import acceptance, latency
from tests.support.recordings import by_hand

RNG = np.random.default_rng(3)
LENGTHS = RNG.integers(5, 40, 30)
OFFSETS = np.concatenate([[0], np.cumsum(LENGTHS)])
LOGGED = RNG.integers(0, 3, (1, OFFSETS[-1]), np.uint8)  # of all draws at depth 2, as in a log
DEEPER = np.where(LOGGED == 2, LOGGED + RNG.integers(0, 3, (20, OFFSETS[-1])), LOGGED)
REPLAY = ReplayFile(DEEPER.astype(np.uint8), OFFSETS, 4, 2, 0.0, 2, 1.0)
TRACE = {"model": "trace", "file": "t.npz", "by": "position"}


def whole_rounds(counts, depth):
    """Tokens and rounds of a request; its last round counts in full."""
    accepted = by_hand(counts, "token", depth)[1]
    return [sum(accepted) + len(accepted), len(accepted)]


def played(depth=2):
    parts = np.split(LOGGED[0], OFFSETS[1:-1])
    return np.array([whole_rounds(part, depth) for part in parts]).sum(0)


@pytest.fixture
def folder(tmp_path):
    tokens, rounds = played()
    replace(REPLAY, accept_length=tokens / rounds).write(tmp_path / "t.npz")
    return tmp_path


def experiment(folder, text="as_recorded = true\nrequests = 600\n", more="", **keys):
    keys = {"order": "recorded"} | keys
    given = acceptance(**TRACE, **keys) + latency(20, 22, 1) + more + "[simulation]\n" + text
    return mtpsim.parse(given, folder=folder)


def test_draws_are_requests_one_after_the_other(folder):
    every = experiment(folder).acceptance.chain()
    assert (every.requests, every.draws, every.depth) == (600, 20, 4)
    for number in (1, 20):
        one = experiment(folder, draw=number, depth=3).acceptance.chain()
        assert (one.requests, one.draws, one.depth) == (30, 1, 3)
        first = (number - 1) * OFFSETS[-1]
        part = every.accepted[first : first + OFFSETS[-1]]
        assert one.accepted.tolist() == np.minimum(part, 3).tolist()
    assert read_replay_file(folder / "t.npz").accepted.tolist() == REPLAY.accepted.tolist()


@pytest.mark.parametrize("order", ["recorded", "resampled"])
def test_each_request_is_played_once_by_depths_and_policies(order, folder):
    more = '[adaptive]\npolicies = [{ rule = "fixed", depth = 2 }]\n'
    plan = compile_point(experiment(folder, more=more, order=order)).plan
    rows, layout = simulate_requests(plan, 570, 60), plan.layout  # the last 30, the first 30
    chain = experiment(folder).acceptance.chain()
    parts = np.split(chain.accepted, chain.offsets[1:-1])
    known = [whole_rounds(part, 2) for part in [*parts[570:], *parts[:30]]]
    found = np.stack([rows[:, layout.tokens][:, 2], rows[:, layout.rounds][:, 2]], axis=1)
    assert (found.tolist() == np.array(known, float).tolist()) == (order == "recorded")
    policies = np.stack([rows[:, layout.policy_tokens], rows[:, layout.policy_rounds]], axis=1)
    assert policies[:, :, 0].tolist() == found.tolist()


@pytest.mark.parametrize(
    ("requests", "keys", "equal", "once"),
    [(600, {}, True, True), (599, {}, False, False), (30, {"draw": 3}, True, True)],
)
def test_a_run_says_whether_it_has_the_accept_length_of_the_log(
    requests, keys, equal, once, folder
):
    text = f"as_recorded = true\nrequests = {requests}\n"
    result = mtpsim.run(experiment(folder, text, **keys))
    found = result.data.points[0].diagnostics.recorded
    tokens, rounds = played()
    assert (found.depth, found.log, found.once) == (2, tokens / rounds, once)
    assert (found.accept_length == pytest.approx(found.log, rel=1e-12)) == equal
    assert ("exactly that of the log" in str(result)) == equal
    resampled = mtpsim.run(experiment(folder, text, order="resampled", **keys))
    assert resampled.data.points[0].diagnostics.recorded is None


@pytest.mark.parametrize("widening", [1.0, 2.0])
def test_intervals_include_the_sample_and_the_draws(widening, folder):
    """Against a plain computation: variance over draws plus that of a sample of requests."""
    replace(REPLAY, widening=widening).write(folder / "t.npz")
    (point,) = mtpsim.run(experiment(folder)).data.points
    assert point.uncertainty.replayed == point.uncertainty.draws == 20
    for depth in (2, 4):
        totals = np.array([
            [whole_rounds(part, depth) for part in np.split(draw, OFFSETS[1:-1])]
            for draw in REPLAY.accepted
        ])  # fmt: skip
        lengths = totals[..., 0].sum(1) / totals[..., 1].sum(1)
        off = totals[..., 0] - lengths[:, None] * totals[..., 1]
        sample = (off.std(1, ddof=1) / totals[..., 1].mean(1)).mean() / 30**0.5
        error = np.hypot(lengths.std(ddof=1), widening * sample)
        ends = point.uncertainty.depths[depth].accept_length
        assert (ends.high - ends.low) / 2 == pytest.approx(2.05 * error, rel=0.1)
    assert point.uncertainty.depths[4].speedup.high > point.depths[4].speedup.high
    single = mtpsim.run(experiment(folder, "as_recorded = true\nrequests = 30\n", draw=1))
    assert single.data.points[0].uncertainty is None


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_damaged_files_are_refused(share, folder):
    path = folder / "t.npz"
    content = path.read_bytes()
    path.write_bytes(content[: max(10, int(share * len(content)))])
    with pytest.raises(mtpsim.InputError, match=r"t\.npz is not a replay that `mtpsim fit` wrote"):
        experiment(folder)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"accepted": DEEPER.astype(np.int64)}, "`accepted` must be bytes"),
        ({"accepted": REPLAY.accepted[0]}, "`accepted` must be bytes"),
        ({"depth": 3}, "at most `depth`, 3"),
        ({"offsets": OFFSETS[1:]}, "`offsets` must rise"),
        ({"offsets": OFFSETS[::-1].copy()}, "`offsets` must rise"),
        ({"offsets": OFFSETS.astype(float)}, "`offsets` must be 64-bit"),
    ],
)
def test_arrays_that_are_no_requests_are_refused(fields, message, folder):
    replace(REPLAY, **fields).write(folder / "t.npz")
    with pytest.raises(mtpsim.InputError, match=message):
        experiment(folder)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"depth": 5}, "5 is given; it is at most 4"),
        ({"draw": 21}, "21 is given; it is at most 20"),
        ({"by": "round"}, 'a replay is by "position"'),
        ({"file": "log.jsonl", "draw": 1}, "has draws"),
    ],
)
def test_keys_that_do_not_fit_a_replay(keys, message, folder):
    (folder / "log.jsonl").write_text('{"accepted": [1], "drafted": [2]}\n')
    text = acceptance(**TRACE | keys) + latency(20, 22, 1)
    with pytest.raises(mtpsim.InputError, match=message):
        mtpsim.parse(text, folder=folder)
