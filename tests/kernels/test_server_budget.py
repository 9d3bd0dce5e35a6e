"""The decisions of a budget of drafts, against arithmetic; the server plays them in test_server."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given

from mtpsim.kernels import server_budget
from mtpsim.kernels.server_state import (
    CHUNK_CONTEXT,
    DEEPEST,
    DRAFTED,
    LEVELS,
    SINCE,
    STEP,
    _new_drafts,
)
from mtpsim.latency.step_costs import new_costs
from tests.support.strategies import few, seeds

DRAFT_MS = 2.0


def step_of(survival, verify_ms):
    """World and state of a step; arguments as of :func:`decide`."""
    requests, depth = survival.shape
    drafts = _new_drafts(requests, depth, 0)
    drafts.levels[:] = np.rint(survival.T * LEVELS)
    drafts.scheduled[:] = depth
    counts = np.zeros(CHUNK_CONTEXT + 10, np.int64)
    counts[DEEPEST], counts[DRAFTED] = depth, survival.size
    table = np.r_[np.full(requests, verify_ms[0]), verify_ms]  # by tokens: one per request at least
    draft = np.full((depth + 1, requests + 1), DRAFT_MS)
    world = SimpleNamespace(costs=new_costs(draft, table[None]), speculates=True)
    return world, SimpleNamespace(drafts=drafts, counts=counts)


def decide(survival, verify_ms, early=False):
    """The budget and the verified drafts of each request.

    Args:
        survival: ``[R, K]`` of every draft, in steps of 1 / 1024.
        verify_ms: ``[R K + 1]`` verify time by the number of verified drafts.
    """
    world, state = step_of(survival, verify_ms)
    requests, drafts = len(survival), state.drafts
    budget = server_budget._budget(world, state, requests, 0, drafts.levels, early)
    server_budget._allocate(drafts, requests, budget)
    assert drafts.verified.sum() == budget
    return budget, drafts.verified


def random_survival(rng, requests=5, depth=4):
    confidence = rng.random((requests, depth)) ** rng.uniform(0.1, 1)
    return np.ceil(confidence.cumprod(1) * LEVELS) / LEVELS


def paces(survival, verify_ms):
    """Expected tokens per ms by budget."""
    gains = np.sort(survival.ravel())[::-1].cumsum()
    times = np.maximum.accumulate(verify_ms) + DRAFT_MS
    return (len(survival) + np.r_[0.0, gains]) / times


@few
@given(seeds)
def test_a_global_budget_is_the_best_one(seed):
    """Of all budgets, and so of every fixed depth; the drafts are a prefix of each request's."""
    rng = np.random.default_rng(seed)
    survival = random_survival(rng)
    verify_ms = 5 + rng.random(survival.size + 1).cumsum() * rng.choice([0.01, 0.3, 2])
    verify_ms[rng.integers(survival.size)] += 3  # a bump, which is passed at its height
    budget, verified = decide(survival, verify_ms)
    found = paces(survival, verify_ms)
    assert found[budget] == pytest.approx(found.max(), rel=1e-12)
    assert budget == np.argmax(found > found.max() * (1 - 1e-12))
    times = np.maximum.accumulate(verify_ms) + DRAFT_MS
    for depth in range(survival.shape[1] + 1):
        fixed = len(survival) + survival[:, :depth].sum()
        assert found[budget] >= fixed / times[depth * len(survival)] * (1 - 1e-12)
    admitted = np.concatenate([own[:k] for own, k in zip(survival, verified, strict=True)])
    rest = np.concatenate([own[k:] for own, k in zip(survival, verified, strict=True)])
    assert admitted.min(initial=1) >= rest.max(initial=0)


def test_drafts_that_cost_nothing_are_all_verified():
    survival = random_survival(np.random.default_rng(1))
    for early in (False, True):
        budget, verified = decide(survival, np.full(survival.size + 1, 7.0), early)
        assert budget == survival.size
        assert (verified == survival.shape[1]).all()


@few
@given(seeds)
def test_a_constant_cost_admits_what_is_worth_its_time(seed):
    """Dinkelbach: a draft is admitted while its survival exceeds slope x tokens / time."""
    rng = np.random.default_rng(seed)
    survival, slope = random_survival(rng), rng.uniform(0.01, 1)
    verify_ms = 5 + slope * np.arange(survival.size + 1)
    budget, _ = decide(survival, verify_ms)
    ranked = np.sort(survival.ravel())[::-1]
    price = slope * paces(survival, verify_ms)[budget]
    assert (ranked[:budget] > price * (1 - 1e-12)).all()
    assert (ranked[budget:] <= price * (1 + 1e-12)).all()
    # The pace has a single peak, so that the first fall ends the search.
    assert decide(survival, verify_ms, early=True)[0] == budget


