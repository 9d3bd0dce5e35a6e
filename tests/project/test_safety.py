"""What SECURITY.md states: text of others stays text, and files of others stay where they are."""

import csv
import json
import os
import re
import tomllib
from html.parser import HTMLParser

import pytest

from mtpsim.cli.main import main
from tests.support.engine_logs import GOOD

NAMES = [
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "+1",
    "-1",
    "../../../../tmp/evil",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a\n[evil]\nb = 1",
    "[/red][bold]x",
    "\x1b]0;title\x07\x1b[31m",
    "\u202egnp.exe",
]
SECRET = "root:x:0:0:correct-horse"


def experiment(**more):
    """An experiment whose title and policies have the names above."""
    policies = [{"rule": "fixed", "depth": 1, "name": name[:40]} for name in NAMES]
    tables = {
        "title": " ".join(NAMES),
        "acceptance": {"model": "independent", "rates": [0.8, 0.7]},
        "latency": {"target": 76, "verify": [90, 104], "draft": [8, 14]},
        "simulation": {"rounds": 20, "requests": 100},
        "adaptive": {"policies": policies},
    }
    import tomli_w

    return tomli_w.dumps(tables | more)


class Elements(HTMLParser):
    """Elements of a page and their attributes."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self.handlers = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.handlers += [value for _, value in attrs if value and "javascript:" in value]
        self.scripts += [tag] * (tag in ("script", "iframe", "object"))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The run directory of the experiment, in a folder in which nothing else may appear."""
    folder = tmp_path_factory.mktemp("safety")
    (folder / "e.toml").write_text(experiment(), encoding="utf-8")
    assert main(["run", str(folder / "e.toml"), "--out", str(folder / "out"), "--quiet"]) == 0
    return folder


def test_no_name_is_a_path(done):
    assert sorted(os.listdir(done)) == ["e.toml", "out"]
    assert all(re.fullmatch(r"[\w.]+", name) for name in os.listdir(done / "out"))


