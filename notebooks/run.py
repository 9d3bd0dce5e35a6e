"""Run the notebooks of this folder: ``python notebooks/run.py`` rewrites them with their outputs.

With ``--check`` nothing is written: it fails where a cell raises, where something appears on
stderr, or where the text of an output is not the one that stands in the file. Pictures need only be
there.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).resolve().parent
AT_ONCE = 2  # notebooks; a simulation within one takes all cores
TIMEOUT = 600  # seconds a cell
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def executed(path: Path) -> Any:
    """The notebook with fresh outputs, run beside the experiments but away from the repository.

    Raises:
        CellExecutionError: a cell raised.

    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, HERE.name)
        folder.mkdir()
        Path(name, "experiments").symlink_to(HERE.parent / "experiments")
        own = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
        env = {**os.environ, "PYTHONPATH": own, "IPYTHONDIR": str(Path(name, "ipython"))}
        NotebookClient(
            notebook,
            timeout=TIMEOUT,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,
            extra_arguments=["--log-level=ERROR"],  # it warns of TCP, which stays on this machine
            resources={"metadata": {"path": str(folder)}},
        ).execute(env=env)
    return normalised(notebook)


def normalised(notebook: Any) -> Any:
    """Leave out what differs from run to run, as versions and timings do."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        for output in cell.get("outputs", []):
            if "metadata" in output:
                output.metadata = nbformat.from_dict({})
    return notebook


def told(notebook: Any) -> list[str]:
    """What its outputs say, line by line; of a picture, that there is one."""
    lines = []
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            text = output.get("text", "") + data.get("text/plain", "")
            pictures = [kind for kind in data if kind.startswith("image/")]
            lines += [f"cell {number}: {line}" for line in [*text.splitlines(), *pictures]]
    return lines


def complaints(path: Path, fresh: Any) -> list[str]:
    """What is wrong with the outputs of a run, or with those that stand in the file."""
    loud = [
        f"cell {number} writes to stderr: {output.text.strip()}"
        for number, cell in enumerate(fresh.cells)
        for output in cell.get("outputs", [])
        if output.get("name") == "stderr"
    ]
    old = told(nbformat.read(path, as_version=4))
    return loud + list(difflib.unified_diff(old, told(fresh), "committed", "now", "", "", 0, ""))


def play(path: Path, check: bool) -> tuple[str, float, list[str]]:
    """Run one notebook, and write it unless it is only checked: its name, seconds, complaints."""
    began = time.monotonic()
    try:
        fresh = executed(path)
        wrong = complaints(path, fresh) if check else []
        if not check:
            nbformat.write(fresh, path)
    except CellExecutionError as error:
        wrong = [re.sub(r"\x1b\[[0-9;]*m", "", str(error))]
    return path.name, time.monotonic() - began, wrong


def main() -> int:
    """Run the named notebooks, by default all; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    parser.add_argument("notebook", nargs="*", type=Path, help="default: all of this folder")
    options = parser.parse_args()
    paths = options.notebook or sorted(HERE.glob("*.ipynb"), reverse=True)  # the long ones first
    failed = False
    with ProcessPoolExecutor(AT_ONCE) as pool:
        for name, seconds, wrong in pool.map(play, paths, [options.check] * len(paths)):
            print(f"{name:32} {seconds:6.1f} s  {'FAILS' if wrong else 'ok'}", flush=True)
            print(*(f"    {line}" for line in wrong), sep="\n", end="\n" if wrong else "")
            failed = failed or bool(wrong)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
