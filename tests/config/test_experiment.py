"""Validation of experiment files: defaults, problems, schema, round trip."""

import json
import tomllib
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mtpsim.common.errors import InputError
from mtpsim.config.experiment import load, parse, schema, validate
from mtpsim.config.hashing import content_hash, to_toml
from mtpsim.config.sweep import set_key
from tests.support.examples import TWO_DEEP, beta, independent, linear, section, simulation

FILES = sorted(Path("experiments").glob("*.toml"))
GOOD = (
    'title = "small"\n' + independent(0.8, 0.7) + "\n" + TWO_DEEP + "\n" + simulation(requests=100)
)


def problems(text, **options):
    with pytest.raises(InputError) as caught:
        parse(text, file="bad.toml", **options)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_shipped_experiments_match_schema_and_state_expectation(path):
    text = path.read_text()
    assert text.startswith("#:schema ./experiment.schema.json\n# ")
    assert "# Expect:" in text
    Draft202012Validator(schema()).validate(tomllib.loads(text))
    assert load(path).title


def test_committed_schema_is_current():
    assert json.loads(Path("experiments/experiment.schema.json").read_text()) == schema()


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_resolved_file_round_trips(path):
    experiment = load(path)
    again = parse(to_toml(experiment))
    assert to_toml(again) == to_toml(experiment)
    assert content_hash(again) == content_hash(experiment)


def test_defaults():
    experiment = parse(GOOD.replace("requests = 100", ""))
    simulation = experiment.simulation
    assert (simulation.rounds, simulation.tokens, simulation.seed) == (200, None, 1)
    assert (simulation.precision, simulation.requests) == (0.001, None)


