"""Invalid acceptance models: file, line, key and message."""

import json

import pytest

from mtpsim.config.experiment import parse
from tests.support.examples import acceptance, latency, problem_of

TIMES = latency(20, 22, 1)


def refused(keys, folder=None, more=""):
    text = f"[acceptance]\n{keys}\n{TIMES}[simulation]\nrequests = 100\n{more}\n"
    return problem_of(text, file="bad.toml", **({"folder": folder} if folder else {}))


COPULA = 'model = "copula"\nrates = [0.8, 0.7, 0.6]\n'
REGIME = 'model = "regime"\nrates = [[0.9, 0.8], [0.5, 0.4]]\n'
PROBLEMS = [
    (REGIME + "sojourn = [20, 0.5]", "bad.toml:4: acceptance.sojourn[1]: 0.5 is given; it must be "
     "at least 1"),
    (REGIME + "sojourn = [20]", "sojourn: 1 entry given, but `rates` has 2 rows"),
    (REGIME + "step = [[0.5, 0.4], [0, 1]]", "acceptance.step: row 1 sums to 0.9, not to 1"),
    (REGIME + "step = [[1, 0]]", "step: must be 2 rows of 2, one per state"),
    (REGIME, "bad.toml:1: acceptance: give either `sojourn` or `step`"),
    (REGIME.replace(", 0.4", "") + "sojourn = [20, 20]", "rates: all rows must have the same "
     "length, at least 1; given [2, 1]"),
    (REGIME.replace(", [0.5, 0.4]", "") + "sojourn = [20]", "1 given; at least 2 required"),
    (COPULA + "correlation = -0.6", "bad.toml:4: acceptance.correlation: the matrix is not "
     "positive definite (least eigenvalue -0.2); a single number for 3 drafts must be above -0.5"),
    (COPULA + "correlation = 1", "acceptance.correlation: 1 is given; it must be between -1 and 1 "
     '(for the extremes use model = "bounds")'),
    (COPULA + "correlation = [[1, 0.9, 0.9], [0.9, 1, -0.9], [0.9, -0.9, 1]]", "is not positive "
     "definite (least eigenvalue -0.8)"),
    (COPULA + "correlation = [[1, 0.9], [0.9, 1]]", "must be 3 rows of 3, one per rate"),
    (COPULA + "correlation = [[1, 0.2, 0], [0.3, 1, 0], [0, 0, 1]]", "is not symmetric: 0.3 in row "
     "2, column 1, but 0.2 in row 1, column 2"),
    (COPULA + "correlation = [[1, 0, 0], [0, 2, 0], [0, 0, 1]]", "diagonal must be 1; row 2 has 2"),
    ('model = "bounds"\nrates = [0.8, 0.7]\naccept_length = 2.9', "bad.toml:4: "
     "acceptance.accept_length: no coupling of these rates gives 2.9; the bounds are 2.3 and 2.5"),
    ('model = "bounds"\nrates = [0.8, 0.7]', "give either `coupling` or `accept_length`"),
    ('model = "contagion"\nrates = [0.8]\ndrop = 0.5\nduration = 0.5', "bad.toml:5: "
     "acceptance.duration: 0.5 is given; it must be at least 1"),
    ('model = "difficulty"\nrates = [0.8]\nsd = 1\nlength = 0', "length: 0 is given; it must be "
     "above 0"),
    ('model = "histogram"\nrounds = [0, 0]', "acceptance.rounds: all counts are 0"),
    ('model = "tokens"\ndepth = 2\ntarget = [[0.5, 0.4], [0, 1]]\ndraft = [[0.5, 0.5], [0, 1]]',
     "bad.toml:4: acceptance.target: row 1 sums to 0.9, not to 1"),
    ('model = "tokens"\ndepth = 2\ntarget = [[0.5, 0.5], [0, 1]]\ndraft = [[1]]',
     "acceptance.draft: 1 given; at least 2 required"),
    ('model = "mixture"\nparts = [{ weight = 1, of = { model = "decai" } }, { weight = 1, of = '
     '{ model = "decay", first = 0.8, factor = 1, depth = 2 } }]', "unknown model 'decai'; "
     "allowed: independent, decay, histogram"),
    ('model = "mixture"\nparts = [{ weight = 1, of = { model = "decay", first = 0.8, factor = 1, '
     'depth = 3 } }, { weight = 1, of = { model = "decay", first = 0.8, factor = 1, depth = 2 } }]',
     "all parts must have the same depth; given [3, 2]"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "message"), PROBLEMS)
