"""The one way to jit, and where compiled kernels are kept.

Numba's own cache looks at the file of the function alone: a changed helper in another file would
leave stale machine code behind. So the folder of the cache is named by a hash of every kernel file.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

Function = Callable[..., Any]


@cache
def kernel_hash() -> str:
    """Hash of the source of all kernels; results of two runs may be merged only if it agrees.

    The rules of the policies are compiled too.
    """
    digest = hashlib.blake2b(digest_size=8)
    here = Path(__file__).parent
    for path in [*sorted(here.glob("*.py")), *sorted((here.parent / "policy").glob("*.py"))]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _cache_folder() -> str:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    config: Any = numba.config
    base = config.CACHE_DIR or os.path.join(home, "mtpsim")
    folder = Path(base) / kernel_hash()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return str(folder)
    except OSError:  # a read-only home must not stop a run: compile anew each time
        return tempfile.mkdtemp(prefix="mtpsim-kernels-")


CACHE_FOLDER = _cache_folder()


def kernel(function: Function) -> Function:
    """Jit for the hot paths: no GIL, cached, IEEE division, no reassociation (bit-identical)."""
    config: Any = numba.config
    before = config.CACHE_DIR
    config.CACHE_DIR = CACHE_FOLDER
    try:
        jitted: Function = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    finally:
        config.CACHE_DIR = before
    return jitted


def helper(function: Function) -> Function:
    """Jit for what kernels call: compiled into its caller, so not cached by itself."""
    jitted: Function = numba.njit(nogil=True, error_model="numpy")(function)
    return jitted


def inlined(function: Function) -> Function:
    """Jit for scalars within a loop over lanes: a call would keep it from vectorising."""
    jitted: Function = numba.njit(nogil=True, error_model="numpy", inline="always")(function)
    return jitted


def bare(function: Function, inline: str = "never") -> Function:
    """Jit for what goes round by round with many arrays at hand, and makes none.

    Counting references to them would cost ten times the work. The option has no public name.
    """
    njit: Any = numba.njit
    jitted: Function = njit(nogil=True, error_model="numpy", _nrt=False, inline=inline)(function)
    return jitted


def bare_inlined(function: Function) -> Function:
    """The same for what is called each round: handing over all the arrays costs more than it."""
    return bare(function, "always")
