"""Damaged files, steered by coverage: `parse` and the log readers under atheris (libFuzzer).

    pip install atheris
    python verification/fuzz.py --guided 600     # or: python verification/guided.py 600

The corpus begins with the shipped experiments and logs and lives in a temporary folder. A file may
be refused with an InputError and with nothing else; each other kind of end is told once, with the
file, and the search goes on. Ends with 1 where there was one. The last line says whether the search
came to a planted fault: a file that has a certain word more often than any shipped one.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

import atheris  # noqa: E402

with atheris.instrument_imports(include=["mtpsim", "tomllib"]):
    from mtpsim.common.errors import InputError
    from mtpsim.config.experiment import parse
    from mtpsim.logs import Answers, read_logs

from verification.commands import where  # noqa: E402
from verification.damaged_experiments import EXPERIMENTS  # noqa: E402
from verification.damaged_logs import SAMPLES  # noqa: E402

LONGEST = 4096
seen: set[str] = set()


@atheris.instrument_func
def planted(text: str) -> None:
    """What the search must find, step by step: a file that has the same key again and again."""
    count = text.count("rates")
    if count > 2 and count > 4 and count > 6 and count > 8:
        raise LookupError("the planted fault")


def try_one(data: bytes) -> None:
    """An experiment, or a log where it begins with a zero byte."""
    try:
        if data[:1] == b"\0":
            path = Path(folder, "log")
            path.write_bytes(data[1:])
            read_logs([path], Answers(4, None, 100))
        else:
            text = data.decode("utf-8", "replace")
            planted(text)
            parse(text, folder=ROOT / "experiments")
    except InputError:
        pass
    except Exception as error:
        kind = "the planted fault" if type(error) is LookupError else where(error)
        if kind not in seen:
            seen.add(kind)
            Path(folder, "seen").write_text("\n".join(seen))
            print(f"--- {kind}: {error!r:.200}\n{data!r}", file=sys.stderr, flush=True)


def seed(corpus: Path) -> None:
    """Short ones of the shipped files."""
    for number, path in enumerate([*EXPERIMENTS, *SAMPLES]):
        mark = b"" if path.suffix == ".toml" else b"\0"
        (corpus / str(number)).write_bytes((mark + path.read_bytes())[:LONGEST])


def main(seconds: int) -> int:
    child = os.fork()  # libFuzzer ends its process by itself
    if not child:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        seed(corpus)
        limits = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-seed=1", "-verbosity=0"]
        atheris.Setup([sys.argv[0], *limits, "-print_final_stats=1", str(corpus)], try_one)
        atheris.Fuzz()
    os.waitpid(child, 0)
    told = Path(folder, "seen")
    found = set(told.read_text().splitlines()) if told.exists() else set()
    shutil.rmtree(folder)
    print(f"{len(found - {'the planted fault'})} kinds of faults", end="; ")
    print("the planted one was", "found" if "the planted fault" in found else "NOT found")
    return int(found != {"the planted fault"})


if __name__ == "__main__":
    folder = tempfile.mkdtemp(prefix="mtpsim-guided-")
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 600))