def test_an_early_search_stops_before_a_step_of_the_table():
    """Where verify times jump and are then flat, the pace has two peaks."""
    survival = np.full((4, 3), 0.75)
    verify_ms = np.where(np.arange(13) > 2, 6.0, 5.0)
    assert decide(survival, verify_ms)[0] == 12
    assert decide(survival, verify_ms, early=True)[0] == 2


def test_of_equal_budgets_the_least_is_taken():
    """1 token in 4 ms, or 1.5 in 6."""
    assert decide(np.array([[0.5]]), np.array([2.0, 4.0]))[0] == 0
    assert decide(np.array([[0.5]]), np.array([2.0, 3.99]))[0] == 1


def test_a_fall_of_the_verify_time_is_no_reason_for_worthless_drafts():
    """A request that decides alone counts a draft as free then, not as a gain of time."""
    survival = np.array([[0.5, 0.0], [0.0, 0.0]])
    world, state = step_of(survival, np.array([9.0, 8.0, 7.0, 6.0, 5.0]))
    server_budget._each_alone(world, state, 2, 0)
    assert state.drafts.verified.tolist() == [1, 0]


@pytest.mark.parametrize("slope", [0.1, 0.5, 1.0])
def test_equal_requests_share_the_budget_evenly(slope):
    """Without information, drafts fill the requests like water: depths differ by one at most."""
    own = np.ceil(np.cumprod([0.8, 0.7, 0.6, 0.5]) * LEVELS) / LEVELS
    survival = np.tile(own, (7, 1))
    verify_ms = 5 + slope * np.arange(29) ** 1.3 / 3
    budget, verified = decide(survival, verify_ms)
    assert 0 < budget < 28
    assert budget == paces(survival, verify_ms).argmax()
    most, extra = divmod(int(budget), 7)
    assert verified.tolist() == [most + 1] * extra + [most] * (7 - extra)


def test_an_average_holds_the_confidences_of_proposed_drafts_alone():
    """The first request proposes 3, 1, 2 and 3 drafts in its steps, the second one always 3."""
    drafts, since = _new_drafts(2, 3, 0), 5
    drafts.slots[:] = [3, 1]
    state = SimpleNamespace(
        drafts=drafts, counts=np.zeros(20, np.int64), ints=np.zeros((5, 20), np.int64)
    )
    state.ints[:, SINCE] = since
    world = SimpleNamespace(engine=SimpleNamespace(proposed=np.array([1, 2, 3])))
    given = np.array([[0.8, 0.6, 0.4], [0.4, 0.1, 0.1], [0.2, 0.2, 0.1], [0.4, 0.4, 0.8]])
    expected = [[0.8, 0.6, 0.4], [0.6, 0.6, 0.4], [0.4, 0.4, 0.4], [0.4, 0.4, 0.6]]
    for step, proposed in enumerate([3, 1, 2, 3]):
        state.counts[STEP], drafts.states[0] = since + step, [proposed - 1, 2]
        drafts.confidences[:] = given[step][:, None]
        server_budget._smooth(world, state, 2, 0.5)
        assert drafts.confidences[:, 0] == pytest.approx(expected[step])
    assert drafts.confidences[:, 1] == pytest.approx([0.4, 0.3375, 0.4875])
    averages = drafts.smooth[[3, 1]].T
    assert averages == pytest.approx(drafts.confidences)


def test_an_average_begins_with_the_first_proposed_draft():
    drafts = _new_drafts(1, 2, 0)
    state = SimpleNamespace(
        drafts=drafts, counts=np.zeros(20, np.int64), ints=np.zeros((3, 20), np.int64)
    )
    world = SimpleNamespace(engine=SimpleNamespace(proposed=np.array([0, 1, 2])))
    for step, (proposed, value, expected) in enumerate(
        [(0, 0.8, [0.8, 0.8]), (2, 0.4, [0.4, 0.4]), (1, 0.2, [0.3, 0.4])]
    ):
        state.counts[STEP], drafts.states[0], drafts.confidences[:] = step, proposed, value
        server_budget._smooth(world, state, 1, 0.5)
        assert drafts.confidences[:, 0] == pytest.approx(expected)
