"""``mtpsim init``, and experiments by name or from standard input."""

import io
import sys
from pathlib import Path

import pytest

from mtpsim.cli.main import COMMANDS, EXAMPLES, _parser, main

ARTICLE = Path("experiments/article.toml").read_text()


def test_an_example_is_written_to_start_from(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    assert "next: edit article.toml, then mtpsim run article.toml" in capsys.readouterr().err
    assert Path("article.toml").read_text() == ARTICLE
    assert main(["check", "article.toml"]) == 0
    Path("article.toml").write_text("mine")
    assert main(["init"]) == 2
    assert "article.toml: -o: already exists" in capsys.readouterr().err
    assert Path("article.toml").read_text() == "mine"


def test_examples_are_listed(capsys):
    assert main(["init", "--list"]) == 0
    assert "article                    Production MTP head, depth 1-3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["init", "artcle"], "did you mean 'article'?"),
        (["init", "nosuch"], ", workload\n"),  # no suggestion
        (["init", "-o", "nowhere/a.toml"], "nowhere/a.toml: -o: No such file or directory"),
        (["check", "artcle"], "No such file or directory; did you mean 'article'?"),
        (["run", "article", "--sed", "3"], "mtpsim run: unrecognized arguments: --sed 3; did you"),
        (["plan", "article", "--powr=3"], "did you mean '--power'?\nusage: mtpsim plan"),
        (["run", "article", "spare"], "mtpsim run: unrecognized arguments: spare\n"),
        (["--sed"], "mtpsim: unrecognized arguments: --sed"),
    ],
)
def test_wrong_names_and_options_get_the_nearest(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_an_example_runs_by_its_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["check", "article"]) == 0
    found = capsys.readouterr()
    assert found.out.startswith("Production MTP head")
    assert "note: article is the installed example" in found.err


@pytest.mark.parametrize(
    ("given", "code"),
    [(ARTICLE.encode(), 0), (b"\xef\xbb\xbf" + ARTICLE.encode(), 0), (b"\xff", 2)],
)
def test_an_experiment_may_come_from_standard_input(given, code, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
    assert main(["check", "-"]) == code
    found = capsys.readouterr()
    assert found.out.startswith("Production MTP head") if not code else "UTF-8" in found.err


def test_every_command_shows_two_valid_examples():
    assert set(EXAMPLES) == set(COMMANDS)
    for command, examples in EXAMPLES.items():
        assert len(examples) == 2
        for arguments in examples:
            words = arguments.partition(">")[0].split()
            _parser().parse_args([command, *words])
