"""Step costs looked up by the kernels, against the laws worked out directly."""

import math
from itertools import product

import numpy as np
import pytest
from pydantic import TypeAdapter

from mtpsim.kernels import step_costs as kernels
from mtpsim.latency import AnyLatency
from tests.support.cost_models import LAWS

ADAPTER = TypeAdapter(AnyLatency)
DEPTH, TOKENS, REQUESTS = 4, 600, 40


def law(name, **keys):
    given = {"draft": {"base": 1.0, "per_token": 0.5}, "draft_per_request": 0.01, **LAWS[name]}
    given |= {"model": name.split(",")[0], **keys}
    return ADAPTER.validate_python(given)


def costs_of(model):
    return model.step_costs(DEPTH, TOKENS, REQUESTS)


def direct(model, tokens, requests, cached):
    """A pass by the formula of the law, without tables."""
    own = {"cached": cached / requests} if "cached" in type(model).model_fields else {}
    return model.model_copy(update=own).step(requests, np.array([tokens / requests - 1]))[0]


@pytest.mark.parametrize("name", LAWS)
def test_costs_are_those_of_the_law(name):
    model, found = law(name), costs_of(law(name))
    near = 2e-3 if name == "table" else 1e-12  # sampled; above 32 requests not at each number
    for requests, each, cached in product((1, 3, 8, 33, 40), (1, 2, 5), (0, 20_000)):
        time = kernels.verify_ms(found, requests * each, requests, cached)
        assert time == pytest.approx(direct(model, requests * each, requests, cached), rel=near)
    for requests, depth in product((1, 7, 40), (1, 4)):
        drafting = model.draft_times(requests, DEPTH)[depth]
        assert kernels.draft_ms(found, depth, requests) == drafting


@pytest.mark.parametrize("name", LAWS)
def test_times_by_depth_are_those_of_the_costs(name):
    model = law(name, batch=8.0)
    found, (verify, draft) = costs_of(model), model.times(DEPTH)
    cached = 8 * getattr(model, "cached", 0)
    for k in range(DEPTH + 1):
        time = kernels.verify_ms(found, 8 * (k + 1), 8, cached)
        assert (time, kernels.draft_ms(found, k, 8)) == pytest.approx((verify[k], draft[k]))


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("name", LAWS)
def test_times_by_verified_drafts_are_those_of_single_steps(name, ranks, overlap):
    """To the last bit; 5 of the requests draft, the other ones are chunks of prompts."""
    found = costs_of(law(name))._replace(ranks=ranks, overlap=overlap, overhead_off=0.1)
    context, cached = 4_000, 9_000.0
    for requests, depth in product((7, 33), (0, DEPTH)):
        times = np.empty(5 * DEPTH + 1)
        kernels.fill_step_ms(found, depth, 5, True, 40, requests, cached, context, times)
        for drafts, time in enumerate(times):
            reads = cached + context * (drafts / 5)
            verify = kernels.verify_ms(found, 40 + drafts, requests, cached, reads)
            assert time == kernels.step_ms(found, depth, 5, True, verify)
        assert times[-1] > times[0] or name == "table"


def test_nothing_to_do_takes_no_time():
    found = costs_of(law("linear"))
    assert kernels.draft_ms(found, 0, 8) == kernels.draft_ms(found, 3, 0) == 0
    assert kernels.verify_ms(found, 0, 0, 0) == 0


def test_beyond_the_tables_is_not_a_number():
    found = costs_of(law("linear"))
    assert math.isnan(kernels.verify_ms(found, TOKENS + 1, 8, 0))
    assert math.isnan(kernels.verify_ms(found, TOKENS, REQUESTS + 1, 0))
    assert math.isnan(kernels.draft_ms(found, DEPTH + 1, 8))
    assert kernels.verify_ms(found, TOKENS, REQUESTS, 0) > 0


def test_context_read_by_each_token_is_weighted_by_the_tokens_of_its_request():
    """Two requests of 1,000 and 9,000 cached tokens that verify 5 tokens and 1."""
    found = costs_of(law("linear"))
    plain = kernels.verify_ms(found, 6, 2, 0)
    exact = kernels.verify_ms(found, 6, 2, 10_000, 5 * 1_000 + 9_000)
    assert exact - plain == pytest.approx(10_000 * 3e-5 + 14_000 * 2e-6)
    mean = kernels.verify_ms(found, 6, 2, 10_000)
    assert mean - plain == pytest.approx(10_000 * 3e-5 + 30_000 * 2e-6)


def test_the_fullest_rank_sets_the_time():
    found = costs_of(law("linear"))
    shared = found._replace(ranks=4)
    assert kernels.verify_ms(shared, 9 * 4, 9, 9_000) == kernels.verify_ms(found, 3 * 4, 3, 3_000)
    assert kernels.draft_ms(shared, 2, 9) == kernels.draft_ms(found, 2, 3)
    assert kernels.verify_ms(shared, 4 * 3, 3, 0) == kernels.verify_ms(found, 4, 1, 0)


def test_a_step_adds_drafting_or_hides_it():
    found = costs_of(law("linear"))._replace(overhead_off=0.1)
    draft = kernels.draft_ms(found, 3, 8)
    assert kernels.step_ms(found, 3, 8, True, 10.0) == 10 + draft
    assert kernels.step_ms(found._replace(overlap=True), 3, 8, True, 10.0) == 10
    assert kernels.step_ms(found._replace(overlap=True), 3, 8, True, 0.5) == draft
    assert kernels.step_ms(found, 0, 0, True, 10.0) == 11
    assert kernels.step_ms(found, 0, 0, False, 10.0) == 10
