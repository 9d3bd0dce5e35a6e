"""Singular and plural in messages."""

import pytest

import mtpsim
from mtpsim.cli.main import main
from mtpsim.common.text import counted

TEXT = """
[acceptance]
model = "independent"
rates = [0.8]
[latency]
target = 76
verify = [90]
draft = [8]
[simulation]
rounds = 1
requests = 100
"""


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ((1, "round"), "1 round"),
        ((0, "round"), "0 rounds"),
        ((2000, "round"), "2,000 rounds"),
        ((1, "broken entry", "were"), "1 broken entry was"),
        ((2, "broken entry", "were"), "2 broken entries were"),
        ((1, "torn record", "lie"), "1 torn record lie"),
    ],
)
def test_counted(given, text):
    assert counted(*given) == text


def test_singular_in_the_report_of_a_log(tmp_path, capsys):
    log = tmp_path / "log.csv"
    log.write_text("request,accepted,drafted\na,1,1\n")
    assert main(["fit", str(log), "-o", str(tmp_path / "f.toml")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "1 request, 1 round of up to 1 draft; granularity: per round" in text


def test_singular_in_errors_and_plans(tmp_path, capsys):
    path = tmp_path / "e.toml"
    path.write_text(TEXT.replace("[0.8]", "[0.8, 0.7]"))
    assert main(["check", str(path)]) == 2
    assert "1 time is given, but the acceptance model" in capsys.readouterr().err
    path.write_text(TEXT)
    assert main(["plan", str(path), "--delta", "0.2"]) == 0
    assert "requests of 1 round:" in " ".join(capsys.readouterr().out.split())


def test_singular_in_a_page():
    from mtpsim.report.tables.diagnostics import length_sentence

    (point,) = mtpsim.run(mtpsim.parse(TEXT)).data.points
    assert "1 round long" in length_sentence(point)
