"""A result in a notebook and at a prompt; experiments from tables."""

import copy
import inspect
import typing

import html5lib
import pytest

import mtpsim
from mtpsim.config.experiment import as_experiment
from mtpsim.report.tables.result import break_even_table
from mtpsim.results.document import Result
from tests.support.report_example import document

TABLES = {
    "title": "<b>typed</b>",
    "acceptance": {"model": "independent", "rates": [0.8, 0.7]},
    "latency": {"target": 76, "verify": [90, 104], "draft": [8, 14]},
    "simulation": {"requests": 50, "rounds": 20},
}

EXAMPLE = """
acceptance = { model = "independent", rates = [0.8, 0.7] }
latency = { target = 76, verify = [90, 104], draft = [8, 14] }
simulation = { requests = 50, rounds = 20 }
"""


@pytest.fixture(scope="module")
def result():
    return mtpsim.run(TABLES)


def test_an_experiment_may_be_a_dict_or_a_path(result, tmp_path):
    before = copy.deepcopy(TABLES)
    text = "\n".join(
        ['title = "<b>typed</b>"']
        + [
            f"{section}.{key} = {value!r}"
            for section, keys in TABLES.items()
            if section != "title"
            for key, value in keys.items()
        ]
    )
    (tmp_path / "typed.toml").write_text(text)
    for source in (tmp_path / "typed.toml", str(tmp_path / "typed.toml"), mtpsim.parse(text)):
        assert mtpsim.run(source).points == result.points
    assert before == TABLES


def test_a_wrong_dict_gets_every_problem():
    wrong = {**TABLES, "latency": {"target": 76}, "acceptance": {"model": "independnt"}}
    with pytest.raises(mtpsim.InputError, match="did you mean 'independent'") as raised:
        mtpsim.run(wrong)
    assert len(raised.value.problems) > 1


def test_what_states_no_experiment_is_refused():
    with pytest.raises(mtpsim.InputError, match="5 is given; it must be an Experiment, a dict"):
        mtpsim.run(5)


def test_depths_are_read_by_number(result):
    assert result.depth(1).speedup.mean == result.points[0]["depths"][1]["speedup"]["mean"]
    for depth, point in ((3, 0), (-1, 0), (1, 1), (1, -1)):
        with pytest.raises(ValueError, match="were simulated"):
            result.depth(depth, point)


def test_figures_are_drawn_by_name(result):
    assert result.plot().axes
    assert result.plot("latency").axes
    with pytest.raises(ValueError, match=r"no figure 'latncy'; .*did you mean 'latency'"):
        result.plot("latncy")


def test_repr_is_one_short_line(result):
    assert repr(result) == "<mtpsim.Result '<b>typed</b>', 1 point, depth 2>"
    many = Result(document([*result.data.points, *result.data.points]))
    assert "2 points" in repr(many)
    assert len(repr(many)) < 100


def test_a_notebook_shows_advice_and_tables(result):
    shown = result._repr_html_()
    html5lib.HTMLParser(strict=True).parseFragment(shown)
    assert result.advice.partition(":")[0] in shown
    for row in break_even_table(result.data.points[0]).rows:
        assert row.cells[0] in shown
    assert "<b>typed" not in shown


def test_an_experiment_is_a_short_line_and_a_table_of_what_was_given():
    tables = {**TABLES, "sweep": {"latency.target": [70, 76]}}
    experiment = as_experiment(tables)
    assert repr(experiment) == (
        "<mtpsim.Experiment '<b>typed</b>', independent, depth 2, sweep of 2 points>"
    )
    shown = experiment._repr_html_()
    html5lib.HTMLParser(strict=True).parseFragment(shown)
    for text in ("latency.verify", "[90.0, 104.0]", "sweep.latency.target", "&lt;b&gt;typed"):
        assert text in shown
    assert "latency.persistence" not in shown  # as by default


def test_a_run_is_opened_by_its_directory_or_its_document(tmp_path, cli, no_pictures):
    (tmp_path / "my.toml").write_text(EXAMPLE)
    assert cli("run", tmp_path / "my.toml", "--out", tmp_path / "my").code == 0
    found = mtpsim.open(tmp_path / "my")
    assert found.depth(2).speedup.mean > 1
    assert found.plot("latency").axes
    assert mtpsim.open(str(tmp_path / "my" / "result.json")).points == found.points
    for name, message in (
        ("yours", "no such file"),
        ("my.toml", "not a result document"),
        ("", "not a run directory"),
    ):
        with pytest.raises(mtpsim.InputError, match=message):
            mtpsim.open(tmp_path / name)
    (tmp_path / "my" / "result.json").unlink()
    with pytest.raises(mtpsim.InputError, match="has no finished result"):
        mtpsim.open(tmp_path / "my")


def test_completion_offers_the_public_names():
    assert set(mtpsim.__all__) <= set(dir(mtpsim))
    assert not {"Any", "TYPE_CHECKING", "annotations"} & set(dir(mtpsim))


@pytest.mark.parametrize("name", mtpsim.__all__)
def test_type_hints_of_the_public_names_resolve(name):
    """Of functions, and of classes with their methods and properties."""
    found = getattr(mtpsim, name)
    parts = [found, *vars(found).copy().values()] if inspect.isclass(found) else [found]
    for part in parts:
        for attribute in ("fget", "func", "__func__"):
            part = getattr(part, attribute, None) or part
        ours = getattr(part, "__module__", "").startswith("mtpsim")
        if ours and (inspect.isclass(part) or inspect.isfunction(part)):
            typing.get_type_hints(part)
