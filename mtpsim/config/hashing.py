"""What makes two experiments the same: the resolved file, and hashes of what numbers depend on."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from mtpsim.common.arrays import JsonDict
from mtpsim.config.experiment import Experiment

STOPPING = ("precision", "requests", "max_requests", "confidence", "epsilon")
ASKED = ("precision_of", "precision_is", "between", "control_variates")


def _with_files(value: Any, folder: Path, digest: bool) -> Any:
    """Files of samples and traces made absolute, or replaced by a hash of what they hold."""
    if isinstance(value, list):
        return [_with_files(part, folder, digest) for part in value]
    if not isinstance(value, dict):
        return value
    out = {key: _with_files(part, folder, digest) for key, part in value.items()}
    for key in ("samples", "file"):
        if isinstance(out.get(key), str):
            path = (folder / out[key]).resolve()
            stamp = path.stat() if digest else None
            out[key] = _digest(path, stamp.st_mtime_ns, stamp.st_size) if stamp else str(path)
    return out


@lru_cache(maxsize=64)
def _digest(path: Path, modified: int, size: int) -> str:
    """Hash of the contents of a file, which is read once as long as it is not modified."""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def to_toml(experiment: Experiment) -> str:
    """The resolved file: defaults written out, sample files by absolute path; loads back equal."""
    import tomli_w

    return tomli_w.dumps(_with_files(experiment.raw(), experiment._folder, digest=False))


def _hash(raw: JsonDict) -> str:
    text = json.dumps(raw, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def content_hash(experiment: Experiment) -> str:
    """Hash of all that the numbers depend on: not the title, but what sample files hold."""
    raw = _with_files(experiment.raw(), experiment._folder, digest=True)
    raw.pop("title", None)
    return _hash(raw)


def work_hash(experiment: Experiment) -> str:
    """Hash of all that a simulated request depends on, but for the seed.

    Not how many requests there are, nor what is asked of them. Runs that agree in it share their
    blocks where the seed is the same, and may be merged where it is not.
    """
    raw = _with_files(experiment.raw(), experiment._folder, digest=True)
    for section in ("title", "decision", "uncertainty", "robust"):
        raw.pop(section, None)
    for key in ("seed", *STOPPING, *ASKED):
        raw["simulation"].pop(key, None)
    raw["theory"] = experiment.measured_at
    return _hash(raw)
