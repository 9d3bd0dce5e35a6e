"""The committed notebooks: complete, in order, and with numbers in the prose from their outputs.

``python notebooks/run.py --check`` runs them and compares the outputs.
"""

import importlib.util
import re
import signal
import subprocess
import time
from pathlib import Path

import nbformat
import pytest

from tests.support.children import python

FOLDER = Path("notebooks")
FILES = sorted(FOLDER.glob("*.ipynb"))
README = (FOLDER / "README.md").read_text()
MAX_BYTES = 600_000
NUMBER = re.compile(r"(?<![\w.,])\d[\d,]*(?:\.\d+)?(?![\w,]*\d)")


def read(path):
    return nbformat.read(path, as_version=4)


def prose(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code(notebook) for output in cell.outputs]


def evidence(notebook):
    """Source and printed output of the code cells."""
    found = outputs(notebook)
    printed = (o.get("text", "") + o.get("data", {}).get("text/plain", "") for o in found)
    return "\n".join([*(cell.source for cell in code(notebook)), *printed])


def opening(notebook, word):
    """The paragraph of the first cell that starts with a bold word."""
    (found,) = re.findall(rf"^\*\*{word}\.\*\* (.+)$", notebook.cells[0].source, re.M)
    return found


def unsupported(text, shown_text):
    """Numbers with a point or a percent sign that the shown text does not contain."""
    text = re.sub(r"`[^`]*`|\]\([^)]*\)|^    .*$", "", text, flags=re.M)
    shown = {number.replace(",", "") for number in NUMBER.findall(shown_text)}
    marked = re.findall(rf"({NUMBER.pattern})(\s*%|x\b)?", text)
    exact = [number.replace(",", "") for number, unit in marked if unit or "." in number]
    return [number for number in exact if number not in shown]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_outputs_are_committed_in_order_and_without_errors(path):
    notebook = read(path)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in code(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    kinds = {output.output_type for output in outputs(notebook)}
    assert "error" not in kinds
    assert "stderr" not in {output.get("name") for output in outputs(notebook)}
    assert any("image/png" in output.get("data", {}) for output in outputs(notebook))
    assert path.stat().st_size < MAX_BYTES


@pytest.mark.parametrize("path", FILES, ids=str)
def test_it_starts_with_a_question_and_ends_with_conclusions(path):
    notebook = read(path)
    assert re.match(r"# \d\. \w", notebook.cells[0].source)
    assert opening(notebook, "Question").endswith("?")
    assert opening(notebook, "Answer").endswith(".")
    last = notebook.cells[-1].source
    assert last.index("## What to take away") < last.index("## Where next")
    assert 10 <= len(notebook.cells) <= 30


@pytest.mark.parametrize("path", FILES, ids=str)
def test_it_contains_nothing_specific_to_a_machine(path):
    notebook = read(path)
    text = "\n".join([*prose(notebook), evidence(notebook)])
    assert not re.search(r"/(tmp|home|work|root|usr|Users)/", text)
    assert not re.search(r"[Ww]arning|\x1b\[", text)
    assert notebook.metadata == run_module().METADATA
    assert not any(cell.metadata for cell in notebook.cells)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_in_its_text_exist(path):
    notebook = read(path)
    for source in prose(notebook):
        for target in re.findall(r"\]\(([^)#]+)", source):
            assert (FOLDER / target).exists(), target
    for target in re.findall(r"\.\./[\w./-]+", "\n".join(cell.source for cell in code(notebook))):
        assert (FOLDER / target).exists(), target
    for name in re.findall(r"`(\w+\.toml)`", "\n".join(prose(notebook))):
        places = [Path("experiments", name), Path("experiments/logs", name)]
        assert any(p.exists() for p in places) or name in evidence(notebook), name


@pytest.mark.parametrize("path", FILES, ids=str)
def test_numbers_in_the_prose_are_in_the_outputs(path):
    notebook = read(path)
    for source in prose(notebook):
        assert unsupported(source, evidence(notebook)) == [], source


def test_an_unsupported_number_is_found():
    shown = "speedup 1.5406\nloss 3.2 and 2,000 requests, 12.50"
    assert unsupported("It is 1.5406 times, 3.2 % of 2,000, in 7 steps.", shown) == []
    assert unsupported("It is 1.54 times, or 32 %.", shown) == ["1.54", "32"]
    assert unsupported("It is 12.5 of them.", shown) == ["12.5"]  # as it is printed


def test_readme_lists_every_notebook_with_its_question_and_answer():
    listed = re.findall(r"^## \[.+\]\((\w+\.ipynb)\)$", README, re.M)
    assert listed == [path.name for path in FILES]
    flat = " ".join(README.split())
    for path in FILES:
        notebook = read(path)
        title = notebook.cells[0].source.splitlines()[0].removeprefix("# ")
        assert f"[{title}]({path.name})" in README
        assert f"*{opening(notebook, 'Question')}*" in flat
        assert opening(notebook, "Answer") in flat


def run_module():
    spec = importlib.util.spec_from_file_location("run_notebooks", FOLDER / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_check_finds_other_text_and_stderr_only(tmp_path):
    module, path = run_module(), tmp_path / "one.ipynb"
    cell = nbformat.v4.new_code_cell("print(1)")
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="1\n")]
    notebook = nbformat.v4.new_notebook(cells=[cell])
    nbformat.write(notebook, path)
    assert module.problems(path, notebook) == []
    cell.outputs[0].text = "2\n"
    assert module.problems(path, notebook)[-2:] == ["-cell 0: 1", "+cell 0: 2"]
    cell.outputs[0].text = "1\n"
    cell.outputs.append(nbformat.v4.new_output("stream", name="stderr", text="watch out\n"))
    assert "cell 0 writes to stderr: watch out" in module.problems(path, notebook)


def running(group, kernel):
    """States of the processes of a group and of a kernel, without those that have ended."""
    command = ["ps", "-A", "-o", "pgid=,pid=,stat="]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.split() for line in listed.stdout.splitlines()]
    wanted = [state for pgid, pid, state in rows if int(pgid) == group or int(pid) == kernel]
    return [state for state in wanted if state[0] != "Z"]


def wait_for(done, seconds=120):
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_sigterm_ends_the_workers_and_their_kernels(tmp_path):
    pid, notebook = tmp_path / "pid", tmp_path / "one.ipynb"
    code = f"import os, time\nopen({str(pid)!r}, 'w').write(f'{{os.getpid()}} ')\ntime.sleep(600)"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), notebook)
    with python(FOLDER / "run.py", "--check", notebook) as process:
        wait_for(lambda: pid.exists() and pid.read_text().endswith(" "))
        kernel = int(pid.read_text())
        assert len(running(process.pid, kernel)) > 2
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
        wait_for(lambda: not running(process.pid, kernel))
