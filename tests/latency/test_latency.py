"""Step times, noise tables and cost models, against laws of SciPy and steps worked out by hand."""

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from mtpsim.acceptance import Independent
from mtpsim.common.errors import InputError
from mtpsim.config.experiment import parse
from mtpsim.engine.round_traces import sample_rounds
from mtpsim.engine.simulate import compile_plan
from mtpsim.latency import AnyLatency, Latency, Moe
from mtpsim.latency import quantile_table as tables
from mtpsim.latency.quantile_table import (
    Distribution,
    exponential,
    gamma,
    lognormal,
    normal_table,
    pareto,
    samples_table,
    table_of,
)

U = np.concatenate([[0.001, 0.01, 0.05, 0.5, 0.95, 0.99, 0.999], np.linspace(0.0013, 0.9987, 997)])


def lognorm(cv):
    sigma = np.sqrt(np.log1p(cv**2))
    return stats.lognorm(sigma, scale=np.exp(-(sigma**2) / 2))


DISTRIBUTIONS = [
    *[(f"lognormal {cv}", lognormal(cv), lognorm(cv)) for cv in (0.01, 0.1, 0.4, 1, 5)],
    *[(f"gamma {cv}", gamma(cv), stats.gamma(cv**-2, scale=cv**2)) for cv in (0.05, 0.5, 1, 2)],
    *[(f"exp {o}", exponential(o), stats.expon(loc=o, scale=1 - o)) for o in (0.0, 0.3, 0.9)],
    *[(f"pareto {a}", pareto(a), stats.pareto(a, scale=1 - 1 / a)) for a in (2.02, 2.1, 3, 10)],
]


@pytest.mark.parametrize(("_", "distribution", "truth"), DISTRIBUTIONS)
def test_tables_are_accurate_to_1e_4(_, distribution, truth):
    table = table_of(distribution)
    assert table.mean == pytest.approx(truth.mean(), rel=1e-4)
    assert table.sd == pytest.approx(truth.std(), rel=1e-4)
    assert table.quantile(U) == pytest.approx(truth.ppf(U), rel=1e-4)
    assert (table.values[:, 0] >= 0).all()


@pytest.mark.parametrize("name", ["weibull_min", "invgauss", "loglaplace", "burr12"])
def test_any_scipy_distribution_is_tabulated(name):
    shapes = {"weibull_min": (1.5,), "invgauss": (0.5,), "loglaplace": (4.0,), "burr12": (3, 2)}
    truth = getattr(stats, name)(*shapes[name], scale=3.0)
    table = table_of(Distribution(truth.ppf, truth.isf, float(truth.mean()), float(truth.std())))
    assert table.sd * truth.mean() == pytest.approx(truth.std(), rel=1e-4)
    assert table.quantile(U) * truth.mean() == pytest.approx(truth.ppf(U), rel=1e-4)


def test_moments_in_closed_form_are_those_of_the_words():
    words = np.random.default_rng(1).integers(-(2**31), 2**31, 2_000_000).astype(np.int32)
    for distribution in (lognormal(0.5), gamma(1.0), exponential(0.2)):
        table = table_of(distribution)
        drawn = table.lookup(words)
        assert drawn.mean() == pytest.approx(1, abs=4 * distribution.sd / np.sqrt(words.size))
        error = np.sqrt(((drawn - 1) ** 2).var() / words.size) / (2 * distribution.sd)
        assert drawn.std() == pytest.approx(table.sd, abs=4 * error)


@pytest.mark.parametrize(
    ("distribution", "skewness"),
    [
        (lognormal(0.0), 0.0),
        (lognormal(0.3), 3 * 0.3 + 0.3**3),
        (lognormal(1.0), 4.0),
        (gamma(0.5), 2 * 0.5),
        (exponential(0.5), 2.0),
    ],
)
def test_skewness_is_that_of_the_distribution(distribution, skewness):
    table = table_of(distribution) if skewness else tables.CONSTANT
    assert table.skewness == pytest.approx(skewness, rel=1e-3)
    assert samples_table(np.array([1.0, 1.0, 4.0])).skewness == pytest.approx(2**-0.5)


def test_heavy_tail_needs_the_extreme_word(monkeypatch):
    """Negative control: without it, a Pareto table misses a third of the variance."""
    monkeypatch.setattr(tables, "_match", lambda values, cv: None)
    with pytest.raises(ValueError, match="can't be tabulated"):
        table_of(pareto(2.1))


