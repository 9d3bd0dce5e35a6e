import numpy as np
import pytest

from mtpsim.acceptance import AcceptanceChain, Beta, Independent, Recording, Regime
from mtpsim.acceptance.base import stationary
from mtpsim.exact import chain_solver as exact
from mtpsim.exact.chain_solver import round_distribution, solve, speedups, visits
from mtpsim.formula import closed_form
from mtpsim.formula.closed_form import accept_length


def regime(clock, sojourn=(20, 10)):
    rates = [[0.90, 0.85, 0.80], [0.50, 0.40, 0.30]]
    return Regime(model="regime", clock=clock, rates=rates, sojourn=list(sojourn)).chain()


def test_stationary_distribution_of_closed_classes_depends_on_the_start():
    step = np.array([[1, 0, 0], [0, 1, 0], [0.25, 0.75, 0]])
    assert stationary(step, np.array([0, 0, 1.0])) == pytest.approx([0.25, 0.75, 0])
    assert stationary(step) == pytest.approx([(1 + 0.25) / 3, (1 + 0.75) / 3, 0])
    assert stationary(np.array([[0, 1.0], [1, 0]])) == pytest.approx([0.5, 0.5])  # periodic
    slow = np.array([[1 - 1e-7, 1e-7], [3e-7, 1 - 3e-7]])
    assert stationary(slow) == pytest.approx([0.75, 0.25], rel=1e-6)


@pytest.mark.parametrize("ticks", [0, 1, 2, 3, 7, 64, 100])
def test_visits_by_doubling_equal_the_plain_sum(ticks):
    rng = np.random.default_rng(1)
    step, start = rng.dirichlet(np.ones(4), 4), rng.dirichlet(np.ones(4))
    plain = sum((start @ np.linalg.matrix_power(step, t) for t in range(ticks)), np.zeros(4))
    assert visits(step, start, ticks) == pytest.approx(plain)


@pytest.mark.parametrize("clock", ["round", "token"])
def test_independent_is_the_closed_form_under_both_clocks(clock):
    model = Independent(model="independent", rates=[0.8, 0.74, 0.67], clock=clock)
    for k in range(4):
        solved = solve(model.chain(), k)
        assert solved.accept_length == pytest.approx(accept_length(np.array([0.8, 0.74, 0.67]))[k])
        assert solved.conditional == pytest.approx([0.8, 0.74, 0.67][:k])


def test_token_clock_moves_p1_with_depth_and_round_clock_does_not():
    token = [solve(regime("token"), k).conditional[0] for k in (1, 2, 3)]
    assert token[0] - token[1] > 0.01
    assert token[1] - token[2] > 0.004
    round_ = [solve(regime("round"), k).conditional[0] for k in (1, 2, 3)]
    assert round_ == pytest.approx([round_[0]] * 3)


def test_last_round_cut_as_computed_for_a_geometric_rate():
    """N / E[rounds] = mu N / (N + B): published -7.0 % at N = 16 ... for alpha .6, K 5."""
    chain = Independent(model="independent", rate=0.6, depth=5).chain()
    steady = solve(chain, 5).accept_length
    cuts = {16: -0.070, 64: -0.0185, 256: -0.0047, 1024: -0.0012}
    for tokens, cut in cuts.items():
        found = solve(chain, 5, tokens=tokens).accept_length
        assert found / steady - 1 == pytest.approx(cut, abs=6e-4)


# mean, concentration -> accept length by fixed rounds, by fixed tokens (K = 4, beta by request)
HORIZONS = [(0.75, 2, 3.414, 2.811), (0.75, 10, 3.159, 2.975), (0.75, 50, 3.075, 3.034)]


@pytest.mark.parametrize(("mean", "concentration", "by_rounds", "by_tokens"), HORIZONS)
def test_horizon_matters_if_requests_differ(mean, concentration, by_rounds, by_tokens):
    chain = Beta(model="beta", mean=mean, concentration=concentration, depth=4).chain()
    assert solve(chain, 4, rounds=100).accept_length == pytest.approx(by_rounds, abs=6e-4)
    long = solve(chain, 4, tokens=200_000).accept_length
    assert long == pytest.approx(by_tokens, abs=2e-3)


def test_beta_by_round_and_by_request_share_the_accept_length_of_fixed_rounds():
    keys = {"model": "beta", "mean": 0.7, "concentration": 5, "depth": 6}
    levels = [Beta(**keys, level=level).chain() for level in ("round", "request")]
    by_round, by_request = (solve(chain, 6, rounds=3) for chain in levels)
    assert by_round.accepted == pytest.approx(by_request.accepted)
    a, b = 3.5, 1.5
    rising = [(a + j) / (a + b + j) for j in range(6)]  # survivorship: conditionals rise
    assert by_round.conditional == pytest.approx(rising)


