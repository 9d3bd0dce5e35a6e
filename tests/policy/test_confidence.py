"""Laws of the draft's confidence: quantiles by hand, and policies against the naive simulator."""

import numpy as np
import pytest
from scipy.special import expit

import mtpsim
from mtpsim.engine.simulate import play_policies
from mtpsim.policy.confidence import Confidence, auc_tables, laws_by_outcome
from tests.support import naive_policies
from tests.support.examples import THREE_DEEP, problem_of, regime
from tests.support.policy_plans import engine_of, plan, two_states
from tests.support.random_chains import LIMIT

HISTOGRAMS = {"edges": [0.0, 0.5, 0.9, 1.0], "accepted": [1, 2, 7], "rejected": [6, 3, 1]}
NORMAL = {"mean": 1.0, "sd": 1.5, "shift": -0.3}
LAWS = {
    "histograms": {**HISTOGRAMS, "at_one": [0.25, 0.05]},
    "by position": {"positions": [HISTOGRAMS, NORMAL, {"at_one": [1.0, 1.0]}]},
    "own rate": {"own_rate": True},
    "by state": {"states": [{"mean": 3.0, "sd": 1.0, "at_one": [0.3, 0.0]}, NORMAL]},
}
RULES = [{"rule": "threshold", "theta": 0.8, "drop": True}, {"rule": "specdecpp", "limit": 0.5}]


def law(**keys):
    return Confidence.model_validate(keys)


def test_quantiles_of_histograms_and_of_a_mass_at_one_by_hand():
    rejected, accepted = law(**HISTOGRAMS, at_one=[0.5, 0.0]).tables()[:, 0, 0]

    def at(table, share):
        return table[round(share * (table.size - 1))]

    assert [at(accepted, share) for share in (0, 0.05, 0.125, 0.5, 1)] == pytest.approx(
        [0, 0.5, 0.8, 1, 1], abs=2e-3
    )
    assert [at(rejected, share) for share in (0.3, 0.6, 0.95)] == pytest.approx(
        [0.25, 0.5, 0.95], abs=2e-3
    )


def test_own_rate_is_certain_and_needs_a_model_of_states():
    rates = np.array([[0.9, 0.8], [0.5, 0.4]])  # by state and position
    tables = law(own_rate=True).tables(rates)
    assert (tables == rates.T[:, :, None]).all()
    assert law(own_rate=True).mismatch(2, 2, modelled=True) is None
    assert "recorded requests have no such" in law(own_rate=True).mismatch(2, 2, modelled=False)


def test_normal_law_is_calibrated_up_to_its_shift():
    found = law(**NORMAL)
    rejected, accepted = found.tables()[:, 0, 0]
    rate, edges = found.acceptance_rate(), np.array([0.3, 0.5, 0.7, 0.9])
    below = [np.searchsorted(table, edges) / table.size for table in (rejected, accepted)]
    good, bad = rate * np.diff(below[1]), (1 - rate) * np.diff(below[0])
    wanted = expit(np.log(edges / (1 - edges)) - 0.3)
    shares = good / (good + bad)
    assert (wanted[:-1] < shares).all()
    assert (shares < wanted[1:]).all()


