"""Every acceptance model: its chain against simulations of the mechanism and closed forms."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq
from scipy.special import expit, ndtr

from mtpsim import acceptance as models
from mtpsim.acceptance.difficulty import rouwenhorst
from mtpsim.acceptance.orthant import ar1_orthants, equal_orthants, matrix_orthants
from mtpsim.exact.chain_solver import solve
from tests.support import mechanisms, naive
from tests.support.mechanisms import LIMIT, agrees, by_request

RATES = [0.8, 0.74, 0.67]
EQUAL = np.full((3, 3), 0.5) + 0.5 * np.eye(3)
AR1 = 0.6 ** np.abs(np.subtract.outer(range(3), range(3)))
FULL = np.array([[1, 0.7, -0.2], [0.7, 1, 0.1], [-0.2, 0.1, 1]])


@pytest.mark.parametrize(
    ("keys", "matrix"),
    [
        ({"correlation": 0.5}, EQUAL),
        ({"correlation": 0.6, "structure": "ar1"}, AR1),
        ({"correlation": FULL.tolist()}, FULL),
    ],
    ids=["equal", "ar1", "matrix"],
)
def test_copula_matches_joint_normal_scores(keys, matrix):
    chain = models.Copula(model="copula", rates=RATES, **keys).chain()
    counts = mechanisms.copula(np.random.default_rng(1), RATES, matrix, 400_000)
    assert agrees(counts, chain)
    assert not agrees(counts, models.Independent(model="independent", rates=RATES).chain())


def decaying(rho, size):
    return rho ** np.abs(np.subtract.outer(range(size), range(size))).astype(float)


@pytest.mark.parametrize("rho", [-0.9, -0.3, 0.0, 0.4, 0.95])
def test_orthants_of_two_and_three_match_closed_forms(rho):
    two = 0.25 + np.arcsin(rho) / (2 * np.pi)
    three = 0.125 + (2 * np.arcsin(rho) + np.arcsin(rho**2)) / (4 * np.pi)
    assert ar1_orthants(np.zeros(3), rho) == pytest.approx([0.5, two, three], abs=1e-9)
    found = matrix_orthants(np.zeros(3), decaying(rho, 3))
    assert found == pytest.approx([0.5, two, three], abs=1e-7)
    if rho >= 0:
        same = 0.125 + 3 * np.arcsin(rho) / (4 * np.pi)
        assert equal_orthants(np.zeros(3), rho) == pytest.approx([0.5, two, same], abs=1e-9)


@pytest.mark.parametrize(("size", "most"), [(4, 1e-7), (5, 1e-7), (8, 2e-4)])
@pytest.mark.parametrize("rho", [0.1, 0.5, 0.9])
def test_orthants_of_a_matrix_agree_with_quadrature(size, most, rho):
    limits = stats.norm.ppf(np.linspace(0.9, 0.6, size))
    equal, near = rho + (1 - rho) * np.eye(size), decaying(rho, size)
    assert matrix_orthants(limits, equal) == pytest.approx(equal_orthants(limits, rho), abs=most)
    assert matrix_orthants(limits, near) == pytest.approx(ar1_orthants(limits, rho), abs=most)


def test_orthants_of_special_cases():
    assert equal_orthants(np.zeros(8), 0.5) == pytest.approx(1 / np.arange(2, 10), abs=1e-9)
    certain = np.array([np.inf, 0.0, -np.inf, 1.0])
    for found in (equal_orthants(certain, 0.0), ar1_orthants(certain, 0.0)):
        assert found == pytest.approx([1, 0.5, 0, 0], abs=1e-9)
    assert matrix_orthants(certain, np.eye(4)) == pytest.approx([1, 0.5, 0, 0], abs=1e-6)


def test_bounds_match_extreme_couplings():
    rng = np.random.default_rng(2)
    for coupling in ("comonotone", "countermonotone"):
        play = getattr(mechanisms, coupling)
        chain = models.Bounds(model="bounds", rates=RATES, coupling=coupling).chain()
        assert agrees(play(rng, RATES, 200_000), chain)
    low, high = 1 - 0.2 + 1 - 0.46 + 1 - 0.79, 0.8 + 0.74 + 0.67
    middle = models.Bounds(model="bounds", rates=RATES, accept_length=2.9).chain()
    assert solve(middle, 3).accept_length == pytest.approx(2.9)
    for length in (1 + low, 1 + high):
        found = models.Bounds(model="bounds", rates=RATES, accept_length=length).chain()
        assert solve(found, 3).accept_length == pytest.approx(length)


def drifting(change, of=None, **keys):
    of = of or {"model": "independent", "rates": RATES}
    return models.Drift.model_validate({"model": "drift", "of": of, "change": change, **keys})


@pytest.mark.parametrize("segments", [2, 6])
def test_drift_matches_simulation(segments):
    rng, keys = np.random.default_rng(5), {"over": 40.0, "segments": segments}
    counts = [mechanisms.drift(rng, RATES, -1.5, tokens=90, **keys) for _ in range(4000)]
    rows = np.array([[len(c), *((np.array(c) >= j).sum() for j in (1, 3))] for c in counts])
    exact = solve(drifting(-1.5, **keys).chain(), 3, tokens=90)
    reach = exact.rounds * np.cumsum(exact.accepted[::-1])[::-1]
    error = rows.std(0) / np.sqrt(4000)
    assert (np.abs(rows.mean(0) - [exact.rounds, *reach[[1, 3]]]) < LIMIT * error).all()
    other = solve(drifting(-1.3, **keys).chain(), 3, tokens=90)  # negative control
    assert abs(rows[:, 0].mean() - other.rounds) > LIMIT * error[0]


def test_drift_of_nothing_is_the_model_and_keeps_its_states():
    of = {"model": "regime", "clock": "token", "rates": [[0.9, 0.8], [0.4, 0.0]], "sojourn": [9, 4]}
    inner = models.Regime.model_validate(of).chain()
    still, moving = (drifting(change, of, over=30, segments=3).chain() for change in (0, 2))
    for depth in range(3):
        one, other = (solve(chain, depth, tokens=70) for chain in (inner, still))
        assert other.rounds == pytest.approx(one.rounds, rel=1e-12)
    assert moving.accept[:2].tolist() == inner.accept.tolist()
    assert moving.accept[4:, 0] == pytest.approx(
        [9 * np.e**2 / (1 + 9 * np.e**2), 4 * np.e**2 / (6 + 4 * np.e**2)]
    )
    assert moving.accept[5, 1] == 0
    parts = [{"weight": w, "tokens": 30 * w, "of": of} for w in (1, 2)]
    workload = {"model": "mixture", "parts": parts}
    lengths = drifting(1, workload, over=9, segments=2).chain().lengths
    assert lengths.tolist() == [30, 30, 60, 60] * 2


def test_a_regime_starts_where_it_is_given():
    keys = {"model": "regime", "rates": [[0.9], [0.1]], "sojourn": [5, 15]}
    start = [models.Regime.model_validate({**keys, **more}).chain().start for more in (
        {}, {"start": "stationary"}, {"start": [0.0, 1.0]})]  # fmt: skip
    assert start[0] == pytest.approx([0.25, 0.75])
    assert (start[1] == start[0]).all()
    assert start[2].tolist() == [0, 1]
    for wrong, message in (([1.0], "1 entry given"), ([0.5, 0.6], "sums to 1.1, not to 1")):
        with pytest.raises(ValueError, match=message):
            models.Regime.model_validate({**keys, "start": wrong})


@pytest.mark.parametrize("clock", ["round", "token"])
def test_contagion_matches_simulation(clock):
    model = models.Contagion(model="contagion", rates=RATES, drop=0.5, duration=4, clock=clock)
    rng = np.random.default_rng(3)
    requests = [mechanisms.contagion(rng, RATES, 0.5, 4, 25, clock) for _ in range(3000)]
    assert by_request(requests, model.chain(), rounds=25).max() < LIMIT
    independent = models.Independent(model="independent", rates=RATES).chain()
    assert by_request(requests, independent, rounds=25).max() > 20  # negative control


@pytest.mark.parametrize("clock", ["round", "token"])
@pytest.mark.parametrize(("scale", "link"), [("probit", ndtr), ("logit", expit)])
def test_difficulty_matches_continuous_process(clock, scale, link):
    """The discretization error is below the sampling error."""
    sd, length, rates = 0.8, 6, [0.8, 0.6]
    keys = {"model": "difficulty", "rates": rates, "sd": sd, "scale": scale, "clock": clock}
    model = models.Difficulty(**keys, length=length)

    def off(b, rate):
        return stats.norm(0, sd).expect(lambda x: link(b - x)) - rate

    at = [brentq(off, -9, 9, args=(rate,)) for rate in rates]
    rng = np.random.default_rng(4)
    requests = [mechanisms.difficulty(rng, at, sd, length, 25, clock, link) for _ in range(1200)]
    assert by_request(requests, model.chain(), rounds=25).max() < LIMIT
    if clock == "token":
        still = models.Difficulty(**keys, length=1e-3)
        assert by_request(requests, still.chain(), rounds=25).max() > 6  # negative control


@pytest.mark.parametrize("states", [2, 5, 15])
def test_rouwenhorst_variance_and_correlation(states):
    step = rouwenhorst(states, 0.8)
    law = stats.binom.pmf(range(states), states - 1, 0.5)
    z = np.linspace(-1, 1, states) * np.sqrt(states - 1)
    assert step.sum(1) == pytest.approx(np.ones(states))
    assert law @ step == pytest.approx(law)
    assert law @ z**2 == pytest.approx(1)
    for lag in (1, 2, 7):
        assert law @ (z * (np.linalg.matrix_power(step, lag) @ z)) == pytest.approx(0.8**lag)


def test_difficulty_has_the_given_average_rates():
    for scale in ("probit", "logit"):
        keys = {"model": "difficulty", "rates": [1.0, 0.9, 0.3, 0.0], "sd": 2, "length": 5}
        chain = models.Difficulty(**keys, scale=scale, slowdown=1.2).chain()
        assert chain.start @ chain.accept == pytest.approx([1, 0.9, 0.3, 0], abs=1e-12)
        assert (np.diff(chain.accept[:, 1]) <= 0).all()  # harder further up
        assert np.log(chain.slowdown) @ chain.start == pytest.approx(0, abs=1e-12)
        assert (chain.start @ np.log(chain.slowdown) ** 2) ** 0.5 == pytest.approx(np.log(1.2))


TARGET = [[0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.5, 0.0, 0.5]]
DRAFT = [[0.5, 0.2, 0.3], [0.3, 0.3, 0.4], [0.2, 0.1, 0.7]]


def tokens(**keys):
    return models.Tokens(model="tokens", target=TARGET, draft=DRAFT, depth=3, **keys)


@pytest.mark.parametrize("keys", [{}, {"blur": [0.0, 0.2, 0.5]}], ids=["plain", "blurred"])
def test_tokens_match_speculative_sampling(keys):
    model, rng = tokens(**keys), np.random.default_rng(5)
    play, given = mechanisms.speculative_sampling, (np.array(TARGET), model.drafts(), 400)
    requests = [play(rng, *given) for _ in range(150)]
    scores = by_request([counts for _, counts in requests], model.chain())
    assert scores.max() < LIMIT
    pairs = np.zeros((3, 3))
    for text, _ in requests:
        np.add.at(pairs, (text[:-1], text[1:]), 1)
    seen = pairs.sum(1, keepdims=True)
    error = np.sqrt(np.maximum(np.array(TARGET) * (1 - np.array(TARGET)), 1e-12) / seen)
    assert (np.abs(pairs / seen - TARGET) < LIMIT * error + 1e-12).all()
    # negative controls: the draft's own text, and a draft equal to the target
    assert (np.abs(pairs / seen - DRAFT) > 20 * error).any()
    other = models.Tokens(model="tokens", target=TARGET, draft=TARGET, depth=3, **keys)
    assert by_request([counts for _, counts in requests], other.chain()).max() > 20


def test_draft_equal_to_target_is_always_accepted():
    model = models.Tokens(model="tokens", target=TARGET, draft=TARGET, depth=2)
    assert solve(model.chain(), 2).accept_length == pytest.approx(3)


def test_histogram_and_decay_rates():
    counts = [39, 1, 0, 3]
    chain = models.Histogram(model="histogram", rounds=counts).chain()
    assert solve(chain, 3).accepted * 43 == pytest.approx(counts)
    assert solve(chain, 3).accept_length == pytest.approx(1.2326, abs=1e-4)  # vLLM's own figure
    decay = models.Decay(model="decay", first=0.8, factor=0.5, depth=3).chain()
    assert decay.accept[0] == pytest.approx([0.8, 0.4, 0.2])


def mixture(parts):
    return models.Mixture.model_validate({"model": "mixture", "parts": parts})


EASY = {"model": "independent", "rates": [0.9, 0.9]}
HARD = {"model": "regime", "rates": [[0.6, 0.5], [0.2, 0.1]], "sojourn": [5, 5], "clock": "token"}
SHAKY = {"model": "contagion", "rates": [0.7, 0.7], "drop": 0.5, "duration": 3, "clock": "token"}


def test_mixture_combines_its_parts():
    model = mixture([{"weight": 3, "of": EASY}, {"weight": 1, "of": HARD, "slowdown": 2}])
    parts = [part.of.chain() for part in model.parts]
    whole = solve(model.chain(), 2, tokens=50)
    each = [solve(chain, 2, tokens=50) for chain in parts]
    assert whole.rounds == pytest.approx(0.75 * each[0].rounds + 0.25 * each[1].rounds)
    assert whole.slow_rounds == pytest.approx(0.75 * each[0].rounds + 0.5 * each[1].rounds)
    assert model.chain().requests_differ
    rng, rounds = np.random.default_rng(6), []
    mixed = mixture([{"weight": 1, "of": EASY}, {"weight": 1, "of": SHAKY}])
    chain = mixed.chain()
    for _ in range(3000):
        part = mixed.parts[rng.integers(2)].of.chain()
        rounds.append(naive.request(rng, part, 2, tokens=20)[2])
    error = np.std(rounds) / np.sqrt(len(rounds))
    assert abs(np.mean(rounds) - solve(chain, 2, tokens=20).rounds) < LIMIT * error


def test_beta_slowdown():
    for level in ("request", "round"):
        keys = {"model": "beta", "mean": 0.7, "concentration": 5, "depth": 2, "level": level}
        chain = models.Beta(**keys, slowdown=1.3).chain()
        rate = chain.accept[:, 0]
        sd = np.sqrt(0.7 * 0.3 / 6)
        assert chain.slowdown == pytest.approx(1.3 ** ((0.7 - rate) / sd))
        plain = solve(models.Beta(**keys).chain(), 2, rounds=9)
        assert solve(chain, 2, rounds=9).accepted == pytest.approx(plain.accepted)


@pytest.mark.parametrize(
    ("mean", "concentration"), [(0.7, 1), (0.99, 2000), (0.05, 5000), (0.7, 9999)]
)
def test_wide_and_narrow_beta_raise_no_warning(mean, concentration):
    """Of 1: the arcsine law at a mean of a half, whose quadrature divides 0 by 0."""
    chain = models.Beta(model="beta", mean=mean, concentration=concentration, depth=2).chain()
    assert chain.start @ chain.accept == pytest.approx([mean, mean], rel=1e-5)
