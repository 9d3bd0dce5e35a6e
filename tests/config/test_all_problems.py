"""All problems of a file are reported at once, without those that only follow from others."""

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
    ("precision = 0.01", "precision = 2"),
    ("0.8, 0.7]", "0.8, 0.7]\nrate = 0.5"),
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
TOGETHER = [
    # an unknown key, a value out of range, mutually exclusive keys, lengths, depths
    (("title", "titel"), ("rounds = 50", "rounds = 50\ntokens = 50")),
    (("rounds = 50", "rounds = 0"), ("verify = [90, 104]", "verify = [90]")),
    (("rounds = 50", "rounds = 50\nzzz = 50"), ("measured_at = 2", "measured_at = 3")),
    (("measured_at = 2", "measured_at = 0"), ("between = [1, 2]", "between = [1, 3]")),
    (("target = 76", 'target = "76"'), ("between = [1, 2]", "between = [1, 3]")),
    (("0.8, 0.7", "0.8, 1.7"), ("rounds = 50", "rounds = 50\ntokens = 50")),
    (("precision = 0.01", "precision = 2"), ("rounds = 50", "rounds = 50\ntokens = 50")),
    (("rates = [0.8", "ratez = [0.8"), ("rounds = 50", "rounds = 50\ntokens = 50")),
    # points of the sweep
    (("rounds = 50", "rounds = 0"), ('"latency.draft" =', '"latency.drft" =')),
    (("measured_at = 2", "measured_at = 3"), ('"latency.draft" =', '"latency.drft" =')),
]
ROBUST = ("measured_at = 2", "measured_at = 3")  # scenarios have this problem too
MISSPELT = ("between = [1, 2]", "betwen = [1, 2]")  # `precision_of` requires `between`


def problems(*faults):
    text = GOOD
    for old, new in faults:
        text = text.replace(old, new, 1)
    with pytest.raises(InputError) as caught:
        parse(text)
    return {(p.key, p.text) for p in caught.value.problems}


def line_of(fault):
    return GOOD[: GOOD.index(fault[0])].count("\n")


def test_problems_of_two_faults_are_those_of_each_fault():
    assert parse(GOOD)
    alone = {fault: problems(fault) for fault in FAULTS}
    pairs = [(a, b) for a, b in combinations(FAULTS, 2) if line_of(a) != line_of(b)]
    complete = 0
    for one, two in pairs:
        found, expected = problems(one, two), alone[one] | alone[two]
        assert found <= expected, (one, two)
        assert found == expected or {one, two} not in map(set, TOGETHER)
        complete += found == expected
    assert complete > 0.7 * len(pairs)
    assert {fault for pair in TOGETHER for fault in pair} <= set(FAULTS)


@pytest.mark.parametrize(
    ("fault", "key"), [(ROBUST, "theory.measured_at"), (MISSPELT, "simulation.betwen")]
)
def test_problems_that_follow_from_another_are_not_reported(fault, key):
    assert [found for found, _ in problems(fault)] == [key]


def test_every_policy_that_does_not_fit_is_reported():
    ((_, text),) = problems(
        ('"fixed", depth = 2', '"fixed", depth = 3'), ("depth = 1 }", "depth = 4 }")
    )
    assert "(number 1)" in text
    assert "(number 2)" in text