def test_slowdown_weighs_time_by_the_state_of_the_round():
    rates = [[0.9], [0.2]]
    slow = Regime(model="regime", rates=rates, sojourn=[4, 4], slowdown=[1, 3]).chain()
    assert solve(slow, 1).slow_rounds == pytest.approx(2)
    assert speedups(slow, np.array([10.0, 10.0])) == pytest.approx([1, 1.55])
    assert speedups(slow, np.array([10.0, 15.5])) == pytest.approx([1, 1])


def paths(chain, depth, state):
    """(accepted drafts, next round's start, probability) of a round from a state, path by path."""
    found = []

    def go(state, accepted, chance):
        last = accepted == depth
        good = 0.0 if last else chain.accept[state, accepted]
        for to in range(chain.states):
            if chain.clock == "token" and not last:
                go(to, accepted + 1, chance * good * chain.step[-1, state, to])
            ends = chain.step[-1 if last else 0, state, to]
            found.append((accepted, to, chance * (1 - good) * ends))
        if chain.clock == "round" and not last:
            go(state, accepted + 1, chance * good)

    go(state, 0, 1.0)
    return found


@pytest.mark.parametrize("clock", ["round", "token"])
@pytest.mark.parametrize("outcomes", [1, 2])
def test_round_probabilities_add_up_all_paths(clock, outcomes):
    rng = np.random.default_rng(outcomes)
    step = rng.dirichlet(np.ones(3), (outcomes, 3))
    chain = AcceptanceChain(step[0, 0], step, rng.random((3, 3)), clock, np.ones(3))
    for depth in range(4):
        joint = np.zeros((depth + 1, 3, 3))
        for state in range(3):
            for accepted, to, chance in paths(chain, depth, state):
                joint[accepted, state, to] += chance
        assert round_distribution(chain, depth) == pytest.approx(joint)


def test_shares_and_rates_where_a_draft_is_never_reached():
    chain = Independent(model="independent", rates=[0.5, 0.0, 0.7]).chain()
    solved = solve(chain, 3, rounds=4)
    assert solved.conditional.tolist() == [0.5, 0, 0]
    two = solve(regime("token"), 2, rounds=9)
    assert two.starts.sum() == pytest.approx(1)
    assert two.rounds == pytest.approx(9)


def test_a_recording_that_never_accepts_all_drafts():
    recorded = Recording(np.array([0, 1, 0], np.int32), np.array([0, 1, 3]), 3, "round")
    solved = solve(recorded, 3)
    assert solved.accepted == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert (solved.tokens, solved.rounds, solved.starts.tolist()) == (2, 1.5, [1])


def test_times_of_another_length_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        speedups(regime("round"), np.ones(3))


@pytest.mark.parametrize("tokens", [4, 6, 8, 16, 64, 1000])
def test_break_even_rates_in_requests_of_a_number_of_tokens(tokens):
    """At that rate both depths are equally fast; the closed form's rate is lower (the control)."""
    rates, times = np.array([0.8, 0.74, 0.67]), np.array([76.0, 98.0, 118.0, 139.0])
    needed = exact.break_even_rate(rates, times, tokens)
    on_paper = closed_form.break_even_rate(rates, times)

    def lengths(k, rate):
        one = np.ones(1)
        accept = np.append(rates[: k - 1], rate)[None, :]
        chain = AcceptanceChain(one, np.ones((1, 1, 1)), accept, "round", one)
        return [exact.solve(chain, d, tokens=tokens).accept_length for d in (k - 1, k)]

    def gain(k, rate):
        shallow, deep = lengths(k, rate)
        return deep / times[k] / (shallow / times[k - 1]) - 1

    for k in (1, 2, 3):
        if needed[k - 1] <= 1:
            assert gain(k, needed[k - 1]) == pytest.approx(0, abs=1e-9)
            assert abs(gain(k, on_paper[k - 1])) > 0.01 / tokens
        else:
            (shallow, most), (_, least) = lengths(k, 1.0), lengths(k, 0.0)
            wanted = shallow * times[k] / times[k - 1]
            assert least < most < wanted
            assert least + needed[k - 1] * (most - least) == pytest.approx(wanted)  # a line
    if tokens == 1000:
        assert needed == pytest.approx(on_paper, abs=0.003)


def test_break_even_rates_where_a_position_adds_no_token():
    times = np.array([76.0, 60.0, 118.0, 139.0])  # depth 1 is faster at once; 2 tokens need no more
    needed = exact.break_even_rate(np.array([0.8, 0.74, 0.67]), times, 2)
    assert needed.tolist() == [0, np.inf, np.inf]


@pytest.mark.parametrize("depth", [1, 4])
def test_many_token_chains_are_solved_at_once(depth):
    rng = np.random.default_rng(2)
    step, accept = rng.dirichlet(np.ones(3), (5, 3)), rng.random((5, 3, 4))
    found = exact.steady_accepted(step, accept, depth)
    for row, of_chain, rates in zip(found, step, accept, strict=True):
        chain = AcceptanceChain(stationary(of_chain), of_chain[None], rates, "token", np.ones(3))
        assert row == pytest.approx(solve(chain, depth).accepted, abs=1e-12)