CASES = [
    ("[acceptance]", "[aceptance]", ["bad.toml:2: aceptance: unknown key; allowed: title, "
     "acceptance, latency, draft, simulation, theory, decision, adaptive, serving, uncertainty, "
     "robust, sweep; did you mean 'acceptance'?",
     "bad.toml: acceptance: is missing: which drafts are accepted"]),
    ("rates =", "rats =", ["bad.toml:4: acceptance.rats: unknown key; allowed: rates, rate, "
     "depth, model, rates_are, accept_length, measured_at, clock; did you mean 'rates'?"]),
    ('"independent"', '"indepndent"', ["bad.toml:3: acceptance.model: unknown model "
     "'indepndent'; allowed: independent, decay, histogram, bounds, copula, regime, difficulty, "
     "contagion, beta, tokens, ranks, mixture, drift, trace; did you mean 'independent'?"]),
    ("target = 76", 'target = "fast"', ["bad.toml:7: latency.target: 'fast' is given; it must be "
     "a number"]),
    ("[0.8, 0.7]", "[0.8, 1.2]", ["bad.toml:4: acceptance.rates[1]: 1.2 is given; it must be at "
     "most 1"]),
    ("[0.8, 0.7]", "[nan, 0.7]", ["bad.toml:4: acceptance.rates[0]: nan is given; it must be a "
     "finite number"]),
    ("[0.8, 0.7]", "[true, 0.7]", ["bad.toml:4: acceptance.rates[0]: true is given; it must be a "
     "number"]),
    ("[0.8, 0.7]", "[0.8, 0.7, 0.6]", ["bad.toml:8: latency.verify: 2 times are given, but the "
     "acceptance model has depth 3: give 3, one per depth, or a single number for all depths",
     "bad.toml:9: latency.draft: 2 times are given, but the "
     "acceptance model has depth 3: give 3, one per depth, or a single number for all depths"]),
    ("rates = [0.8, 0.7]", 'rates = [0.8, 0.9]\nrates_are = "survival"', ["bad.toml:2: acceptance: "
     "survival rates can't increase: position 2 is 0.9 after 0.8; conditional rates may "
     '(rates_are = "conditional")']),
    ("[0.8, 0.7]", '[0.8, 0.7]\nrates_are = "survivl"', ["bad.toml:5: acceptance.rates_are: "
     "unknown value 'survivl'; allowed: conditional, survival, marginal, pooled; did you mean "
     "'survival'?"]),
    ("target = 76", "target = 0", ["bad.toml:7: latency.target: 0 ms is given; it must be "
     "positive"]),
    ("draft = [8, 14]", "draft = [8, -14]", ["bad.toml:9: latency.draft[1]: -14 is given; it must "
     "be at least 0"]),
    ("draft = [8, 14]", 'draft = [8, 14]\nnoise = { distribution = "pareto", alpha = 0.9 }', [
     "bad.toml:10: latency.noise.alpha: `alpha` is 0.9: at 1 and below the mean is infinite, so "
     "there is no long-run speedup to estimate; it must be above 1"]),
    ("draft = [8, 14]", 'draft = [8, 14]\nnoise = { distribution = "lognorml", cv = 0.1 }', [
     "bad.toml:10: latency.noise.distribution: unknown distribution 'lognorml'; allowed: "
     "constant, lognormal, gamma, exponential, pareto, spike, scipy; did you "
     "mean 'lognormal'?"]),
    ("draft = [8, 14]", 'draft = [8, 14]\nnoise = { distribution = "lognormal", cf = 0.1 }', [
     "bad.toml:10: latency.noise.cv: is missing: standard deviation over mean",
     "bad.toml:10: latency.noise.cf: unknown key; allowed: mean, distribution, cv; did you "
     "mean 'cv'?"]),
    ("draft = [8, 14]", 'draft = [8, 14]\nnoise = { samples = "none.csv" }', [
     "bad.toml:10: latency.noise.samples: can't read none.csv: No such file or directory"]),
    ("requests = 100", "requests = 100\nprecision = 0.1", ["bad.toml:13: simulation.precision: "
     "give only one of precision, requests"]),
    ("requests = 100", "seed = -1", ["bad.toml:12: simulation.seed: -1 is given; it must be at "
     "least 0"]),
    ("requests = 100", 'requests = 100\n[sweep]\n"latency.noize.cv" = [0.1]', [
     "bad.toml:13: sweep (latency.noize.cv = 0.1): latency.noize: unknown key; allowed: "
     "noise, persistence, overhead_off, model, target, verify, draft, correlation; did you mean "
     "'noise'?"]),
    ("requests = 100", 'requests = 100\n[sweep]\n"latency.target" = [70, -1]', [
     "bad.toml:13: sweep (latency.target = -1): latency.target: -1 is given; it must be at least "
     "0"]),
    ("requests = 100", 'requests = 100\n[sweep]\n"latency.target" = []', [
     "bad.toml:14: sweep.latency.target: 0 given; at least 1 required"]),
    ("rates = [0.8, 0.7]", "rate = [0.8, 0.7]", ["bad.toml:4: acceptance.rate: [0.8, 0.7] is "
     "given; it must be a number; did you mean 'rates'?"]),
    ("rates = [0.8, 0.7]", "rates = 0.8", ["bad.toml:4: acceptance.rates: 0.8 is given; it must be "
     "a list in brackets; did you mean 'rate'?"]),
    ("requests = 100", "confidence = 95", ["bad.toml:12: simulation.confidence: 95 is given; it "
     "must be below 1; 95 % is 0.95"]),
    ("[8, 14]", "[]", ["bad.toml:9: latency.draft: 0 given; at least 1 required"]),
    ("[90, 104]", "[76, 90, 104]", ["bad.toml:8: latency.verify: 3 times are given, but the "
     "acceptance model has depth 2: give 2, one per depth, or a single number for all depths; "
     "leave out depth 0, the plain step"]),
    ("[8, 14]", "[8,5, 14]", ["bad.toml:9: latency.draft: 3 times are given, but the "
     "acceptance model has depth 2: give 2, one per depth, or a single number for all depths; "
     "leave out depth 0, the plain step; 8,5 is two numbers, 8.5 is one"]),
    ("[0.8, 0.7]", "[0.8, 0,7]", ["bad.toml:4: acceptance.rates[2]: 7 is given; it must be at "
     "most 1; 0,7 is two numbers, 0.7 is one"]),
    ("76", '"76,5 ms"', ["bad.toml:7: latency.target: '76,5 ms' is given; it must be a number; "
     "write 76.5"]),
    ('"independent"', '"indepndent"\nratez = 1', ["bad.toml:3: acceptance.model: unknown model "
     "'indepndent'; allowed: independent, decay, histogram, bounds, copula, regime, difficulty, "
     "contagion, beta, tokens, ranks, mixture, drift, trace; did you mean 'independent'?",
     "bad.toml:4: acceptance.ratez: unknown key; allowed: rates, rate, depth, model, rates_are, "
     "accept_length, measured_at, clock; did you mean 'rate'?"]),
    ("[simulation]", '[adaptive]\npolicies = ["heuristik"]\n[simulation]', [
     "bad.toml:12: adaptive.policies[0].rule: unknown rule 'heuristik'; allowed: fixed, off, "
     "schedule, heuristic, heuristic_transient, ema, goodput, adaptive_k, threshold, specdecpp, "
     "controller, bandit, gate, window_lead, tiers, oracle, filter, clairvoyant, budget, "
     "oracle_budget; did you mean 'heuristic'?"]),
    ("[simulation]", '[[adaptive.policies]]\nrule = "window_lead"\nwindw = 3\n[simulation]', [
     "bad.toml:11: adaptive.policies[0].windw: unknown key; allowed: name, rule, depth, "
     "challenger, warm_up, window, lead, abort_after, deficit, wait, growth, longest; did you mean "
     "'window'?"]),
    ("title =", "title", ["bad.toml:1: not valid TOML: Expected '=' after a key in a key/value "
     "pair"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("76", "76,5", "76,5 is two numbers, 76.5 is one"),
        ("76", "76ms", "write 76"),
        ("[0.8, 0.7]", "[80%, 70%]", "write 0.8"),
        ("rates =", "rates \uff1d", "'\uff1d' (fullwidth equals sign) is '=' in TOML"),
        ("0.8,", "0.8\uff0c", "'\uff0c' (fullwidth comma) is ',' in TOML"),
        ("[latency]", "\u3010latency]", "(left black lenticular bracket) is '['"),
        ('"independent"', "\u201cindependent\u201d", "(left double quotation mark) is '\"'"),
        (GOOD, "---\nacceptance:\n  model: independent\n", "it looks like YAML"),
        (GOOD, "# mine\ntitle: small\n", "it looks like YAML"),
        (GOOD, '{"acceptance": {"model": 1}, "latency": 3}', "it looks like JSON"),
    ],
)
def test_what_is_not_toml_gets_a_hint(old, new, hint):
    assert old in GOOD
    (found,) = problems(GOOD.replace(old, new, 1))
    assert found.endswith(hint) or hint in found.partition("not valid TOML")[2]
    assert "; " not in problems(GOOD.replace("title =", "title"))[0]  # nothing to say


@pytest.mark.parametrize("text", ["title = \u201csmall\u201d", "title = 'a, 1,5 80% = \uff1d'"])
def test_only_what_is_outside_of_texts_and_comments_is_hinted_at(text):
    (found,) = problems(f"{text} # \uff0c 80%\nx == 3\n")
    assert ("quotation mark" in found) == ("\u201c" in text)
    assert "fullwidth" not in found
    assert "write" not in found


@pytest.mark.parametrize(("old", "new", "expected"), CASES)
def test_problem_text(old, new, expected):
    assert sorted(problems(GOOD.replace(old, new, 1))) == sorted(expected)


def test_all_problems_are_reported_at_once():
    text = GOOD.replace("0.7]", "-3]").replace("76", '"x"').replace("requests", "reqests")
    found = problems(text)
    keys = [line.split(": ")[1] for line in found]
    assert keys == ["acceptance.rates[1]", "latency.target", "simulation.reqests"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1.0\n2.x\n", "s.csv:2: not a number"),
        (b"", "s.csv is empty; it needs at least one time"),
        (b"1.0\n-2\n", "s.csv:2: a time must be positive and finite"),
        (b"1.0\nnan\n", "s.csv:2: a time must be positive and finite"),
        (b"step,ms\n1,2\n", "s.csv has 2 columns; say which one with `column` of its header"),
        (b"\xff\xfe1", "s.csv is not UTF-8 text (byte 0)"),
    ],
)
def test_sample_file_problems(tmp_path, content, message):
    (tmp_path / "s.csv").write_bytes(content)
    text = GOOD.replace("draft = [8, 14]", 'draft = [8, 14]\nnoise = { samples = "s.csv" }')
    (found,) = problems(text, folder=tmp_path)
    assert found.startswith("bad.toml:10: latency.noise")
    assert found.endswith(message)


