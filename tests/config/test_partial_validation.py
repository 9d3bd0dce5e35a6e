"""Problems are told at once; none is told that is only the shadow of another."""

from itertools import combinations

import pytest

from mtpsim.common.errors import InputError
from mtpsim.config.experiment import parse

GOOD = """\
title = "small"
[acceptance]
model = "independent"
rates = [0.8, 0.7]
[latency]
target = 76
verify = [90, 104]
draft = [8, 14]
[simulation]
rounds = 50
precision = 0.01
precision_of = "difference"
between = [1, 2]
[theory]
definition = "conditional"
measured_at = 2
[adaptive]
policies = [{ rule = "fixed", depth = 2 }, { rule = "fixed", name = "one", depth = 1 }]
[uncertainty]
inputs = { "acceptance.rates" = { se = 0.01 } }
[robust]
"latency.target" = [70, 80]
[sweep]
"latency.draft" = [[8, 14], [9, 15]]
"""
FAULTS = [
    ("title", "titel"),
    ("title", "nothing_like_a_key"),
    ('"independent"', '"indepedent"'),
    ("0.8, 0.7", "0.8, 1.7"),
    ("rates = [0.8", "ratez = [0.8"),
    ("target = 76", 'target = "76"'),
    ("target = 76", "target = 76\ntargett = 3"),
    ("verify = [90, 104]", "verify = [90]"),
    ("verify = [90, 104]", "verify = [90, -104]"),
    ("rounds = 50", "rounds = 0"),
    ("rounds = 50", "requests = 50"),
    ("rounds = 50", "rounds = 50\nzzz = 50"),
    ("rounds = 50", "rounds = 50\ntokens = 50"),
    ('"difference"', '"diference"'),
    ('"difference"', '"theory_error"'),
    ("between = [1, 2]", "between = [1, 3]"),
    ("between = [1, 2]", "betwen = [1, 2]"),
    ("measured_at = 2", "measured_at = 3"),
    ("measured_at = 2", "measured_at = 0"),
    ('"fixed", depth = 2', '"fixd", depth = 2'),
    ('"fixed", depth = 2', '"fixed", depth = 3'),
    ("se = 0.01", "se = -1"),
    ('"acceptance.rates" =', '"acceptance.ratez" ='),
    ('"latency.target" =', '"latency.targt" ='),
    ('"latency.draft" = [[8, 14]', '"latency.draft" = [[8, 14, 20]'),
    ('"latency.draft" =', '"latency.drft" ='),
]


def problems(*faults):
    text = GOOD
    for old, new in faults:
        text = text.replace(old, new, 1)
    with pytest.raises(InputError) as caught:
        parse(text)
    return {(p.key, p.message) for p in caught.value.problems}


@pytest.fixture(scope="module")
def alone():
    assert parse(GOOD)
    return {fault: problems(fault) for fault in FAULTS}


def line_of(fault):
    return GOOD[: GOOD.index(fault[0])].count("\n")


def test_two_faults_have_no_problem_that_neither_has_and_mostly_all(alone):
    pairs = [(a, b) for a, b in combinations(FAULTS, 2) if line_of(a) != line_of(b)]
    whole = 0
    for one, two in pairs:
        told, all_ = problems(one, two), alone[one] | alone[two]
        assert told <= all_, (one, two)
        whole += told == all_
    assert whole > 0.7 * len(pairs)


@pytest.mark.parametrize(
    "together",
    [
        # an unknown key, a value out of range, keys that exclude each other, lengths, depths
        (("title", "titel"), ("rounds = 50", "rounds = 50\ntokens = 50")),
        (("rounds = 50", "rounds = 0"), ("verify = [90, 104]", "verify = [90]")),
        (("rounds = 50", "rounds = 50\nzzz = 50"), ("measured_at = 2", "measured_at = 3")),
        (("measured_at = 2", "measured_at = 0"), ("between = [1, 2]", "between = [1, 3]")),
        (("target = 76", 'target = "76"'), ("between = [1, 2]", "between = [1, 3]")),
        (("0.8, 0.7", "0.8, 1.7"), ("rounds = 50", "rounds = 50\ntokens = 50")),
        # points of the sweep, beside what is wrong elsewhere
        (("rounds = 50", "rounds = 0"), ('"latency.draft" =', '"latency.drft" =')),
        (("measured_at = 2", "measured_at = 3"), ('"latency.draft" =', '"latency.drft" =')),
    ],
)
def test_problems_of_several_kinds_are_told_at_once(together, alone):
    everything = [alone[fault] if fault in alone else problems(fault) for fault in together]
    assert problems(*together) == set().union(*everything)


def test_what_may_be_there_for_the_lack_of_another_key_is_not_told():
    (told,) = problems(("between = [1, 2]", "betwen = [1, 2]"))  # not that it goes with another
    assert told[0] == "simulation.betwen"


def test_a_scenario_is_not_blamed_for_what_is_wrong_with_the_file():
    (told,) = problems(("measured_at = 2", "measured_at = 3"))
    assert told[0] == "theory.measured_at"


def test_every_policy_that_does_not_fit_is_told():
    (told,) = problems(('"fixed", depth = 2', '"fixed", depth = 3'), ("depth = 1 }", "depth = 4 }"))
    assert "(number 1)" in told[1]
    assert "(number 2)" in told[1]
