"""Random numbers of proposed drafts, and drafters that pay for a block: against the mechanism."""

import numba
import numpy as np
import pytest

import mtpsim
from tests.support.examples import THREE_DEEP, independent, linear, problem_of, regime, section
from tests.support.naive import pick

RATES = [[0.9, 0.85, 0.8], [0.4, 0.3, 0.3]]
LAW = [[0.1, 0.1, 0.2, 0.6], [0.7, 0.1, 0.1, 0.1]]
SOJOURN = [8, 4]
TEXT = regime(*RATES, sojourn=SOJOURN) + linear(20, 0.5, 2.0)
ONE_STATE = independent(0.8, 0.7, 0.6) + THREE_DEEP
LIMIT = 4.5  # standard errors; 24 comparisons
SIMULATION = section("simulation", rounds=40, requests=3000)


def requests_of(rng, count, depth, block):
    """Tokens and ms of requests of 40 rounds, round by round."""
    rows = []
    for _ in range(count):
        state, tokens, ms = pick(rng, [2 / 3, 1 / 3]), 0, 0.0
        for _ in range(40):
            proposed = min(pick(rng, LAW[state]), depth)
            accepted = 0
            while accepted < proposed and rng.random() < RATES[state][accepted]:
                accepted += 1
            tokens += accepted + 1
            made = block or proposed
            ms += 20 + 0.5 * (proposed + 1) + (2.0 * made if depth else 0.0)
            state = 1 - state if rng.random() < 1 / SOJOURN[state] else state
        rows.append((tokens, ms))
    return np.array(rows)


@pytest.mark.parametrize("block", [None, 6])
def test_rounds_match_the_mechanism(block):
    draft = section("draft", lengths=LAW, **({"block": block} if block else {}))
    point = mtpsim.run(mtpsim.parse(TEXT + draft + SIMULATION)).data.points[0]
    rng = np.random.default_rng(3)
    for depth in (1, 2, 3):
        found, rows = point.depths[depth], requests_of(rng, 600, depth, block) / 40
        error = rows.std(0) / np.sqrt(len(rows))
        exact = np.array([found.accept_length.exact, found.round_time.exact])
        assert (np.abs(rows.mean(0) - exact) < LIMIT * error).all()
        for cell in (found.accept_length, found.round_time, found.speedup):
            assert abs(cell.mean - cell.exact) < LIMIT / 1.96 * (cell.high - cell.mean)
    always = mtpsim.parse(TEXT + SIMULATION).step_times()  # negative control: all are proposed
    assert abs(rows.mean(0)[1] - always[0][3] - always[1][3]) > LIMIT * error[1]


@pytest.mark.parametrize(
    ("model", "lengths"), [(TEXT, LAW), (ONE_STATE, LAW[0])], ids=["two", "one"]
)
def test_kernels_are_those_of_other_chains(model, lengths):
    """Otherwise each would be compiled a second time, or read rows in another order."""
    drafts = "", section("draft", lengths=lengths)
    always, random = (mtpsim.parse(model + draft).source.arrays() for draft in drafts)
    assert numba.typeof(random) == numba.typeof(always)


@pytest.mark.parametrize("horizon", [{"rounds": 40}, {"tokens": 50}])
def test_proposing_all_drafts_is_the_same_as_without_lengths(horizon):
    text = ONE_STATE + section("simulation", **horizon, requests=400)
    plain, all_of = (
        mtpsim.run(mtpsim.parse(text + draft)).data.points[0].depths
        for draft in ("", section("draft", lengths=[0, 0, 0, 1]))
    )
    for one, other in zip(plain, all_of, strict=True):
        for name in ("accept_length", "round_time", "speedup"):
            exact = getattr(one, name).exact
            assert getattr(other, name).exact == pytest.approx(exact, rel=1e-12)
            half = getattr(other, name).high - getattr(other, name).mean
            assert abs(getattr(other, name).mean - exact) <= LIMIT / 1.96 * half + 1e-9 * exact


def test_a_block_is_paid_for_at_every_depth():
    experiment = mtpsim.parse(
        independent(0.8, 0.7) + linear(20, 0.5, 2.0) + section("draft", block=8)
    )
    verify, draft = experiment.step_times()
    assert verify == pytest.approx([20.5, 21, 21.5])
    assert draft == pytest.approx([0, 16, 16])
    assert experiment.compiled_latency().draft == pytest.approx([0, 16, 16])


@pytest.mark.parametrize(
    ("draft", "message"),
    [
        ({"lengths": [0, 1]}, "draft.lengths: 2 shares are given, but depth 3 needs 4"),
        ({"lengths": [0, 0, 0, 0]}, "the shares of row 1 sum to 0; they must sum to 1"),
        (
            {"lengths": [LAW[0], [0.5, 0.6, 0, 0]]},
            "draft.lengths: the shares of row 2 sum to 1.1; they must sum to 1",
        ),
        ({"lengths": [LAW[0]] * 3}, "3 rows are given, but the acceptance model has 2 states"),
        ({"lengths": LAW, "tree": [0, 0]}, 'draft.lengths: is for tree = "chain"'),
        ({"block": 4, "tree": [0]}, 'draft.block: is for tree = "chain"'),
        ({"p_min": 0.6}, "draft.p_min: lengths by confidence are a policy"),
        ({"lengths": {"path": "x"}}, "draft.lengths.path: unknown key"),
        ({"lengths": [0.1, "a", 0.2, 0.7]}, "draft.lengths[1]: 'a' is given; it must be a number"),
        ({"lengths": [LAW[0], 0.5]}, "draft.lengths[1]: 0.5 is given; it must be a list"),
    ],
)
def test_errors(draft, message):
    assert message in problem_of(TEXT + section("draft", **draft))