def test_unreadable_files(tmp_path):
    def message(name):
        with pytest.raises(InputError) as caught:
            load(tmp_path / name)
        return str(caught.value)

    (tmp_path / "empty.toml").write_text("")
    (tmp_path / "latin.toml").write_bytes(b"title = '\xe9'")
    missing, nearest = "No such file or directory", "did you mean 'empty.toml'?"
    for name, end in {
        "empty.toml": "empty.toml: is empty; [acceptance] and [latency] are required",
        "latin.toml": "is not UTF-8 text (byte 9 is 0xe9)",
        "": ": Is a directory",
        "emty.toml": f"{missing}; {nearest}",
        "nope.toml": missing,
    }.items():
        assert message(name).endswith(end)
    (tmp_path / "emty.csv").write_text("")
    (tmp_path / "emty2.toml").mkdir()
    assert message("emty").endswith(nearest)
    assert "null" in message("nul\0l.toml")


def test_sweep_order():
    sweep = '[sweep]\n"latency.target" = [70, 80]\n"simulation.seed" = [1, 2, 3]\n'
    points = parse(GOOD + sweep).points()
    assert [tuple(point.set.values()) for point in points] == [
        (target, seed) for target in (70, 80) for seed in (1, 2, 3)
    ]
    assert points[-1].experiment.latency.target == 80
    assert points[-1].experiment.sweep is None
    (single,) = parse(GOOD).points()
    assert single.set == {}


