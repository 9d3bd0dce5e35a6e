"""What a run does once, however many points, checks and hashes ask for it."""

import json
import tomllib
from collections import Counter
from pathlib import Path

import pytest

import mtpsim
from mtpsim.acceptance.copula import Copula
from mtpsim.config import experiment
from mtpsim.runs import point_run
from tests.support.examples import TWO_DEEP, independent

COPULA = """
acceptance = { model = "copula", rates = [0.8, 0.7], correlation = 0.5 }
latency = { target = 50.0, verify = 60.0, draft = 5.0 }
simulation = { rounds = 5, requests = 100 }
sweep = { "acceptance.correlation" = [0.1, 0.3], "latency.draft" = [4.0, 5.0, 6.0] }
"""


def test_equal_acceptance_models_are_compiled_once(monkeypatch):
    compiled = Counter()
    orthants = Copula._orthants

    def counting(model):
        compiled[model.correlation] += 1
        return orthants(model)

    monkeypatch.setattr(Copula, "_orthants", counting)
    mtpsim.run(mtpsim.parse(COPULA))
    assert compiled == {0.5: 1, 0.1: 1, 0.3: 1}


def test_equal_texts_are_traced_once(monkeypatch):
    """The rounds of a sample of requests do not depend on their times."""
    traced = Counter()
    record = point_run.record_requests

    def counting(plan, *sample):
        traced[sample] += 1
        return record(plan, *sample)

    point_run._dependences.clear()
    monkeypatch.setattr(point_run, "record_requests", counting)
    points = mtpsim.run(mtpsim.parse(COPULA)).points
    assert traced == {(100, 5, 0): 2}
    found = [point["diagnostics"]["autocorrelation"]["mean"] for point in points]
    assert found[0] == found[1] == found[2] != found[3]


def test_texts_of_an_inner_axis_are_traced_once(monkeypatch):
    """Each comes back after all others: more of them than a small cache would keep."""
    rates = [[0.5 + n / 100, 0.4] for n in range(12)]
    text = independent(0.8, 0.7) + TWO_DEEP + "[simulation]\nrounds = 5\nrequests = 100\n"
    sweep = {"latency.draft": [[4.0, 6.0], [5.0, 7.0], [6.0, 8.0]], "acceptance.rates": rates}
    traced = Counter()
    counting = _counting(traced, "texts", point_run.record_requests)
    monkeypatch.setattr(point_run, "record_requests", counting)
    monkeypatch.setattr(point_run, "_dependences", {})
    mtpsim.run(tomllib.loads(text) | {"sweep": sweep})
    assert traced["texts"] == len(rates)


def test_points_of_a_sweep_are_validated_once(monkeypatch):
    validated = Counter()
    check = _counting(validated, "points", experiment.validate)
    monkeypatch.setattr(experiment, "validate", check)
    mtpsim.run(mtpsim.parse(COPULA))
    assert validated["points"] == 1 + 6
    swept = mtpsim.parse(COPULA)
    assert len(swept.model_copy(update={"sweep": None}).points()) == 1


def test_models_that_differ_in_one_key_are_compiled_separately():
    text = 'acceptance = { model = "independent", rates = [0.8, 0.7], rates_are = "KIND" }'
    one, other = (
        mtpsim.parse(
            text.replace("KIND", kind) + "\nlatency = { target = 5.0, verify = 6.0, draft = 1.0 }"
        )
        for kind in ("conditional", "survival")
    )
    assert (one.acceptance.chain().accept != other.acceptance.chain().accept).any()
    assert one.acceptance.chain() is one.acceptance.chain()


@pytest.mark.parametrize("changed", [False, True])
def test_a_trace_log_is_read_and_hashed_once_until_it_changes(changed, tmp_path, monkeypatch):
    log, read = tmp_path / "log.jsonl", Counter()
    lines = [json.dumps({"accepted": [n % 3], "drafted": [2]}) for n in range(40)]
    log.write_text("\n".join(lines) + "\n")
    text = 'acceptance = { model = "trace", file = "log.jsonl" }\n' + COPULA.partition("5 }\n")[2]
    text = text.replace('"acceptance.correlation" = [0.1, 0.3], ', "")
    monkeypatch.setattr("mtpsim.logs.read_logs", _counting(read, "log", mtpsim.read_logs))
    monkeypatch.setattr(Path, "read_bytes", _counting(read, "bytes", Path.read_bytes))
    first = mtpsim.run(mtpsim.parse(text, folder=tmp_path))
    if changed:
        log.write_text("\n".join(lines[:30]) + "\n")
    again = mtpsim.run(mtpsim.parse(text, folder=tmp_path))
    assert read == {"log": 1 + changed, "bytes": 1 + changed}
    hashes = [result.document["provenance"]["hash"] for result in (first, again)]
    assert (hashes[0] != hashes[1]) == changed


def _counting(counts, name, function):
    def counted(*arguments, **options):
        counts[name] += 1
        return function(*arguments, **options)

    return counted
