"""Ways to give the rates of independent rounds: rates, one number, or measured accept lengths."""

import pytest

from mtpsim.config.experiment import parse
from tests.support.examples import latency, problem_of

HEAD = '[acceptance]\nmodel = "independent"\n'
REST = "\n" + latency(20, 22, 1)


@pytest.mark.parametrize(
    ("keys", "rates"),
    [
        # 0.8; (2.35 - 1.8) / 0.8; (2.78 - 2.35) / 0.55
        ("accept_length = [1.8, 2.35, 2.78]", [0.8, 0.6875, 0.43 / 0.55]),
        # r + r^2 = (2.9 - 2.35) / 0.55 = 1: the golden ratio less 1, at positions 3 and 4
        (
            "accept_length = [1.8, 2.35, 2.9]\nmeasured_at = [1, 2, 4]",
            [0.8, 0.6875, 0.618034, 0.618034],
        ),
        ("accept_length = 2.75\nmeasured_at = 2\ndepth = 3", [0.5 * (8**0.5 - 1)] * 3),
        # A / D = 0.7 at depth 3 is 2.1 accepted drafts per round
        ('rate = 0.7\nrates_are = "pooled"\nmeasured_at = 3', [0.831967] * 3),
        ('rate = 0.7\nrates_are = "pooled"\nmeasured_at = 1\ndepth = 2', [0.7, 0.7]),
        ("accept_length = [1, 1]", [0, 0]),
        ("accept_length = [2, 3]", [1, 1]),
    ],
)
def test_rates_have_the_measured_accept_lengths(keys, rates):
    model = parse(HEAD + keys + REST).acceptance
    assert model.input_rates() == pytest.approx(rates, abs=1e-5)
    assert model.chain().accept[0] == pytest.approx(rates, abs=1e-5)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("accept_length = 2.78", "measured_at: is missing: the number of drafts per round"),
        ('rate = 0.8\nrates_are = "pooled"', "measured_at: is missing: the number of drafts per"),
        ('rates = [0.8, 0.7]\nrates_are = "pooled"', "a pooled rate is one number: give `rate`"),
        ("accept_length = [1.8, 2.7]", "3: acceptance.accept_length: 2.7 at depth 2 is given, but "
         "after 1.8 at depth 1 it must be from 1.8 to 2.6"),
        ("accept_length = [1.8, 1.7]", "it must be from 1.8 to 2.6"),
        ("accept_length = [2.1]", "after 1 without drafts it must be from 1 to 2"),
        ("accept_length = [1.8, 2]\nmeasured_at = [2, 1]", "4: acceptance.measured_at: must be 2 "
         "ascending depths, one per accept length"),
        ("accept_length = [1.8, 2]\nmeasured_at = 3", "measured_at: must be a list of depths"),
        ("accept_length = 2\nmeasured_at = [3]", "measured_at: must be one depth"),
        ("rates = [0.8]\nmeasured_at = 1", "measured_at: is for a pooled rate or for `accept_len"),
        ("accept_length = [1.8]\ndepth = 3", "acceptance.depth: is for one number"),
        ("rate = 0.8", "`rate` and `depth` must be given together"),
        ("rates = [0.8]\naccept_length = [1.8]", "give one of `rates` (a list), `rate`"),
    ],
)  # fmt: skip
def test_measured_values_that_no_rates_give(keys, message):
    assert message in problem_of(HEAD + keys + REST, file="bad.toml")