def test_hash_depends_on_sample_contents_not_title(tmp_path):
    text = GOOD.replace("draft = [8, 14]", 'draft = [8, 14]\nnoise = { samples = "s.csv" }')
    hashes = []
    for content in ("1\n2\n", "1\n3\n"):
        (tmp_path / "s.csv").write_text(content)
        hashes.append(content_hash(parse(text, folder=tmp_path)))
    assert hashes[0] != hashes[1]
    assert content_hash(parse(GOOD)) == content_hash(parse(GOOD.replace("small", "big")))


def test_warning_on_differing_requests_with_rounds():
    differing = beta([0.8, 0.7], 4, None) + TWO_DEEP + simulation(requests=100)
    assert "requests differ" in parse(differing).warnings()[0]
    assert not parse(differing + "tokens = 64").warnings()
    assert not parse(GOOD).warnings()


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
PLACES = {
    "acceptance": ("model", "rates", "depth"),
    "latency": ("target", "verify", "noise", "noise.cv", "noise.distribution"),
    "simulation": ("rounds", "precision"),
}
KEYS = [f"{section}.{key}" for section, keys in PLACES.items() for key in keys]
PATHS = st.sampled_from([*PLACES, *KEYS, "sweep", "title", "extra"])


def refusal(given, read):
    """The problems of an input as text, or None; nothing but a list of problems may be raised."""
    try:
        read(given)
    except InputError as error:
        return str(error)
    return None


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(PATHS, JUNK, max_size=4))
def test_arbitrary_tables(changes):
    raw = tomllib.loads(GOOD)
    for path, value in changes.items():
        set_key(raw, path.split("."), value)
    found = refusal(raw, validate)
    assert found is None or (found and "pydantic" not in found)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_arbitrary_text(text):
    assert refusal(text, parse) != ""


WHOLE = (
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


def problems_of(*faults):
    text = WHOLE
    for old, new in faults:
        text = text.replace(old, new, 1)
    with pytest.raises(InputError) as caught:
        parse(text)
    return {(p.key, p.text) for p in caught.value.problems}


def line_of(fault):
    return WHOLE[: WHOLE.index(fault[0])].count("\n")


def test_problems_of_two_faults_are_those_of_each_fault():
    assert parse(WHOLE)
    alone = {fault: problems_of(fault) for fault in FAULTS}
    pairs = [(a, b) for a, b in combinations(FAULTS, 2) if line_of(a) != line_of(b)]
    complete = 0
    for one, two in pairs:
        found, expected = problems_of(one, two), alone[one] | alone[two]
        assert found <= expected, (one, two)
        assert found == expected or {one, two} not in map(set, TOGETHER)
        complete += found == expected
    assert complete > 0.7 * len(pairs)
    assert {fault for pair in TOGETHER for fault in pair} <= set(FAULTS)


def test_problems_that_follow_from_another_are_not_reported():
    for fault, key in ((DEEPER, "theory.measured_at"), (MISSPELT, "simulation.betwen")):
        assert [found for found, _ in problems_of(fault)] == [key]


def test_every_policy_that_does_not_fit_is_reported():
    deeper = ('"fixed", depth = 2', '"fixed", depth = 3'), ("depth = 1 }", "depth = 4 }")
    ((_, text),) = problems_of(*deeper)
    assert "(number 1)" in text
    assert "(number 2)" in text


@pytest.mark.parametrize("given", [[], ["uncertainty=none"], ["simulation.precision=none"]])
def test_none_removes_a_key_or_a_section(given):
    experiment = load("experiments/uncertain.toml", [*given, "robust=none"])
    assert (experiment.uncertainty is None) == (given == ["uncertainty=none"])
    assert experiment.robust is None
    assert (experiment.simulation.precision == 0.001) == (given == ["simulation.precision=none"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("uncertanty=none", "unknown key; .*did you mean 'uncertainty'"),
        ("simulation.prcision=none", "unknown key; .*did you mean 'precision'"),
        ("acceptance=none", "acceptance"),
    ],
)
def test_none_of_an_unknown_or_required_key_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        load("experiments/uncertain.toml", [given])


@pytest.mark.parametrize(("batch", "warned"), [(8, 1), (1, 0)])
def test_a_batch_of_random_lengths_is_warned_of(batch, warned):
    """Without a server, every request of a step proposes as many."""
    text = independent(0.7) + linear(10, 0.1, 1).rstrip() + f"\nbatch = {batch}\n"
    found = parse(f"{text}[simulation]\nrequests = 10\n[draft]\nlengths = [0.5, 0.5]\n").warnings()
    assert sum("simulate it with [serving]" in text for text in found) == warned
