"""All problems of a file are reported at once, without those that only follow from others."""

from itertools import combinations

import pytest

from mtpsim.common.errors import InputError
from mtpsim.config.experiment import parse
from tests.support.examples import TWO_DEEP, independent, section, simulation

GOOD = (
    'title = "small"\n'
    + independent(0.8, 0.7)
    + TWO_DEEP
    + simulation(rounds=50, precision=0.01, precision_of="difference", between=[1, 2])
    + section("theory", definition="conditional", measured_at=2)
    + '[adaptive]\npolicies = [{ rule = "fixed", depth = 2 }, { rule = "fixed", name = "one", '
    + 'depth = 1 }]\n[uncertainty]\ninputs = { "acceptance.rates" = { se = 0.01 } }\n'
    + section("robust", **{"latency.target": [70, 80]})
    + section("sweep", **{"latency.draft": [[8, 14], [9, 15]]})
)
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
# An unknown key, a value out of range, exclusive keys, lengths, depths; points of the sweep.
TOKENS = ("rounds = 50", "rounds = 50\ntokens = 50")
VERIFY = ("verify = [90, 104]", "verify = [90]")
ROUNDS, BETWEEN = ("rounds = 50", "rounds = 0"), ("between = [1, 2]", "between = [1, 3]")
DEEPER, DRAFT = ("measured_at = 2", "measured_at = 3"), ('"latency.draft" =', '"latency.drft" =')
TOGETHER = [
    (("title", "titel"), TOKENS),
    (ROUNDS, VERIFY),
    (("rounds = 50", "rounds = 50\nzzz = 50"), DEEPER),
    (("measured_at = 2", "measured_at = 0"), BETWEEN),
    (("target = 76", 'target = "76"'), BETWEEN),
    (("0.8, 0.7", "0.8, 1.7"), TOKENS),
    (("precision = 0.01", "precision = 2"), TOKENS),
    (("rates = [0.8", "ratez = [0.8"), TOKENS),
    (ROUNDS, DRAFT),
    (DEEPER, DRAFT),
]
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


def test_problems_that_follow_from_another_are_not_reported():
    for fault, key in ((DEEPER, "theory.measured_at"), (MISSPELT, "simulation.betwen")):
        assert [found for found, _ in problems(fault)] == [key]


def test_every_policy_that_does_not_fit_is_reported():
    deeper = ('"fixed", depth = 2', '"fixed", depth = 3'), ("depth = 1 }", "depth = 4 }")
    ((_, text),) = problems(*deeper)
    assert "(number 1)" in text
    assert "(number 2)" in text
