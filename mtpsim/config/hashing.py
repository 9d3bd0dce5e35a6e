"""The resolved file, and hashes that identify an experiment and its random numbers."""

import hashlib
import json
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from mtpsim.common.arrays import JsonDict
from mtpsim.config.experiment import Experiment, Point

STOPPING_KEYS = ("precision", "requests", "max_requests", "confidence", "epsilon")
SERVER_STOPPING_KEYS = ("precision", "precision_of", "replications", "max_replications", "capacity")
PRECISION_KEYS = ("precision_of", "precision_is", "between", "control_variates")


def _with_files(value: Any, folder: Path, digest: bool) -> Any:
    """Absolute paths of sample files and traces, or hashes of their contents."""
    if isinstance(value, list):
        return [_with_files(part, folder, digest) for part in value]
    if not isinstance(value, dict):
        return value
    out = {key: _with_files(part, folder, digest) for key, part in value.items()}
    for key in ("samples", "file", "trace"):
        if isinstance(out.get(key), str):
            path = (folder / out[key]).resolve()
            stamp = path.stat() if digest else None
            out[key] = _digest(path, stamp.st_mtime_ns, stamp.st_size) if stamp else str(path)
    return out


@lru_cache(maxsize=64)
def _digest(path: Path, modified: int, size: int) -> str:
    """Hash of the contents of a file; it is read again only if it was modified."""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def to_toml(experiment: Experiment) -> str:
    """TOML text with defaults filled in and absolute paths; it loads as an equal experiment."""
    import tomli_w

    return tomli_w.dumps(_with_files(experiment.raw(), experiment._folder, digest=False))


def _hash(raw: JsonDict) -> str:
    text = json.dumps(raw, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def content_hash(experiment: Experiment) -> str:
    """Hash of everything that the results depend on, including the contents of sample files."""
    raw = _with_files(experiment.raw(), experiment._folder, digest=True)
    raw.pop("title", None)
    return _hash(raw)


def work_hash(experiment: Experiment) -> str:
    """Hash of everything that a simulated request depends on, without the seed.

    It does not depend on the number of requests or on the requested precision. Runs with equal
    hashes share their blocks if they have the same seed, and can be merged if the seeds differ.
    """
    raw = _with_files(experiment.raw(), experiment._folder, digest=True)
    for section in ("title", "decision", "uncertainty", "robust"):
        raw.pop(section, None)
    for key in ("seed", *STOPPING_KEYS, *PRECISION_KEYS):
        raw["simulation"].pop(key, None)
    for key in SERVER_STOPPING_KEYS:
        raw.get("serving", {}).pop(key, None)
    raw["theory"] = experiment.measured_at
    return _hash(raw)


def point_hash(point: Point) -> str:
    """Hash of everything that the blocks of a point depend on, without the seed of the run.

    It is :func:`work_hash`, except at points of a sweep over keys that work_hash leaves out: these
    points would have the same name, and would be merged as if they were runs of one point.
    """
    simulation, work = point.experiment.simulation, work_hash(point.experiment)
    given = {*point.set, *(f"simulation.{key}" for key in point.set.get("simulation", ()))}
    left_out = ("seed", *STOPPING_KEYS, *PRECISION_KEYS)
    swept = {key: getattr(simulation, key) for key in left_out if f"simulation.{key}" in given}
    return _hash({"work": work, **swept}) if swept else work


def seal(document: JsonDict) -> int:
    """Checksum of a document, which its key ``check`` holds in a run directory."""
    content = {name: value for name, value in document.items() if name != "check"}
    return zlib.crc32(json.dumps(content, allow_nan=False).encode())
