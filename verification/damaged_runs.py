"""Run directories whose files are damaged."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from mtpsim.cli.main import main as cli
from verification import damage
from verification.commands import Finds, command, no_constants
from verification.damaged_experiments import TINY

TOKENS = TINY.replace("requests = 100", "requests = 100\n[sweep]\n'latency.target' = [70, 80]")
SCHEDULE = """\
[acceptance]
model = "decay"
first = 0.75
factor = 0.97
depth = 2
[latency]
model = "linear"
base = 6
per_token = 0.02
draft = { base = 0, per_token = 2 }
[simulation]
rounds = 20
requests = 100
[sweep]
"latency.batch" = [1, 8]
"""


def runs(rng: random.Random, folder: Path, until: Callable[[int], bool]) -> Finds:
    """`show`, `merge`, `export` and a run that goes on, where files of a run are damaged."""
    finds, number, whole = Finds(), 0, []
    for name, text in (("tiny", TINY), ("tokens", TOKENS), ("schedule", SCHEDULE)):
        (folder / f"{name}.toml").write_text(text)
        command(finds, folder, "run", str(folder / f"{name}.toml"), "--out", str(folder / name))
        whole.append(folder / name)
    if finds.kinds:
        return finds
    while until(number):
        number += 1
        one = rng.choice(whole)
        broken = folder / "broken"
        shutil.rmtree(broken, ignore_errors=True)
        shutil.rmtree(folder / "merged", ignore_errors=True)
        shutil.copytree(one, broken)
        shown = _damage_run(rng, broken)
        verb = rng.choice(
            (
                ("show", str(broken), "--json"),
                ("show", str(broken)),
                ("merge", str(broken), str(rng.choice(whole)), "-o", str(folder / "merged")),
                ("export", str(broken), "--to", rng.choice(cli.ENGINES)),
                ("run", str(folder / f"{one.name}.toml"), "--out", str(broken)),
            )
        )
        code = command(finds, folder, *verb, shown=shown)
        if verb[0] == "run" and code == 0:
            no_constants(finds, broken / "result.json", shown)
    return finds


def _damage_run(rng: random.Random, run: Path) -> str:
    """Damage a file or two; some of its unharmed ones are taken away."""
    names, told = ("result.json", "tallies.jsonl", "experiment.toml"), []
    for name in rng.sample(names, rng.randint(1, 2)):
        path = run / name
        text = path.read_bytes()
        what = rng.random()
        if name == "result.json" and what < 0.7:
            text = json.dumps(damage.changed(rng, json.loads(text))).encode()
        elif name == "tallies.jsonl" and what < 0.5:
            text = damage.lines_changed(rng, text)
        else:
            text = damage.encoded(rng, damage.bytes_changed(rng, text))
        path.write_bytes(text)
        told.append(f"{name}: {text[:3000]!r}")
    if rng.random() < 0.4:
        (run / "result.json").unlink()
        told.append("no result.json")
    return "\n".join(told)
