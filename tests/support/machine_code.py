"""Parts of kernels, compiled so that Python can call them: they have no entry of their own."""

from collections.abc import Callable
from typing import Any

from mtpsim.kernels.jit import kernel


def compiled(part: Callable[..., Any]) -> Callable[..., Any]:
    """``part`` as a kernel of its own; as it is where numba is disabled."""
    return kernel(getattr(part, "py_func", part))
