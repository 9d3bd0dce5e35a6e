"""Kernels compiled for a test session are kept in a folder that goes with it."""

import os
import tempfile

_cache = tempfile.TemporaryDirectory(prefix="mtpsim-tests-")
os.environ["NUMBA_CACHE_DIR"] = _cache.name