def test_one_share_that_is_no_number_is_one_problem():
    with pytest.raises(mtpsim.InputError) as caught:
        mtpsim.parse(TEXT + "[draft]\nlengths = [0.1, nan, 0.2, 0.7]\n")
    assert [problem.key for problem in caught.value.problems] == ["draft.lengths[1]"]


def test_lengths_of_a_file_are_resampled(tmp_path):
    """Numbers above the depth count as the depth; a file of others gives other results."""
    (tmp_path / "drafts.csv").write_text("drafted\n0\n9\n1\n3\n")
    for lengths, same in (([0.25, 0.25, 0, 0.5], True), ([0.5, 0.25, 0, 0.25], False)):
        found = []
        for value in (lengths, {"samples": "drafts.csv"}):
            text = TEXT + section("draft", lengths=value) + SIMULATION
            point = mtpsim.run(mtpsim.parse(text, folder=tmp_path)).data.points[0]
            found.append([cell.speedup.mean for cell in point.depths])
        assert (found[0] == found[1]) == same
    (tmp_path / "drafts.csv").write_text("1.5\n")
    with pytest.raises(mtpsim.InputError, match=r"drafts.csv:1: a count must be a whole number"):
        mtpsim.parse(text, folder=tmp_path)


def test_uncertain_lengths_and_request_lengths(tmp_path):
    """Two draws of the law are two experiments; long requests begin in easy states."""
    rows = ["draft.lengths[0],draft.lengths[1],draft.lengths[2],draft.lengths[3]"]
    rows += ["0,0,0,1", "1,0,0,0"] * 20
    (tmp_path / "draws.csv").write_text("\n".join(rows))
    text = TEXT + section("draft", lengths=[0.5, 0, 0, 0.5]) + SIMULATION
    text += section("uncertainty", samples="draws.csv", draws=20)
    point = mtpsim.run(mtpsim.parse(text, folder=tmp_path)).data.points[0]
    low, high = point.uncertainty.depths[3].speedup.low, point.uncertainty.depths[3].speedup.high
    always = mtpsim.run(mtpsim.parse(TEXT + SIMULATION)).data.points[0].depths[3].speedup.exact
    assert low == pytest.approx(1, abs=0.03)  # nothing is ever drafted
    assert high == pytest.approx(always, rel=0.03)
    lengths = {"cv": 0.8, "correlation": 0.9}
    tokens = section("simulation", tokens=60, requests=3000, lengths=lengths)
    for law, same in ((LAW, True), ([LAW[0]] * 2, False)):
        experiment = mtpsim.parse(TEXT + section("draft", lengths=law) + tokens)
        found = mtpsim.run(experiment).data.points[0].depths[3].accept_length
        if same:
            exact, half = found.exact, (found.high - found.low) / 2
        assert (abs(found.mean - exact) < LIMIT / 1.96 * half) == same


def test_policies_of_an_experiment_cap_what_is_proposed():
    """A fixed depth is that of the table; `off` has no overhead of drafting, depth 2 has."""
    rules = [{"rule": "fixed", "depth": 2}, "off", {"rule": "threshold", "theta": 0.2}, "oracle"]
    text = TEXT + "overhead_off = 0.1\n" + section("draft", lengths=LAW)
    experiment = mtpsim.parse(text + SIMULATION + section("adaptive", policies=rules))
    point = mtpsim.run(experiment).data.points[0]
    fixed, off, threshold, oracle = point.adaptive.policies
    assert fixed.speedup.mean == pytest.approx(point.depths[2].speedup.mean, rel=1e-9)
    assert off.speedup.mean == pytest.approx(1, rel=1e-9)
    assert threshold.speedup.mean < oracle.speedup.mean
    assert oracle.speedup.mean > max(cell.speedup.mean for cell in point.depths)


def test_shares_of_few_digits_may_miss_1_by_rounding():
    lengths = [0.3333333, 0.3333333, 0.3333333, 0]
    assert mtpsim.parse(TEXT + section("draft", lengths=lengths)).draft.lengths == lengths


def test_drafts_of_random_number_have_no_picture_of_a_tree():
    """That of a chain shows an accept length that such rounds do not have."""
    requests = section("simulation", rounds=40, requests=100)
    for lengths, names in (({"lengths": LAW}, set()), ({}, {"tree"})):
        result = mtpsim.run(mtpsim.parse(TEXT + section("draft", block=3, **lengths) + requests))
        assert (result.data.points[0].tree is not None) == bool(names)


def test_what_lengths_cannot_be_combined_with():
    draft = section("draft", lengths=LAW)
    token = regime(*RATES, sojourn=SOJOURN, clock="token") + linear(20, 0.5, 2.0)
    assert "states change by round" in problem_of(token + draft)
    assert "latency.draft is a list by depth" in problem_of(
        independent(0.8, 0.7, 0.6) + THREE_DEEP + section("draft", block=8)
    )
