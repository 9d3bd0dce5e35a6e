"""Run every shipped experiment at reduced size, and compare two such sets of results.

    python tools/compare_results.py record FOLDER     # with the mtpsim of this checkout
    python tools/compare_results.py compare OLD NEW   # every number of every point, to the last bit

A change that is meant to move code and not numbers records before and after, and compares.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REQUESTS = 4000


def record(folder: Path) -> int:
    """Write ``NAME.json``, the result document, for each experiment; the founding case in full."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(Path("experiments").glob("*.toml")):
        reduced = [] if path.stem == "article" else ["--set", f"simulation.requests={REQUESTS}"]
        with tempfile.TemporaryDirectory() as out:
            command = ["run", str(path), *reduced, "--json", "--quiet", "--out", out]
            done = subprocess.run(
                [sys.executable, "-m", "mtpsim", *command], capture_output=True, check=True
            )
        (folder / f"{path.stem}.json").write_bytes(done.stdout)
        print(path.stem, flush=True)
    return 0


def numbers(value: Any, key: str = "") -> Iterator[tuple[str, object]]:
    """Every number, flag and null of a document, with the path that leads to it."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from numbers(part, f"{key}.{name}")
    elif isinstance(value, list):
        for i, part in enumerate(value):
            yield from numbers(part, f"{key}[{i}]")
    elif not isinstance(value, str):
        yield key, value


def differences(old: Path, new: Path) -> list[str]:
    """Sentences about every number of ``points`` and ``by_batch`` that is not the same."""
    before, after = (json.loads(path.read_text()) for path in (old, new))
    found = []
    for part in ("points", "by_batch"):
        one, other = (dict(numbers(document[part])) for document in (before, after))
        found += [f"{part}{key}: only in the old one" for key in one.keys() - other.keys()]
        found += [
            f"{part}{key}: {one[key]!r} became {other[key]!r}"
            for key in one.keys() & other.keys()
            if one[key] != other[key]
        ]
    return sorted(found)


def compare(old: Path, new: Path) -> int:
    """Print what differs; new keys are allowed. Returns 1 where anything does, else 0."""
    names = {path.name for folder in (old, new) for path in folder.glob("*.json")}
    status = 0
    for name in sorted(names):
        missing = [str(folder) for folder in (old, new) if not (folder / name).is_file()]
        found = [f"missing in {missing[0]}"] if missing else differences(old / name, new / name)
        print(f"{name}: {'identical' if not found else f'{len(found)} differ'}")
        print("".join(f"    {line}\n" for line in found[:10]), end="")
        status = max(status, bool(found))
    return status


def main() -> int:
    """Record or compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("record").add_argument("folder", type=Path)
    comparing = verbs.add_parser("compare")
    comparing.add_argument("old", type=Path)
    comparing.add_argument("new", type=Path)
    arguments = parser.parse_args()
    if arguments.verb == "record":
        return record(arguments.folder)
    return compare(arguments.old, arguments.new)


if __name__ == "__main__":
    sys.exit(main())
