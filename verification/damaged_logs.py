"""Logs of every engine, damaged."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mtpsim.common.errors import InputError
from mtpsim.logs import FORMATS, Answers, read_logs
from verification import damage
from verification.commands import Finds, HangError, command, in_time, where

SAMPLES = sorted((Path(__file__).resolve().parents[1] / "experiments/logs/samples").iterdir())


def log_bytes(rng: random.Random) -> tuple[str, bytes]:
    path, other = rng.choice(SAMPLES), rng.choice(SAMPLES).read_bytes()
    text = path.read_bytes()
    if rng.random() < 0.5:
        text = damage.lines_changed(rng, text, other)
    if rng.random() < 0.6:
        text = damage.bytes_changed(rng, text, other)
    return path.name, damage.encoded(rng, text)


def logs(rng: random.Random, folder: Path, until: Callable[[int], bool]) -> Finds:
    """The readers; and of logs that they take, a share of `fit`, whose experiment must load."""
    finds, number, out = Finds(), 0, folder / "fitted.toml"
    while until(number):
        number += 1
        name, text = log_bytes(rng)
        path = folder / name
        path.write_bytes(text)
        shown = f"{name}: {text[:3000]!r}"
        forced = rng.choice((None, None, None, rng.choice(sorted(FORMATS))))
        skip = rng.random() < 0.3
        taken = _read(finds, path, forced, skip, shown)
        if rng.random() > (0.05 if taken else 0.02):
            continue
        asked = ["--target", "30", "--depth", "4", "--candidates", "independent", "--quiet"]
        asked += ["--format", forced] * bool(forced) + ["--skip-bad"] * skip
        if not command(finds, folder, "fit", str(path), *asked, "-o", str(out), shown=shown):
            command(finds, folder, "check", str(out), shown=shown)
    return finds


def _read(finds: Finds, path: Path, form: str | None, skip: bool, shown: str) -> bool:
    """Whether a log is taken; what it tells has to hang together."""
    finds.tried += 1
    try:
        with in_time():
            log = read_logs([path], Answers(4, None, 100), format=form, skip_bad=skip)
    except InputError as error:
        if not all(p.message and (p.file or p.key) for p in error.problems):
            finds.add("a log is refused without a place", shown)
        return False
    except (HangError, Exception) as error:
        finds.add(where(error), f"{error!r:.300}\n{shown}")
        return False
    told = (log.accept_length, log.hit, log.reached, log.rounds)
    if not all((np.isfinite(part) & (np.asarray(part) >= 0)).all() for part in told):
        finds.add("a log is taken whose numbers are none", shown)
    if (log.hit > log.reached).any():
        finds.add("a log is taken with more hits than tries", shown)
    return True
