"""Output streams whose reader may close them, as ``head`` does, without ending the command."""

import io
import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO


class _ClosableFile(io.FileIO):
    """A file that ignores what is written after its reader has closed it."""

    closed_by_reader = False

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            self.closed_by_reader = True
            return memoryview(data).nbytes


def survive_closed_pipes() -> None:
    """Let the process continue if a reader closes stdout or stderr, or if they do not exist."""
    _open_missing()
    sys.stdout, sys.stderr = _closable(sys.stdout), _closable(sys.stderr)


def _open_missing() -> None:
    """Open /dev/null in place of a stream that is closed from the start, as by ``>&-``.

    Files take the lowest free number: without this a result file could become stdout.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)


def _closable(stream: Any) -> Any:
    if not isinstance(stream, io.TextIOWrapper):  # replaced by the caller
        return stream
    raw = _ClosableFile(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        raw if isinstance(stream.buffer, io.RawIOBase) else io.BufferedWriter(raw),  # -u or not
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def write_while_read(lines: Iterable[str], out: TextIO) -> None:
    """Write lines as they are generated; stop when the reader has closed the stream."""
    buffer = getattr(out, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    for line in lines:
        out.write(line)
        if getattr(raw, "closed_by_reader", False):
            return
