"""The examples that are installed with the package."""

from importlib import metadata
from pathlib import Path

import pytest

import mtpsim
from mtpsim.config import examples

SHIPPED = {path.stem for path in Path("experiments").glob("*.toml")}


def test_every_shipped_experiment_is_an_example_with_its_title():
    titles = examples.titles()
    assert set(titles) == SHIPPED
    assert next(iter(titles)) == "article"
    for name, title in titles.items():
        assert mtpsim.load(name).title == title


def test_a_file_of_that_name_comes_before_the_example(tmp_path, monkeypatch):
    text = examples.example("article").read_text().replace("target = 76", "target = 70")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "article").mkdir()  # a directory is no experiment
    assert mtpsim.load("article").latency.target == 76
    (tmp_path / "article").rmdir()
    (tmp_path / "article").write_text(text)
    assert mtpsim.load("article").latency.target == 70


@pytest.mark.parametrize("name", ["artcle", "", ".", "../experiments/article", "a" * 5000])
def test_other_names_are_no_examples(name):
    assert examples.example(name) is None


@pytest.mark.parametrize("name", ["article", "from_log", "replay"])
def test_a_copy_has_the_files_that_it_names(name, tmp_path):
    written = examples.copy_example(examples.example(name), tmp_path / "mine.toml")
    assert written[0] == tmp_path / "mine.toml"
    copy = mtpsim.load(tmp_path / "mine.toml")
    assert copy.model_dump() == mtpsim.load(name).model_dump() or name == "replay"
    copy.acceptance.chain()


def test_a_copy_replaces_nothing(tmp_path):
    (tmp_path / "mine.toml").write_text("mine")
    (tmp_path / examples.SCHEMA).write_text("{}")
    with pytest.raises(FileExistsError):
        examples.copy_example(examples.example("article"), tmp_path / "mine.toml")
    assert examples.copy_example(examples.example("article"), tmp_path / "other.toml") == [
        tmp_path / "other.toml"
    ]
    assert (tmp_path / "mine.toml").read_text() == "mine"
    assert (tmp_path / examples.SCHEMA).read_text() == "{}"


def test_an_installation_contains_the_examples():
    files = {str(path) for path in metadata.files("mtpsim") or ()}
    if "mtpsim/config/examples.py" not in files:
        pytest.skip("mtpsim is installed in editable mode")
    assert {f"mtpsim/examples/{name}.toml" for name in SHIPPED} <= files
    assert "mtpsim/examples/logs/chat.jsonl.zst" in files