def test_model_problems(keys, message):
    assert message in refused(keys)


def test_number_out_of_range_is_reported_once():
    found = refused('model = "beta"\nmean = 1.0\nconcentration = 2\ndepth = 3')
    assert "acceptance.mean: 1.0 is given; it must be below 1" in found
    assert "brackets" not in found


def trace(tmp_path, text, keys="depth = 3", name="t.jsonl"):
    (tmp_path / name).write_text(text)
    return refused(f'model = "trace"\nfile = "{name}"\n{keys}', tmp_path)


GOOD = json.dumps({"accepted": [3, 0, 1], "drafted": [3, 3, 3]})
TRACES = [
    ('{"accepted": [1, 4]}', "t.jsonl:1: round 2 accepts 4 of 3 drafts"),
    (GOOD + '\n{"accepted": [4], "drafted": [3]}', "t.jsonl:2: 4 drafts are accepted of 3 drafted"),
    ('{"accepted": [1, 2', "t.jsonl: unknown log format: its JSON is truncated"),
    ('{"acepted": [1]}', "\"accepted\" is missing; did you mean '…'?"),
    ('{"accepted": [-1]}', "accepted is -1; a count can't be negative"),
    ('{"accepted": [true]}', "'accepted' has True; counts must be whole"),
    ('{"accepted": [1], "drafted": [3, 3]}', "'drafted' has 2 entries for 1 round"),
]


@pytest.mark.parametrize(("text", "message"), TRACES)
def test_malformed_traces(text, message, tmp_path):
    assert message in trace(tmp_path, text)


def test_traces_that_do_not_fit_their_keys(tmp_path):
    mixed = trace(tmp_path, '{"accepted": [1, 1], "drafted": [2, 3]}', keys="")
    assert "rounds of 2 to 3 drafts are recorded" in mixed
    deep = trace(tmp_path, GOOD, keys="depth = 5")
    assert "acceptance.depth: 5 is given, but the file has 3 drafts per round" in deep
    assert "t.jsonl: depth: the log does not state" in trace(tmp_path, '{"accepted": [1]}', keys="")
    empty = trace(tmp_path, "request,accepted\n", name="t.csv")
    assert "no entry has a round" in empty
    header = trace(tmp_path, "request,acepted\na,1\n", name="t.csv")
    assert "column 'accepted' is missing; did you mean '…'?" in header
    cell = trace(tmp_path, "request,accepted\na,1\na,x\n", name="t.csv")
    assert "t.csv:3: '…' is given for 'accepted'" in cell
    found = refused('model = "trace"\nfile = "tt.csv"', tmp_path)
    assert "No such file or directory; did you mean 't.csv'" in found


def test_recorded_length_requires_a_recording():
    found = refused('model = "independent"\nrates = [0.8]', more="as_recorded = true")
    assert found == (
        'bad.toml:10: simulation.as_recorded: requires recorded requests (model = "trace"), not '
        "'independent'"
    )


def test_a_concentration_that_quadrature_cannot_resolve():
    """Found by fuzzing: shape parameters that round to 0."""
    text = 'model = "beta"\nmean = 0.5\nconcentration = %s\ndepth = 2'
    assert "must be at least 2e-09" in refused(text % "1.4e-45")
    fine = acceptance("beta", mean=0.5, concentration=1e-6, depth=2) + TIMES
    chain = parse(fine).acceptance.chain()
    assert chain.start @ chain.accept[:, 0] == pytest.approx(0.5)
