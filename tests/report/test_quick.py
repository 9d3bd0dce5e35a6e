"""The closed form's answer from a few numbers."""

import tomllib

import numpy as np
import pytest

import mtpsim

TIMES = {"target": 76, "verify": [90, 104, 117], "draft": [8, 14, 22]}
RATES = [0.8, 0.74, 0.67]


def test_the_article_in_three_lines():
    answer = mtpsim.quick(**TIMES, rates=RATES)
    np.testing.assert_allclose(answer.acceptance.lengths, [1, 1.8, 2.392, 2.78864])
    np.testing.assert_allclose(answer.speedup, [1, 1.3959, 1.5406, 1.5247], atol=5e-5)
    np.testing.assert_allclose(answer.gain, [0, 0.3959, 0.10365, -0.0103], atol=5e-5)
    np.testing.assert_allclose(answer.break_even_rate[2], 0.719, atol=5e-4)
    assert answer.depth == 2
    assert "Run depth 2: 1.541x" in str(answer)
    assert "break-even: p3 = 0.719 (yours: 0.67)" in str(answer)


def test_at_its_break_even_points_a_depth_is_as_fast_as_the_one_before():
    rates = mtpsim.quick(**TIMES, rates=RATES).break_even_rate
    at_rate = mtpsim.quick(**TIMES, rates=[*RATES[:2], rates[2]])
    assert at_rate.gain[3] == pytest.approx(0, abs=1e-12)
    longest = at_rate.break_even_round_time[2] - 22
    at_time = mtpsim.quick(**{**TIMES, "verify": [90, 104, longest]}, rates=[*RATES[:2], rates[2]])
    assert at_time.gain[3] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    "same",
    [
        {"survival": [0.8, 0.592, 0.39664]},
        {"accept_lengths": [1.8, 2.392, 2.78864]},
    ],
    ids=lambda same: next(iter(same)),
)
def test_the_same_acceptance_by_other_measures(same):
    expected = mtpsim.quick(**TIMES, rates=RATES)
    found = mtpsim.quick(**TIMES, **same)
    np.testing.assert_allclose(found.acceptance.rates, RATES)
    np.testing.assert_allclose(found.speedup, expected.speedup)


@pytest.mark.parametrize(
    ("target", "shown"), [(51.05, "19.6"), (49.85, "20.1"), (118, "8.47"), (0.076, "13,158")]
)
def test_speeds_have_three_digits_or_are_whole(target, shown):
    answer = mtpsim.quick(target=target, verify=[90], draft=[8], rates=[0.8])
    assert answer.table()[1].split()[5] == shown


def test_one_number_gives_the_constant_rate_behind_it():
    alpha = mtpsim.quick(**TIMES, alpha=0.75)
    accepted = 0.75 + 0.75**2 + 0.75**3
    for same in ({"accept_lengths": 1 + accepted}, {"pooled": accepted / 3}):
        np.testing.assert_allclose(mtpsim.quick(**TIMES, **same).speedup, alpha.speedup)
    measured = mtpsim.quick(**TIMES, pooled=(0.75 + 0.75**2) / 2, measured_at=2)
    np.testing.assert_allclose(measured.acceptance.rates, 0.75)
    assert "Assumed: the same rate 0.75 at every position, measured at depth 2." in str(measured)


def test_throughput_counts_every_request_of_the_batch():
    answer = mtpsim.quick(**TIMES, rates=RATES, batch=8)
    assert answer.tokens_per_second[0] == pytest.approx(8 * 1000 / 76)
    assert answer.tokens_per_second[2] == pytest.approx(8 * 1000 * 2.392 / 118)


def test_plain_decoding_wins_where_drafts_cost_too_much():
    answer = mtpsim.quick(target=76, verify=[90], draft=[60], rates=[0.8])
    assert answer.depth == 0
    assert "Turn MTP off: no depth is faster" in str(answer)


def test_the_experiment_to_go_on_with_gives_the_same_speedup():
    answer = mtpsim.quick(**TIMES, pooled=0.7)
    experiment = mtpsim.parse(answer.toml())
    assert experiment.latency.target == 76
    found = tomllib.loads(answer.toml())["acceptance"]["rates"]
    np.testing.assert_allclose(found, answer.acceptance.rates)


def test_accept_lengths_that_no_rates_give_are_answered_and_not_written():
    answer = mtpsim.quick(**TIMES, accept_lengths=[1.5, 2.2, 2.3])
    assert answer.depth == 2
    assert "no rate p2 gives that" in str(answer)
    with pytest.raises(mtpsim.InputError, match="accept_lengths"):
        answer.toml()


def test_falling_accept_lengths_are_named_and_not_written():
    answer = mtpsim.quick(**TIMES, accept_lengths=[1.8, 2.35, 2.2])
    assert "accept length falls at depth 3" in str(answer)
    with pytest.raises(mtpsim.InputError, match="falls at depth 3"):
        answer.toml()


