"""Validation of experiment files: defaults, problems, schema, round trip."""

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mtpsim.common.errors import InputError
from mtpsim.config.experiment import load, parse, schema
from mtpsim.config.hashing import content_hash, to_toml

FILES = sorted(Path("experiments").glob("*.toml"))
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
requests = 100
"""


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
     "acceptance, latency, simulation, theory, decision, adaptive, uncertainty, robust, "
     "sweep; did you mean 'acceptance'?",
     "bad.toml: acceptance: is missing: which drafts are accepted"]),
    ("rates =", "rats =", ["bad.toml:4: acceptance.rats: unknown key; allowed: rates, rate, "
     "depth, model, rates_are, clock; did you mean 'rates'?"]),
    ('"independent"', '"indepndent"', ["bad.toml:3: acceptance.model: unknown model "
     "'indepndent'; allowed: independent, decay, histogram, bounds, copula, regime, difficulty, "
     "contagion, beta, tokens, mixture, trace; did you mean 'independent'?"]),
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
     "unknown value 'survivl'; allowed: conditional, survival, marginal; did you mean "
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
     "noise, persistence, model, target, verify, draft, correlation; did you mean 'noise'?"]),
    ("requests = 100", 'requests = 100\n[sweep]\n"latency.target" = [70, -1]', [
     "bad.toml:13: sweep (latency.target = -1): latency.target: -1 is given; it must be at least "
     "0"]),
    ("requests = 100", 'requests = 100\n[sweep]\n"latency.target" = []', [
     "bad.toml:14: sweep.latency.target: 0 given; at least 1 required"]),
    ("title =", "title", ["bad.toml:1: not valid TOML: Expected '=' after a key in a key/value "
     "pair"]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), CASES)
def test_problem_text(old, new, expected):
    assert sorted(problems(GOOD.replace(old, new, 1))) == sorted(expected)


def test_all_problems_are_reported_at_once():
    text = GOOD.replace("0.7]", "-3]").replace("76", '"x"').replace("requests", "reqests")
    found = problems(text)
    assert [line.split(": ")[1] for line in found] == [
        "acceptance.rates[1]",
        "latency.target",
        "simulation.reqests",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1.0\n2.x\n", "s.csv:2: not a number"),
        ("", "s.csv is empty; it needs at least one time"),
        ("1.0\n-2\n", "s.csv:2: a time must be positive and finite"),
        ("1.0\nnan\n", "s.csv:2: a time must be positive and finite"),
        ("step,ms\n1,2\n", "s.csv has 2 columns; say which one with `column` of its header"),
        (b"\xff\xfe1", "s.csv is not UTF-8 text (byte 0)"),
    ],
)
def test_sample_file_problems(tmp_path, content, message):
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "s.csv").write_bytes(data)
    text = GOOD.replace("draft = [8, 14]", 'draft = [8, 14]\nnoise = { samples = "s.csv" }')
    (found,) = problems(text, folder=tmp_path)
    assert found == f"bad.toml:10: latency.noise: {tmp_path}/{message}" or found.endswith(message)
    assert "bad.toml:10: latency.noise" in found


def test_unreadable_files(tmp_path):
    def message(path):
        with pytest.raises(InputError) as caught:
            load(path)
        return str(caught.value)

    (tmp_path / "empty.toml").write_text("")
    (tmp_path / "latin.toml").write_bytes(b"title = '\xe9'")
    assert message(tmp_path / "empty.toml").endswith(
        "empty.toml: is empty; [acceptance] and [latency] are required"
    )
    assert message(tmp_path / "latin.toml").endswith("is not UTF-8 text (byte 9 is 0xe9)")
    assert message(tmp_path).endswith(": Is a directory")
    assert message(tmp_path / "emty.toml").endswith(
        "No such file or directory; did you mean 'empty.toml'?"
    )
    (tmp_path / "emty.csv").write_text("")
    (tmp_path / "emty2.toml").mkdir()
    assert message(tmp_path / "emty").endswith("did you mean 'empty.toml'?")
    assert message(tmp_path / "nope.toml").endswith("No such file or directory")
    assert "null" in message("nul\0l.toml")


def test_overrides():
    experiment = parse(GOOD, overrides=["latency.target=80", "acceptance.rates=[0.5, 0.4]"])
    assert experiment.latency.target == 80
    assert experiment.acceptance.rates == [0.5, 0.4]
    assert "SECTION.KEY=VALUE" in problems(GOOD, overrides=["latency.target"])[0]
    assert "did you mean 'target'" in problems(GOOD, overrides=["latency.targt=3"])[0]


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
    beta = GOOD.replace("independent", "beta").replace("rates = [0.8, 0.7]", "mean = [0.8, 0.7]\n"
                                                       "concentration = 4")  # fmt: skip
    assert "requests differ" in parse(beta).warnings()[0]
    assert not parse(beta.replace("requests = 100", "requests = 100\ntokens = 64")).warnings()
    assert not parse(GOOD).warnings()


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
PATHS = st.sampled_from(
    [
        *("acceptance", "acceptance.model", "acceptance.rates", "acceptance.depth"),
        *("latency", "latency.target", "latency.verify", "latency.noise", "latency.noise.cv"),
        *("latency.noise.distribution", "simulation", "simulation.rounds", "simulation.precision"),
        *("sweep", "title", "extra"),
    ]
)


def problems_or_none(raw_or_text, read):
    """Nothing but an experiment or a list of problems; None, or the problems as text."""
    try:
        read(raw_or_text)
    except InputError as error:
        return str(error)
    return None


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(PATHS, JUNK, max_size=4))
def test_arbitrary_tables(changes):
    from mtpsim.config.experiment import validate
    from mtpsim.config.sweep import set_key

    raw = tomllib.loads(GOOD)
    for path, value in changes.items():
        set_key(raw, path.split("."), value)
    problems_found = problems_or_none(raw, validate)
    assert problems_found is None or (problems_found and "pydantic" not in problems_found)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_arbitrary_text(text):
    assert problems_or_none(text, parse) != ""
