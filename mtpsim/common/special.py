"""The functions of scipy.special that are ufuncs, at a tenth of the time of its import.

The package scipy.special wraps its functions for other array libraries, and for that imports all of
numpy, numpy.f2py and numpy.testing included: 0.1 s, a third of `import numba`. The functions are in
extension modules of it, which need none of this. They are the same objects.
"""

import sys
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

PACKAGE = "scipy.special"
# Extension modules, each after those that it imports, and the releases of SciPy, first and last,
# that have them so. With other releases the package is imported.
PARTS = "_ufuncs_cxx", "_special_ufuncs", "_gufuncs", "_ellip_harm_2", "_ufuncs"
RELEASES = (1, 14), (1, 17)


def _functions() -> Any:
    """The last extension module, without the package around it; or the package."""
    import scipy

    release = tuple(map(int, scipy.__version__.split(".")[:2]))
    if PACKAGE in sys.modules or not RELEASES[0] <= release <= RELEASES[1]:
        return import_module(PACKAGE)
    folder = Path(scipy.__path__[0], "special")
    for part in PARTS:
        _load(f"{PACKAGE}.{part}", folder)
    return sys.modules[f"{PACKAGE}.{part}"]


def _load(name: str, folder: Path) -> None:
    """Import one module of a package, but not the package."""
    bootstrap: Any = import_module("importlib._bootstrap")
    with bootstrap._ModuleLockManager(name):  # as an import does: other threads wait for it
        spec = None if name in sys.modules else PathFinder.find_spec(name, [str(folder)])
        if spec is not None and spec.loader is not None:
            sys.modules[name] = module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])


_FUNCTIONS = _functions()


def __getattr__(name: str) -> Any:
    if name.startswith("_"):  # asked for by the import itself
        raise AttributeError(name)
    return getattr(_FUNCTIONS, name, None) or getattr(import_module(PACKAGE), name)