def test_infinite_variance_keeps_the_mean():
    assert table_of(pareto(1.5)).mean == pytest.approx(1, rel=1e-4)


def test_normal_scores():
    table = normal_table()
    assert table.mean == pytest.approx(0, abs=1e-9)
    assert table.sd == pytest.approx(1, rel=1e-7)
    assert table.quantile(U) == pytest.approx(stats.norm.ppf(U), abs=1e-4)


@pytest.mark.parametrize("base_cv", [0.0, 0.02, 0.3])
@pytest.mark.parametrize(("probability", "factor"), [(0.02, 8.0), (0.3, 1.5), (0.001, 30.0)])
def test_spike_is_the_mixture(base_cv, probability, factor):
    """From a base that is constant, narrow (separate parts) or wide (they overlap)."""
    noise = {"distribution": "spike", "probability": probability, "factor": factor}
    if base_cv:
        noise["base"] = {"distribution": "lognormal", "cv": base_cv}
    table = latency(noise=noise).compile(2).verify_noise
    mean = 1 + probability * (factor - 1)
    square = (1 + base_cv**2) * (1 + probability * (factor**2 - 1))
    assert table.mean == pytest.approx(1, rel=1e-6)
    assert table.sd == pytest.approx(np.sqrt(square / mean**2 - 1), rel=1e-4)
    base = lognorm(base_cv) if base_cv else None
    for u in (0.001, 0.2, 0.5, 0.9, 0.97, 0.99, 0.9985):
        low, high = table.quantile(np.array([u]))[0] * mean * np.array([1 - 1e-4, 1 + 1e-4])

        def below(x):
            fast, slow = (base.cdf(y) if base else y >= 1 for y in (x, x / factor))
            return (1 - probability) * fast + probability * slow

        assert below(low) - 1e-6 <= u <= below(high) + 1e-6


def test_samples_are_resampled_exactly():
    table = samples_table(np.array([3.0, 1.0, 2.0, 6.0]))
    u = np.array([0.01, 0.24, 0.26, 0.51, 0.74, 0.76, 0.99])
    assert (table.quantile(u) * 3).tolist() == [1, 1, 2, 3, 3, 6, 6]
    assert (table.mean, table.sd * 3) == pytest.approx((1, np.std([3, 1, 2, 6])))


def latency(**changes):
    return Latency.model_validate({"target": 76, "verify": [90, 104], "draft": [8, 14], **changes})


def test_times_by_depth():
    compiled = latency().compile(2)
    assert compiled.round_time.tolist() == [76, 98, 118]
    line = latency(verify={"base": 80, "per_token": 5}, draft=3).compile(3)
    assert line.verify.tolist() == [76, 85, 90, 95]
    assert line.draft.tolist() == [0, 3, 3, 3]
    own = latency(draft={"distribution": "gamma", "mean": [1, 2], "cv": 0.3}).compile(2)
    assert own.draft.tolist() == [0, 1, 2]
    assert own.draft_noise.sd == pytest.approx(0.3, rel=1e-4)
    assert own.verify_noise.kind == "constant"


def test_samples_have_their_own_mean(tmp_path):
    path = tmp_path / "step.csv"
    path.write_text("step,ms\n1,70\n2,80\n3,90\n")
    given = {"target": {"samples": "step.csv", "column": "ms"}, "verify": 90, "draft": 1}
    model = Latency.model_validate(given, context={"folder": tmp_path})
    assert model.compile(1).target == pytest.approx(80)


@pytest.mark.parametrize("correlation", [-0.9, 0.0, 0.8])
def test_simulated_round_times_have_the_stated_correlation(correlation):
    noise = {"distribution": "lognormal", "cv": 0.2}
    times = {"verify": {**noise, "mean": [90, 104]}, "draft": {**noise, "mean": [50, 60]}}
    model = latency(**times, correlation=correlation)
    chain = Independent(model="independent", rates=[0.8, 0.7]).chain()
    plan = compile_plan(chain, model.compile(2), seed=1, rounds=200)
    _, times = sample_rounds(chain, plan, 2)
    assert times.mean() == pytest.approx(164, rel=2e-3)
    sigma2 = np.log1p(0.04)
    product = np.expm1(correlation * sigma2)  # covariance of two lognormals of mean 1
    variance = 0.04 * (104**2 + 60**2) + 2 * 104 * 60 * product
    assert times.std() == pytest.approx(np.sqrt(variance), rel=2e-2)


