"""Documents of long sweeps, with their points by column: the same numbers, in less space."""

import copy
import json

import pytest

import mtpsim
from mtpsim.cli.main import main
from mtpsim.report.columns import EACH, VALUES, by_column, by_point
from mtpsim.report.serialization import from_json, to_json
from mtpsim.runs.directory import INDENTED
from tests.support.examples import TWO_DEEP, independent
from tests.support.report_example import EXAMPLES, document, example_point

TARGETS = [40.0 + n for n in range(INDENTED + 10)]
SWEEP = f"""[simulation]
rounds = 10
requests = 200
[sweep]
"latency.target" = {TARGETS}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of more points than are written one by one."""
    folder = tmp_path_factory.mktemp("long")
    (folder / "e.toml").write_text(independent(0.9, 0.7) + TWO_DEEP + SWEEP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mtpsim.results.document.Result.save_report", lambda *_: [])
        assert main(["run", str(folder / "e.toml"), "--out", str(folder / "run"), "--quiet"]) == 0
    return folder


@pytest.mark.parametrize("name", EXAMPLES)
def test_documents_by_column_have_the_same_numbers(name):
    result = EXAMPLES[name]
    stored = json.loads(json.dumps(by_column(result)))
    assert json.dumps(to_json(from_json(by_point(stored)))) == json.dumps(to_json(result))


@pytest.mark.parametrize(
    "values",
    [
        *([0.0, -0.0, 0.0], [1.0, 1, True], [0.1, 0.1, 0.1], [None, 2.5, None], [1e300, 5e-324, 2]),
        *(["a", "b", "a"], ["", "", ""], [[], [], []], [[1], [], [1, 2]]),
        *([{}, {}, {}], [[1, 2.0], [2, 2.0], [3, 0]]),
        *([{"a": 1}, {"b": 1}, {}], [{"a": [None]}, {"a": ["x"]}, {"a": [None]}]),
        [{"a.b": [3, 1]}, {"a.b": [2, 1]}, {"a.b": [3, 1]}],
    ],
    ids=str,
)  # fmt: skip
def test_values_of_any_kind_read_back_to_the_bit(values):
    points = [example_point({"key": value, "other": 1.5}) for value in values]
    stored = json.loads(json.dumps(by_column(document(points))))
    assert repr([point["set"]["key"] for point in by_point(stored)["points"]]) == repr(values)


def test_a_long_sweep_is_written_by_column_and_read_as_any_other(folder, capsys):
    stored = json.loads((folder / "run/result.json").read_text())
    assert (stored["layout"], stored["count"]) == ("columns", len(TARGETS))
    assert stored["points"]["set"] == {"latency.target": {EACH: TARGETS}}
    assert stored["points"]["requests"] == 200
    result = mtpsim.open(folder / "run/result.json")
    assert result.document["points"] == mtpsim.run(folder / "e.toml").document["points"]
    assert main(["show", str(folder / "run"), "--json"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed)["points"] == result.document["points"]
    assert len((folder / "run/result.json").read_text()) < len(printed) / 2
    assert mtpsim.Result.of(json.loads(printed)).data == result.data  # as earlier versions wrote it


def damage_a_column(points):
    points["depths"][1]["speedup"]["mean"][EACH].pop()


def damage_a_place(points):
    points["depths"][0]["loss"] = {VALUES: [None], "at": [7] * len(TARGETS)}


@pytest.mark.parametrize("damage", [damage_a_column, damage_a_place, dict.clear])
def test_damaged_columns_are_refused(folder, damage):
    stored = json.loads((folder / "run/result.json").read_text())
    damaged = copy.deepcopy(stored)
    damage(damaged["points"])
    with pytest.raises(ValueError, match="checksum"):
        mtpsim.Result.of(damaged)
    del damaged["check"]
    with pytest.raises(ValueError, match="points"):
        mtpsim.Result.of(damaged)
    with pytest.raises(ValueError, match="count"):
        mtpsim.Result.of({**damaged, "count": 10**12})
