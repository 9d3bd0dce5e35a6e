"""The functions of scipy.special that are ufuncs, at a tenth of the time of its import.

The package scipy.special wraps its functions for other array libraries, and for that imports all of
numpy, numpy.f2py and numpy.testing included: 0.1 s, a third of `import numba`. The functions are in
an extension module of it, which needs none of this. They are the same objects.
"""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = "scipy.special"


def _extension() -> Any:
    """The extension module, without the package around it; the package where that fails."""
    if PACKAGE in sys.modules:
        return sys.modules[PACKAGE]
    package = ModuleType(PACKAGE)
    package.__path__ = [str(Path(import_module("scipy").__path__[0], "special"))]
    sys.modules[PACKAGE] = package
    try:
        return import_module(f"{PACKAGE}._ufuncs")
    except ImportError:
        pass
    finally:
        del sys.modules[PACKAGE]  # a later import of it finds the extension loaded
    return import_module(PACKAGE)


_UFUNCS = _extension()


def __getattr__(name: str) -> Any:
    if name.startswith("_"):  # asked for by the import itself
        raise AttributeError(name)
    return getattr(_UFUNCS, name, None) or getattr(import_module(PACKAGE), name)
