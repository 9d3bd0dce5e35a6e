"""Compiled kernels are kept in a folder that goes with the test session, unless one is given."""

import os
import tempfile

if "NUMBA_CACHE_DIR" not in os.environ:
    _cache = tempfile.TemporaryDirectory(prefix="mtpsim-tests-")
    os.environ["NUMBA_CACHE_DIR"] = _cache.name