def test_no_cell_of_the_table_is_a_formula(done):
    with (done / "out/result.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    texts = {cell for row in rows for cell in row.values() if not is_number(cell)}
    assert {f"'{name}" for name in NAMES[:4]} <= texts
    assert not [text for text in texts if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]


def is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_no_name_is_markup_of_the_page(done):
    page = (done / "out/report.html").read_text(encoding="utf-8")
    plain = done / "plain"
    names = experiment(title="", adaptive={"policies": [{"rule": "fixed", "depth": 1}]})
    (done / "plain.toml").write_text(names)
    assert main(["run", str(done / "plain.toml"), "--out", str(plain), "--quiet"]) == 0
    harmless = Elements((plain / "report.html").read_text(encoding="utf-8"))
    found = Elements(page)
    assert found.scripts == harmless.scripts
    assert found.handlers == harmless.handlers
    assert "<img src=x" not in page
    for path in (plain, done / "plain.toml"):
        if path.is_dir():
            for inner in path.iterdir():
                inner.unlink()
            path.rmdir()
        else:
            path.unlink()


def test_the_kept_experiment_has_the_names_as_text(done):
    kept = tomllib.loads((done / "out/experiment.toml").read_text(encoding="utf-8"))
    assert [policy["name"] for policy in kept["adaptive"]["policies"]] == [n[:40] for n in NAMES]


def test_no_file_name_becomes_a_key_of_a_fitted_experiment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = 'log\n[simulation]\nseed = 7\n[evil]\n"x" = 1 #.jsonl'
    (tmp_path / name).write_text("\n".join(json.dumps(GOOD) for _ in range(3)))
    assert main(["fit", name, "--target", "30", "--quiet", "-o", "fitted.toml"]) == 0
    assert "evil" not in tomllib.loads((tmp_path / "fitted.toml").read_text(encoding="utf-8"))


def test_messages_have_no_control_characters(tmp_path, capsys):
    path = tmp_path / "\x1b[31m\nerror: fake.toml"
    path.write_text("x = 1")
    assert main(["check", str(path)]) == 2
    errors = capsys.readouterr().err
    assert "\x1b" not in errors
    assert not [line for line in errors.splitlines() if line.startswith("error: fake")]


@pytest.mark.parametrize("command", [("show", "out"), ("check", "e.toml")])
def test_no_name_steers_a_terminal(command, done, capsys):
    verb, path = command
    assert main([verb, str(done / path)]) == 0
    shown = capsys.readouterr().out
    assert "gnp.exe" in shown
    assert not re.search("[\x1b\u202a-\u202e\u2066-\u2069]", shown)


NAMING = {
    "samples of noise": {"latency": {"target": 76, "verify": 90, "draft": 8, "noise": {}}},
    "a column of them": {"latency": {"target": 76, "verify": 90, "draft": 8, "noise": {}}},
    "samples of inputs": {"uncertainty": {}},
    "a trace": {"acceptance": {"model": "trace", "depth": 2}},
}


def naming(kind, path):
    """An experiment that names a file."""
    tables = json.loads(json.dumps(NAMING[kind]))
    if "latency" in tables:
        tables["latency"]["noise"] = {"samples": str(path)}
        if "column" in kind:
            tables["latency"]["noise"]["column"] = "ms"
    elif "uncertainty" in tables:
        tables["uncertainty"]["samples"] = str(path)
    else:
        tables["acceptance"]["file"] = str(path)
    return experiment(adaptive={"policies": [{"rule": "fixed", "depth": 1}]}, **tables)


@pytest.mark.parametrize("kind", NAMING)
@pytest.mark.parametrize(
    "content",
    [
        f"{SECRET}\n",
        f"1,2\n{SECRET},1\n",
        f"request,accepted\na,{SECRET}\n",
        f"request,accepted,{SECRET}\na,1\n",
        f"acepted,{SECRET}\n1\n",
        json.dumps({"accepted": [SECRET], "request": SECRET}),
        json.dumps({"accepted": {SECRET: 1}}),
        json.dumps({SECRET: [1], "accepted": SECRET}),
        f"{{{SECRET}",
        f'"{SECRET}',
        f"x{SECRET}," * 20_000,
    ],
    ids=range(11),
)
def test_what_is_in_a_named_file_is_not_repeated(kind, content, tmp_path, capsys):
    (tmp_path / "secret").write_text(content)
    (tmp_path / "e.toml").write_text(naming(kind, "secret"), encoding="utf-8")
    assert main(["check", str(tmp_path / "e.toml")]) == 2
    errors = capsys.readouterr().err
    assert "secret" in errors
    assert "correct-horse" not in errors


@pytest.mark.parametrize("kind", NAMING)
def test_what_never_ends_is_not_read(kind, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", tmp_path / "pipe", tmp_path):
        (tmp_path / "e.toml").write_text(naming(kind, path), encoding="utf-8")
        assert main(["check", str(tmp_path / "e.toml")]) == 2
        assert re.search(r"not a regular file|Is a directory", capsys.readouterr().err)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "e.toml").write_text(naming(kind, "large"), encoding="utf-8")
    assert main(["check", str(tmp_path / "e.toml")]) == 2


def test_links_in_a_run_directory_are_not_followed(tmp_path, capsys):
    (tmp_path / "e.toml").write_text(experiment(), encoding="utf-8")
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "out").mkdir()
    for name in ("tallies.jsonl", "under_way.json", ".lock", "experiment.toml.writing"):
        (tmp_path / "out" / name).symlink_to(tmp_path / "precious")
        command = ["run", str(tmp_path / "e.toml"), "--out", str(tmp_path / "out"), "--quiet"]
        assert main(command) == 2
        assert f"{name} is a symbolic link" in capsys.readouterr().err
        (tmp_path / "out" / name).unlink()
    assert (tmp_path / "precious").read_text() == "precious"
