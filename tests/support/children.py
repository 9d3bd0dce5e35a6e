"""Child processes, which a failing test does not leave behind."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from signal import SIGKILL
from typing import Any


@contextmanager
def python(*arguments: object, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A Python process in a group of its own; at the end it is killed and its pipes are closed."""
    command = [sys.executable, *map(str, arguments)]
    with subprocess.Popen(command, text=True, start_new_session=True, **options) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, SIGKILL)