GAMMA = {"distribution": "gamma", "cv": 0.2}
WRONG = [
    ({"target": 0}, "0 ms is given; it must be positive"),
    ({"verify": [90, -1]}, "greater than or equal to 0"),
    ({"target": [1, 2]}, "must be one number"),
    ({"noise": {"distribution": "pareto", "alpha": 1}}, "mean is infinite"),
    ({"noise": {"distribution": "cauchy"}}, "allowed: constant, lognormal"),
    ({"noise": {"distribution": "lognormal", "cv": 0.1, "mean": 3}}, "a factor of mean 1"),
    ({"noise": {"distribution": "scipy", "name": "norm"}}, "can't be negative"),
    ({"noise": {"distribution": "scipy", "name": "lomax", "parameters": {"c": 0.9}}}, "infinite"),
    ({"noise": {"distribution": "scipy", "name": "gama"}}, "did you mean 'gamma'"),
    ({"noise": {"distribution": "scipy", "name": "gamma"}}, "also needs a"),
    ({"noise": {"distribution": "exponential", "cv": 0.2, "offset": 0.2}}, "and not both"),
    ({"draft": GAMMA}, "`mean` is missing"),
    ({"correlation": 0.5}, "both need their own"),
    ({"persistence": 0.5}, "needs noise"),
    ({"noise": GAMMA, "draft": {**GAMMA, "mean": 3}}, "draft also has noise of its own"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_invalid_latency_sections_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message.replace("(", r"\(")):
        latency(**changes)


def test_lists_must_have_the_depth():
    with pytest.raises(ValueError, match="2 times are given, but the acceptance model has"):
        latency().compile(3)


def test_infinite_variance_is_allowed_with_a_warning():
    (warning,) = latency(noise={"distribution": "pareto", "alpha": 1.8}).warnings()
    assert "infinite" in warning
    assert not latency(noise={"distribution": "pareto", "alpha": 2.2}).warnings()


COST = TypeAdapter(AnyLatency)


def times_of(depth, **keys):
    verify, draft = COST.validate_python(keys).times(depth)
    assert draft[0] == 0
    return verify, draft


def test_linear_is_the_published_fit_of_an_h100():
    # Llama-3.1-8B with EAGLE: verify 5.886 + 0.02101 B (K + 1) + 3.93e-5 kv, overhead 1.207
    verify, draft = times_of(
        3, model="linear", overhead=1.207, base=5.886, per_token=0.02101, per_cached=3.93e-5,
        cached=1000, draft=2.135, batch=16,
    )  # fmt: skip
    assert verify[3] == pytest.approx(1.207 + 5.886 + 0.02101 * 16 * 4 + 3.93e-5 * 16_000)
    assert verify[0] == pytest.approx(1.207 + 5.886 + 0.02101 * 16 + 3.93e-5 * 16_000)
    assert draft[1:].tolist() == [2.135] * 3


def test_roofline_is_flat_until_the_ridge_and_a_line_beyond():
    keys = {"model": "roofline", "overhead": 1, "floor": 10, "per_token": 0.5, "draft": 1}
    assert times_of(3, **keys, batch=5)[0].tolist() == [11, 11, 11, 11]
    assert times_of(3, **keys, batch=10)[0].tolist() == [11, 11, 16, 21]
    reading = times_of(1, **keys, batch=2, cached=100, per_cached=0.01)[0]
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
    assert times_of(2, **keys, batch=1)[0].tolist() == [10, 12, 14]
    assert times_of(2, **keys, batch=2)[0] == pytest.approx([12, 12 + 8 / 3, 14 + 16 / 3])
    assert times_of(2, **keys, batch=4)[0].tolist() == [16, 20, 30]


def test_drafting_may_cost_more_in_a_larger_batch():
    keys = {"base": 5, "per_token": 0, "draft": [1, 2], "draft_per_request": 0.1, "batch": 3}
    _, draft = times_of(2, model="linear", **keys)
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
        ({**MOE, "active": 3}, "3 of 2 experts"),
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


def test_one_number_is_described_as_the_time_of_every_depth():
    costs = {"model": "linear", "base": 10, "per_token": 0.1}
    texts = [
        TypeAdapter(AnyLatency).validate_python({**costs, "draft": draft}).describe()
        for draft in (1.9, [1.9])
    ]
    assert ["draft: 1.9 ms at every depth" in text for text in texts] == [True, False]
