"""Whether kernels are being compiled now, for displays of progress; loads no numba."""

from __future__ import annotations

import time
from collections.abc import Callable

COMPILING = "compiling kernels for this kind of experiment, once: usually 5 to 30 s"


class Compilation:
    """What kernels report while they are compiled; those in the cache report nothing.

    Attributes:
        on_start (Callable[[], None] | None): Called when a compilation begins, from any thread.
    """

    def __init__(self) -> None:
        self.on_start: Callable[[], None] | None = None
        self._depth, self._since, self._before = 0, 0.0, 0.0

    def begin(self) -> None:
        """Note that a kernel is being compiled, which may be within another one."""
        self._depth += 1
        if self._depth == 1:
            self._since = time.monotonic()
            if self.on_start:
                self.on_start()

    def end(self) -> None:
        """Note that a kernel is compiled, or that its compilation failed."""
        self._depth -= 1
        if not self._depth:
            self._before += time.monotonic() - self._since

    @property
    def active(self) -> bool:
        """Whether a kernel is being compiled."""
        return self._depth > 0

    @property
    def seconds(self) -> float:
        """Seconds of compilation of this process so far."""
        return self._before + (time.monotonic() - self._since if self.active else 0.0)


compilation = Compilation()
