"""Labelled tokens of logs, and token chains fitted to them."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from mtpsim.fit.labelled_tokens import LabelledTokens, label_tokens
from mtpsim.fit.token_chain import (
    TokenChain,
    _Evidence,
    _Form,
    best_fit,
    fit_chain,
    initial_chain,
    state_numbers,
)
from mtpsim.logs import Rounds
from tests.support.token_worlds import TRAINED, WORLDS, log_at, text_of


def world_tokens(name, depths=3, requests=150, seed=0):
    text = text_of(WORLDS[name], requests, np.random.default_rng(seed))
    return label_tokens(log_at(text, depths)[0])


def test_labels_say_what_each_round_tested():
    """Full and cut rounds, drafts that stop early, rounds without drafts, empty requests."""
    accepted, drafted = [2, 0, 3, 1, 0, 1], [3, 3, 3, 1, 0, 2]
    offsets = np.array([0, 3, 3, 6])
    tokens = label_tokens(Rounds(np.uint8(accepted), np.uint8(drafted), offsets))
    assert tokens.labels.tolist() == [1, 2, -3, -1, 1, 2, 3, 0, 1, 0, 0, 1, -2]
    assert tokens.offsets.tolist() == [0, 8, 8, 13]
    assert tokens.counts().tolist() == [[1, 4], [1, 2], [1, 1]]
    assert tokens.subset(np.array([2, 1])).labels.tolist() == [1, 0, 0, 1, -2]
    assert label_tokens(Rounds(*np.zeros((2, 0), np.uint8), np.zeros(1, int))).requests == 0


@pytest.mark.parametrize("shifts", ["fixed", "scaled", "free"])
def test_gradients_are_those_of_the_likelihood(shifts):
    """Against central differences of the penalized log-likelihood."""
    tokens = world_tokens("chain", np.where(np.arange(40) % 2, 1, 4), 40)
    initial, weights = initial_chain(3, tokens, 0), np.linspace(0, 2, 40)
    evidence, form = _Evidence(tokens, weights, 3), _Form(initial, shifts)
    x = form.vector(initial) + 0.1
    assert form.vector(form.chain(x))[-1] == pytest.approx(x[-1])
    gradient = form.gradient(evidence.gradient(form.chain(x))[1])
    for step, slope in zip(1e-5 * np.eye(x.size), gradient, strict=True):
        above, below = (evidence.gradient(form.chain(x + sign * step))[0] for sign in (1, -1))
        assert slope == pytest.approx((above - below) / 2e-5, rel=1e-5, abs=1e-4)


@pytest.mark.parametrize("shifts", ["scaled", "free"])
def test_one_state_is_logistic_regression(shifts):
    """Against a general optimizer; with these counts free shifts would rise."""
    counts = np.array([[300.0, 700.0], [250.0, 430.0], [120.0, 300.0]])  # rejected, accepted
    labels = np.repeat([-1, 1, -2, 2, -3, 3], counts.ravel().astype(int)).astype(np.int8)
    tokens = LabelledTokens(labels, np.array([0, labels.size]))
    found = fit_chain(tokens, initial_chain(1, tokens, 0), shifts=shifts).chain

    def loss(x):
        shift = x[1] * np.array(TRAINED[:3]) if shifts == "scaled" else [0, x[1], x[1] + x[2]]
        rate = expit(x[0] + shift)
        prior = 0.5 * np.log(expit(x[0]) * expit(-x[0]))
        return -(counts[:, 1] @ np.log(rate) + counts[:, 0] @ np.log(1 - rate) + prior)

    bounds = [(-5, 5), (0, 3), (0, 0)] if shifts == "scaled" else [(-5, 5), (-3, 0), (-3, 0)]
    best = minimize(loss, [0.5, 0.1 if shifts == "scaled" else -0.1, 0], bounds=bounds, tol=1e-12)
    assert found.level[0] == pytest.approx(best.x[0], abs=1e-3)
    expected = best.x[1] * np.array(TRAINED[:3])
    if shifts == "free":
        expected = [0, best.x[1], best.x[1] + best.x[2]]
        assert found.shift[1] == found.shift[2] < 0  # pooled: a rise is not possible
    assert found.shift == pytest.approx(expected, abs=1e-3)


def test_weights_are_copies_of_requests():
    tokens = world_tokens("chain", requests=30)
    chain, twice = initial_chain(2, tokens, 1), np.repeat(np.arange(15), 2)
    copied = fit_chain(tokens.subset(twice), chain, shifts="free", iterations=5)
    weights = np.where(np.arange(30) < 15, 2.0, 0.0)
    weighted = fit_chain(tokens, chain, shifts="free", weights=weights, iterations=5)
    assert weighted.chain.step == pytest.approx(copied.chain.step, rel=1e-9)
    assert weighted.chain.shift == pytest.approx(copied.chain.shift, rel=1e-9)


def test_a_chain_is_recovered_from_logs_of_two_depths():
    """Rates, stays and shifts of a world that is a chain, within 4 standard errors or so."""
    tokens = world_tokens("chain", np.where(np.arange(1500) % 2, 1, 4), 1500)
    chain = best_fit(tokens, 3, "free").chain
    assert chain.shift == pytest.approx(TRAINED[:4], abs=0.2)
    values, vectors = np.linalg.eig(chain.step.T)
    law = np.real(vectors[:, np.argmax(np.real(values))])
    stays = np.array(WORLDS["chain"].stays)
    mean = stays @ expit(np.array(WORLDS["chain"].logits)) / stays.sum()
    assert chain.accept(1)[:, 0] @ law / law.sum() == pytest.approx(mean, abs=0.02)
    assert isinstance(chain, TokenChain)
    assert chain.chain(4).clock == "token"


def test_the_number_of_states_is_found_by_held_out_requests():
    numbers = state_numbers(world_tokens("lookup"), "scaled", most=3)
    assert [one.states for one in numbers] == [1, 2, 3]
    assert numbers[0].behind > 3 * numbers[0].behind_se > 0
    assert not numbers[0].is_near_best
    same = state_numbers(world_tokens("lookup"), "scaled", most=3)
    assert [one.score for one in same] == [one.score for one in numbers]