@pytest.mark.parametrize("clock", ["round", "token"])
@pytest.mark.parametrize("name", LAWS)
def test_policies_agree_with_the_naive_simulator(name, clock):
    """With the laws of another engine they differ: negative control."""
    chain, options = two_states(clock), {"confidence": LAWS[name]}
    simulated = plan(chain, RULES, options=options, seed=11, rounds=25)
    totals, _ = play_policies(simulated, 0, 6_000)
    rng, environment = np.random.default_rng(12), simulated.policy_set.environment

    def apart(number, **changed):
        spec = simulated.policy_set.players[number].spec
        engine = engine_of(simulated, {**options, **changed})
        slow = naive_policies.simulate(rng, chain, spec, environment, engine, 300, rounds=25)
        error = np.sqrt(totals[number].var(0) / 6_000 + slow.var(0) / 300)
        return np.abs(totals[number].mean(0) - slow.mean(0)) / np.maximum(error, 1e-6)

    for number in range(len(RULES)):
        assert apart(number).max() < LIMIT
    assert apart(0, confidence={**NORMAL, "mean": -1.0}).max() > LIMIT


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("confidence = { mean = 1.0 }", "give `edges`, `accepted` and `rejected`, or `mean` and"),
        (
            "confidence = { edges = [0.0, 1.0], accepted = [1] }",
            "rejected: must be 1 number, not all 0",
        ),
        (
            "confidence = { mean = 1.0, sd = 1.0, positions = [] }\nauc = 0.9",
            "give only one of auc",
        ),
        (
            "confidence = { positions = [{ mean = 1.0, sd = 1.0 }] }",
            "adaptive.confidence: 1 positions are given, but the acceptance model has 3",
        ),
        (
            "confidence = { sd = 1.0, states = [{ mean = 1.0, sd = 1.0 }] }",
            "give only one of a law, `positions`, `states` and `own_rate`; given states, sd",
        ),
    ],
)
def test_errors(keys, message):
    text = regime([0.9] * 3, [0.5] * 3, sojourn=[9, 9]) + THREE_DEEP
    assert message in problem_of(f'{text}\n[adaptive]\npolicies = ["threshold"]\n{keys}\n')


def test_confidence_is_kept_in_the_result():
    text = regime([0.9] * 3, [0.5] * 3, sojourn=[9, 9]) + THREE_DEEP
    keys = "confidence = { mean = 1.0, sd = 1.0 }\n[simulation]\nrequests = 50\n"
    experiment = mtpsim.parse(f'{text}\n[adaptive]\npolicies = ["threshold"]\n{keys}')
    assert experiment.points()[0].experiment.adaptive.confidence.mean == 1.0


def test_an_empty_bin_of_a_histogram_holds_no_confidence():
    """Bins without drafts lie between the others, or at an end."""
    counts = [0, 3, 0, 0, 1, 0]
    edges = [0.0, 0.1, 0.2, 0.4, 0.7, 0.8, 1.0]
    _, accepted = law(edges=edges, accepted=counts, rejected=[1] * 6).tables()[:, 0, 0]
    found, _ = np.histogram(accepted, edges)
    assert found / accepted.size == pytest.approx(np.array(counts) / 4, abs=1e-3)


def test_an_auc_gives_a_calibrated_confidence_of_that_auc():
    rates = np.array([0.8, 0.35])
    tables = auc_tables(0.75, rates)[:, :, 0]
    for (rejected, accepted), rate in zip(tables.swapaxes(0, 1), rates, strict=True):
        above = np.searchsorted(rejected, accepted) / rejected.size
        assert above.mean() == pytest.approx(0.75, abs=1e-3)
        edges = np.quantile(np.concatenate([rejected, accepted]), np.linspace(0, 1, 6))
        yes, no = (np.histogram(x, edges)[0] / x.size for x in (accepted, rejected))
        share = rate * yes / (rate * yes + (1 - rate) * no)
        assert ((share > edges[:-1]) & (share < edges[1:])).all()


def test_laws_after_a_rejection_mix_both_outcomes():
    laws = laws_by_outcome(law(**HISTOGRAMS, at_one=[0.25, 0.0]).tables(), np.array([[0.6, 0.1]]))
    assert laws.shape[:3] == (3, 2, 1)
    rejected, accepted, after = laws[:, :, 0]
    for position, rate in enumerate([0.6, 0.1]):
        mixed = rate * accepted[position].mean() + (1 - rate) * rejected[position].mean()
        assert after[position].mean() == pytest.approx(mixed, abs=1e-3)
        assert (after[position] == 1).mean() == pytest.approx(0.25 * rate, abs=2e-3)
        assert (after[position] < 0.5).mean() == pytest.approx(
            rate * 0.75 * 0.1 + (1 - rate) * 0.6, abs=2e-3
        )
