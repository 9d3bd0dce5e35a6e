"""Streams whose reader may leave, as ``head`` does: what else a command does goes on in peace."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO


class _Outliving(io.FileIO):
    """A file of which nothing is heard once its reader has left."""

    left = False

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            self.left = True
            return memoryview(data).nbytes


def outlive_readers() -> None:
    """Let stdout and stderr of this process outlive their readers, and be there in any case."""
    _fill()
    sys.stdout, sys.stderr = _outliving(sys.stdout), _outliving(sys.stderr)


def _fill() -> None:
    """Put /dev/null where a stream was closed from the start, as ``>&-`` does.

    Files take the lowest free number: a result would be opened as stdout, else, and printed into.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)


def _outliving(stream: Any) -> Any:
    if not isinstance(stream, io.TextIOWrapper):  # somebody's own
        return stream
    raw = _Outliving(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        raw if isinstance(stream.buffer, io.RawIOBase) else io.BufferedWriter(raw),  # -u or not
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def write_while_read(lines: Iterable[str], out: TextIO) -> None:
    """Write lines as they are made, and make no more of them once nobody reads."""
    buffer = getattr(out, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    for line in lines:
        out.write(line)
        if getattr(raw, "left", False):
            return
