"""Experiments made from the JSON schema, and shipped ones that were damaged."""

from __future__ import annotations

import json
import random
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomli_w

from mtpsim.config.experiment import schema
from verification import damage
from verification.commands import Finds, command, no_constants

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.toml"))
TINY = """\
[acceptance]
model = "independent"
rates = [0.9, 0.7]
[latency]
target = 76
verify = [90, 104]
draft = [8, 14]
[simulation]
rounds = 20
requests = 100
"""


def experiment_bytes(rng: random.Random, raws: list[Any], root: Any) -> bytes:
    """A file of an experiment: from the schema, or one that works with damage to it."""
    what = rng.random()
    if what < 0.25:
        raw = damage.from_schema(rng, root, root)
        if rng.random() < 0.3:
            raw = damage.changed(rng, raw, rng.choice(raws))
    else:
        raw = rng.choice(raws)
        if what < 0.75:
            raw = damage.changed(rng, raw, rng.choice(raws))
    try:
        text = tomli_w.dumps(_without_null(raw)).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError):
        text = TINY.encode()
    if what >= 0.75:
        text = damage.bytes_changed(rng, text, rng.choice(EXPERIMENTS).read_bytes())
    return damage.encoded(rng, text)


def _without_null(raw: Any) -> Any:
    if isinstance(raw, dict):
        return {key: _without_null(value) for key, value in raw.items() if value is not None}
    return [_without_null(part) for part in raw if part is not None] if type(raw) is list else raw


def small(raw: Any) -> Any:
    """The same experiment for a few short requests."""
    raw = json.loads(json.dumps(raw))
    raw.pop("adaptive", None)  # each set of policies would compile kernels of its own
    given = raw.get("simulation", {})
    kept = {k: given[k] for k in ("seed", "confidence", "epsilon", "as_recorded") if k in given}
    if "tokens" in given:
        kept["tokens"] = min(given["tokens"], 40)
    elif not given.get("as_recorded"):
        kept["rounds"] = min(given.get("rounds", 20), 20)
    raw["simulation"] = kept | {"requests": 64}
    raw["sweep"] = {k: v[:2] for k, v in list(raw.get("sweep", {}).items())[:2]}
    raw["sweep"] = {k: v for k, v in raw["sweep"].items() if not k.startswith("simulation")}
    return raw if raw["sweep"] else {k: v for k, v in raw.items() if k != "sweep"}


def experiments(rng: random.Random, folder: Path, until: Callable[[int], bool]) -> Finds:
    """`check`, and of what it accepts a share of `run`, `plan` and `sample`."""
    finds, root = Finds(), schema()
    home = folder / "experiments"
    shutil.copytree(ROOT / "experiments", home, dirs_exist_ok=True)
    raws = [tomllib.loads(path.read_text()) for path in EXPERIMENTS]
    number = 0
    while until(number):
        number += 1
        text = experiment_bytes(rng, raws, root)
        path = home / rng.choice(("e.toml", "naïve 文字.toml", "a: b.toml"))
        path.write_bytes(text)
        shown = repr(text[:3000])
        if command(finds, folder, "check", str(path), shown=shown) or rng.random() < 0.5:
            continue
        try:
            path.write_text(tomli_w.dumps(small(tomllib.loads(text.decode("utf-8-sig")))))
        except (TypeError, ValueError, OverflowError):
            continue
        _play(rng, finds, folder, path)
    return finds


def _play(rng: random.Random, finds: Finds, folder: Path, path: Path) -> None:
    """Run an experiment that was accepted."""
    shown, out = repr(path.read_text()[:3000]), folder / "run"
    if command(finds, folder, "check", str(path), shown=shown):
        return
    if rng.random() < 0.2:
        form = rng.choice(("rounds", "csv", "rates", "vllm-log", "sglang-requests"))
        asked = ("--as", form, "--requests", "3")
        command(finds, folder, "sample", str(path), *asked, shown=shown)
    elif rng.random() < 0.1:
        command(finds, folder, "plan", str(path), "--quiet", shown=shown)
    else:
        code = command(finds, folder, "run", str(path), "--out", str(out), "--fresh", shown=shown)
        if code in (0, 3):
            command(finds, folder, "run", str(path), "--out", str(out), "--json", shown=shown)
            no_constants(finds, out / "result.json", shown)