def test_every_impossible_accept_length_is_named_and_nothing_recommended():
    text = str(mtpsim.quick(**TIMES, accept_lengths=[1.8, 2.7, 2.5]))
    assert "no rate p2 gives that" in text
    assert "accept length falls at depth 3: no rate p3 gives that" in text
    assert "No depth can be recommended" in text
    assert "Run depth" not in text
    assert "yours" not in text


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"pooled": 0.596}, "measured at depth 3. Which depth is fastest depends on it: better"),
        ({"accept_lengths": 2.788}, "Which depth is fastest depends on it: better give `rates`"),
        ({"alpha": 0.75}, "Assumed: the same rate 0.75 at every position.\n"),
        ({"rates": RATES, "draft": None}, "Assumed: drafts that take no time, which is an upper"),
        ({"rates": RATES, "verify": 90}, "Assumed: the same verify time, 90 ms, at every depth"),
        ({"rates": RATES, "draft": 8}, "Assumed: the same draft time, 8 ms, at every depth"),
    ],
)
def test_what_is_assumed_is_said(given, sentence):
    assert sentence in str(mtpsim.quick(**{**TIMES, **given}))
    assert "Assumed" not in str(mtpsim.quick(**TIMES, rates=RATES))


def test_depths_within_the_indifference_are_named():
    text = str(mtpsim.quick(**TIMES, rates=[0.8, 0.74, 0.75]))
    assert "Run depth 3: 1.551x the speed of plain decoding. Depth 2 is within 1 % of it." in text
    assert "within" not in str(mtpsim.quick(**TIMES, rates=RATES))  # 1.03 %


def test_numbers_may_be_texts_with_units():
    found = mtpsim.quick(**{**TIMES, "target": "0.076 s"}, rates=["80%", "74 %", 0.67])
    np.testing.assert_array_equal(found.speedup, mtpsim.quick(**TIMES, rates=RATES).speedup)
    assert mtpsim.quick(**TIMES, alpha="75%").acceptance.rates[0] == 0.75


def test_a_step_that_changes_nothing_is_not_called_slower():
    answer = mtpsim.quick(target=76, verify=[76], rates=[0])
    assert "Depth 1 is as fast as plain decoding" in str(answer)


@pytest.mark.parametrize(
    ("changed", "warning"),
    [
        ({"target": 0.076}, "given in seconds"),
        ({"verify": [90, 80, 95]}, "fall with depth"),
        ({"verify": [60, 80, 95]}, "less than a plain step"),
    ],
)
def test_unusual_times_are_warned_of(changed, warning):
    assert warning in str(mtpsim.quick(**{**TIMES, **changed}, rates=RATES))
    assert "Warning" not in str(mtpsim.quick(**TIMES, rates=RATES))


@pytest.mark.parametrize(
    ("changed", "key", "message"),
    [
        ({"rates": None}, "rates", "give exactly one of rates, survival, .* none is given"),
        ({"alpha": 0.5}, "rates", "rates and alpha are given"),
        (
            {"rates": [0.8, 1.2, 0.5]},
            r"rates\[1\]",
            "1.2 is given; .* .1.2 % is 0.012.",
        ),
        ({"rates": [0.8, float("nan"), 0.5]}, r"rates\[1\]", "nan is given"),
        ({"rates": [0.8, 0.7]}, "rates", "`rates`: 2, `verify`: 3, `draft`: 3"),
        ({"draft": [8, 14]}, "draft", "`rates`: 3, `verify`: 3, `draft`: 2"),
        ({"rates": ["80%", "x", "67%"]}, r"rates\[1\]", "'x' is given; it must be a number, '%'"),
        ({"target": None}, "target", "None is given; it must be a number, 'ms' or 's' or 'us'"),
        ({"rates": [0.8]}, "rates", "`alpha` .*length 2.95 at depth 3.*`pooled` .*length 3.4"),
        ({"verify": []}, "verify", "empty"),
        ({"target": 0}, "target", "must be above 0"),
        ({"verify": [90, 0, 100]}, "verify", "longer than 0 ms"),
        ({"measured_at": 2}, "measured_at", "a single accept length only"),
        ({"target": -1}, "target", "must lie between 0"),
        ({"batch": 0}, "batch", "between 1 and"),
        ({"rates": None, "survival": [0.5, 0.6, 0.1]}, "survival", "rates may: give `rates`"),
        ({"rates": None, "accept_lengths": [1.8, 3.5, 3]}, "accept_lengths", "between 1 and 3"),
        ({"rates": None, "accept_lengths": 4.5}, "accept_lengths", "between 1 and 4"),
    ],
)
def test_wrong_input_names_the_argument(changed, key, message):
    with pytest.raises(mtpsim.InputError, match=f"^{key}: .*{message}"):
        mtpsim.quick(**{**TIMES, "rates": RATES, **changed})


def test_doubts_stand_before_the_answer():
    lines = str(mtpsim.quick(**{**TIMES, "target": 0.076}, rates=RATES)).splitlines()
    assert lines[0] == "Warning: a plain step takes 0.076 ms; was it given in seconds?"
    assert lines[2] == ""
    falling = str(mtpsim.quick(**{**TIMES, "verify": [104, 90, 117]}, rates=RATES))
    assert falling.startswith("Warning: verify times fall with depth")
    assert "Warning" not in str(mtpsim.quick(**TIMES, rates=RATES))


def test_an_answer_is_one_line_at_a_prompt_and_a_block_in_a_notebook():
    answer = mtpsim.quick(**TIMES, rates=RATES)
    assert repr(answer) == "<mtpsim.QuickAnswer depth 2, 1.541x>"
    assert answer._repr_html_() == f"<pre>{answer}</pre>"
