"""Run the notebooks of this folder: ``python notebooks/run.py`` rewrites them with their outputs.

With ``--check`` nothing is written. The check fails if a cell raises, writes to stderr, or gives
another text output than the file has. Pictures only need to exist.
"""

import argparse
import difflib
import os
import re
import signal
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).resolve().parent
PARALLEL = 2  # notebooks; a simulation in one of them uses all cores
TIMEOUT = 600  # seconds per cell
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(path: Path) -> Any:
    """The notebook with new outputs, run in a temporary folder with a link to the experiments.

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
            extra_arguments=["--log-level=ERROR"],  # hides a warning about local TCP
            resources={"metadata": {"path": str(folder)}},
        ).execute(env=env)
    return normalise(notebook)


def normalise(notebook: Any) -> Any:
    """Remove metadata that differs from run to run, such as versions and timings."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        for output in cell.get("outputs", []):
            if "metadata" in output:
                output.metadata = nbformat.from_dict({})
    return notebook


def output_lines(notebook: Any) -> list[str]:
    """Text of the outputs, line by line; for a picture only its kind."""
    lines = []
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            pictures = [kind for kind in data if kind.startswith("image/")]
            text = output.get("text", "")
            text += "" if pictures else data.get("text/plain", "")  # of a picture it is the size
            lines += [f"cell {number}: {line}" for line in [*text.splitlines(), *pictures]]
    return lines


def problems(path: Path, new: Any) -> list[str]:
    """Output on stderr, and differences between new outputs and the file."""
    stderr = [
        f"cell {number} writes to stderr: {output.text.strip()}"
        for number, cell in enumerate(new.cells)
        for output in cell.get("outputs", [])
        if output.get("name") == "stderr"
    ]
    old = output_lines(nbformat.read(path, as_version=4))
    changes = difflib.unified_diff(old, output_lines(new), "committed", "now", "", "", 0, "")
    return stderr + list(changes)


def run(path: Path, check: bool) -> tuple[str, float, list[str]]:
    """Run one notebook and write or check it; returns name, seconds and problems."""
    start = time.monotonic()
    try:
        new = execute(path)
        found = problems(path, new) if check else []
        if not check:
            nbformat.write(new, path)
    except CellExecutionError as error:
        found = [re.sub(r"\x1b\[[0-9;]*m", "", str(error))]
    return path.name, time.monotonic() - start, found


def main() -> int:
    """Run the given notebooks, by default all; exit code 1 if there are problems."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare outputs, write nothing")
    parser.add_argument("notebook", nargs="*", type=Path, help="default: all in this folder")
    options = parser.parse_args()
    paths = options.notebook or sorted(HERE.glob("*.ipynb"), reverse=True)  # long ones first
    failed = False
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # workers inherit it
    with ProcessPoolExecutor(PARALLEL) as pool:
        try:
            for name, seconds, found in pool.map(run, paths, [options.check] * len(paths)):
                print(f"{name:32} {seconds:6.1f} s  {'FAILED' if found else 'ok'}", flush=True)
                print(*(f"    {line}" for line in found), sep="\n", end="\n" if found else "")
                failed = failed or bool(found)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in active_children():
                worker.terminate()  # nbclient stops the kernel of its notebook
            raise
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
