"""Cost models against hand-worked steps and the published fit of one GPU."""

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from mtpsim.common.errors import InputError
from mtpsim.config.experiment import parse
from mtpsim.latency import AnyLatency, Moe

COST = TypeAdapter(AnyLatency)


def times(depth, **keys):
    verify, draft = COST.validate_python(keys).times(depth)
    assert draft[0] == 0
    return verify, draft


def test_linear_is_the_published_fit_of_an_h100():
    # Llama-3.1-8B with EAGLE: verify 5.886 + 0.02101 B (K + 1) + 3.93e-5 kv, overhead 1.207
    verify, draft = times(
        3, model="linear", overhead=1.207, base=5.886, per_token=0.02101, per_cached=3.93e-5,
        cached=1000, draft=2.135, batch=16,
    )  # fmt: skip
    assert verify[3] == pytest.approx(1.207 + 5.886 + 0.02101 * 16 * 4 + 3.93e-5 * 16_000)
    assert verify[0] == pytest.approx(1.207 + 5.886 + 0.02101 * 16 + 3.93e-5 * 16_000)
    assert draft[1:].tolist() == [2.135] * 3


def test_roofline_is_flat_until_the_ridge_and_a_line_beyond():
    keys = {"model": "roofline", "overhead": 1, "floor": 10, "per_token": 0.5, "draft": 1}
    assert times(3, **keys, batch=5)[0].tolist() == [11, 11, 11, 11]
    assert times(3, **keys, batch=10)[0].tolist() == [11, 11, 16, 21]
    reading = times(1, **keys, batch=2, cached=100, per_cached=0.01)[0]
    assert reading.tolist() == [13, 13]


def test_moe_expert_count_matches_sampling():
    keys = {"experts": 16, "active": 2, "base": 3, "per_expert": 0.5, "per_token": 0.01}
    model = COST.validate_python({"model": "moe", **keys, "draft": 0.4, "batch": 4})
    assert isinstance(model, Moe)
    rng = np.random.default_rng(1)
    for depth in (0, 2):
        tokens = 4 * (depth + 1)
        experts = rng.permuted(np.tile(np.arange(16), (3000, tokens, 1)), axis=2)[..., :2]
        drawn = np.array([np.unique(each).size for each in experts])
        error = drawn.std() / np.sqrt(3000)
        assert abs(model.hit(np.array([float(tokens)]))[0] - drawn.mean()) < 4 * error
        exact = 3 + 0.5 * model.hit(np.array([float(tokens)]))[0] + 0.01 * tokens
        assert model.times(2)[0][depth] == pytest.approx(exact)


def test_table_interpolates_between_measured_batches():
    keys = {"model": "table", "batches": [1, 4], "verify": [[10, 12, 14], [16, 20, 30]]}
    assert times(2, **keys, batch=1)[0].tolist() == [10, 12, 14]
    assert times(2, **keys, batch=2)[0] == pytest.approx([12, 12 + 8 / 3, 14 + 16 / 3])
    assert times(2, **keys, batch=4)[0].tolist() == [16, 20, 30]


def test_drafting_may_cost_more_in_a_larger_batch():
    keys = {"base": 5, "per_token": 0, "draft": [1, 2], "draft_per_request": 0.1, "batch": 3}
    _, draft = times(2, model="linear", **keys)
    assert draft.tolist() == pytest.approx([0, 1.3, 2.6])


TABLE = {"model": "table", "batches": [1, 4], "verify": [[10, 12], [16, 20]]}
LINEAR = {"model": "linear", "per_token": 1, "draft": 1}
MOE = {"model": "moe", "experts": 2, "per_expert": 1, "per_token": 0, "draft": 1}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({**TABLE, "batch": 8}, "outside the measured range, 1 to 4"),
        ({**TABLE, "batches": [4, 1]}, "must ascend"),
        ({**TABLE, "verify": [[10, 12]]}, "1 rows for 2 batches"),
        ({**TABLE, "verify": [[10, 12], [16]]}, "at least"),
        ({**TABLE, "verify": [[10, 12], [16, 0]]}, "must be positive"),
        ({"model": "linear", "per_token": 0, "draft": 1}, "takes 0 ms"),
        (
            {
                "model": "moe",
                "experts": 2,
                "active": 3,
                "per_expert": 1,
                "per_token": 0,
                "draft": 1,
            },
            "3 of 2 experts",
        ),
        ({"model": "linear", "per_token": 1, "draft": 1, "batch": 0}, "greater than or equal to 1"),
        ({"model": "linear", "per_token": 1, "draft": 1, "persistence": 0.5}, "needs noise: give"),
        ({"model": "rooflin"}, "did you mean 'roofline'"),
    ],
)
def test_invalid_cost_models_are_refused(keys, message):
    with pytest.raises(ValidationError, match=message):
        COST.validate_python(keys)


def test_lists_must_fit_the_depth_of_the_model():
    text = """
    acceptance = { model = "independent", rate = 0.8, depth = 3 }
    latency = { model = "table", batches = [1], verify = [[10, 12]], draft = [1, 2] }
    """
    with pytest.raises(InputError) as error:
        parse(text)
    keys = [problem.key for problem in error.value.problems]
    assert keys == ["latency.draft", "latency.verify"]
