"""Files as a stream: compressed or not, line by line or JSON document by document."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from mtpsim.common.errors import InputError, nearest_file
from mtpsim.logs.entry import EntryError

Line = tuple[int, str]
SAMPLE = 1 << 16  # characters that tell a format
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
Told = Callable[[Path, float], None]


def _problem(path: Path, message: str) -> InputError:
    return InputError.of(message, file=path)


@contextmanager
def opened(path: Path) -> Iterator[tuple[IO[str], Callable[[], float]]]:
    """A text stream of a plain, gzip or zstandard file, and the share of it that was read.

    Raises:
        InputError: the file can't be opened or is damaged.

    """
    try:
        with path.open("rb") as raw:
            size = max(path.stat().st_size, 1)
            yield _text(raw, path), lambda: raw.tell() / size
    except (EOFError, zlib.error, gzip.BadGzipFile, DamagedError) as error:
        raise _problem(path, f"is cut off or damaged: {error}") from None
    except UnicodeDecodeError as error:
        raise _problem(
            path, f"is not UTF-8 text (byte 0x{error.object[error.start]:02x})"
        ) from None
    except OSError as error:
        told = f"can't be read: {error.strerror or error}{nearest_file(path)}"
        raise _problem(path, told) from None


class DamagedError(Exception):
    """A compressed file does not decompress."""


class _Zstandard(io.RawIOBase):
    """A stream of frames that notices when it is cut off."""

    def __init__(self, raw: IO[bytes]) -> None:
        import zstandard

        self._zstandard, self._raw = zstandard, raw
        self._frame: Any = None
        self._packed = self._plain = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._plain and (packed := self._packed or self._raw.read(SAMPLE)):
            self._plain = self._unpack(packed)
        if not self._plain and self._frame is not None:
            raise DamagedError("it ends within a frame")
        size = min(len(buffer), len(self._plain))
        buffer[:size], self._plain = self._plain[:size], self._plain[size:]
        return size

    def _unpack(self, packed: bytes) -> bytes:
        self._frame = self._frame or self._zstandard.ZstdDecompressor().decompressobj()
        try:
            plain = bytes(self._frame.decompress(packed))
        except self._zstandard.ZstdError as error:
            raise DamagedError(str(error)) from None
        self._packed = self._frame.unused_data
        if self._frame.eof:
            self._frame = None
        return plain


def _text(raw: IO[bytes], path: Path) -> IO[str]:
    start = raw.read(4)
    raw.seek(0)
    stream: Any = raw
    if start.startswith(GZIP):
        stream = gzip.GzipFile(fileobj=raw)
    elif start == ZSTD:
        stream = io.BufferedReader(_Zstandard(raw))
    return io.TextIOWrapper(stream, encoding="utf-8-sig", newline=None)


@contextmanager
def written(path: Path) -> Iterator[IO[str]]:
    """A text file to write, compressed as its name ends (.gz, .zst)."""
    with path.open("wb") as raw:
        stream: Any = raw
        if path.suffix == ".gz":
            stream = gzip.GzipFile("", "wb", fileobj=raw, mtime=0)  # the same bytes at any time
        elif path.suffix == ".zst":
            import zstandard

            stream = zstandard.ZstdCompressor(level=19).stream_writer(raw)
        with io.TextIOWrapper(stream, encoding="utf-8", newline="") as text:
            yield text


class Start:
    """How a file begins, which tells its format.

    Attributes:
        path: of the file.
        text: its first characters.

    """

    def __init__(self, path: Path) -> None:
        """Read the beginning.

        Raises:
            InputError: as :func:`opened`, or the file is empty.

        """
        self.path = path
        with opened(path) as (text, _):
            self.text = text.read(SAMPLE)
        if not self.text.strip():
            raise _problem(path, "is empty")

    @cached_property
    def document(self) -> Any:
        """The first JSON document; an EntryError where there is none."""
        if not self.text.lstrip().startswith(("{", "[")):
            return EntryError("is no JSON")
        found = (document for _, document in documents(self.path, lambda path, share: None))
        first = next(found, EntryError("is an empty list"))
        while isinstance(first, EntryError) and (later := next(found, None)) is not None:
            first = later
        return first

    @property
    def one_a_line(self) -> bool:
        """Whether some line at the beginning is a document of its own, or too long to tell."""
        begun = [line for line in self.text.splitlines() if line.startswith(("{", "["))]
        return any(
            isinstance(_parsed(line), dict | list) or len(line) > SAMPLE // 2 for line in begun[:50]
        )


def lines(path: Path, told: Told) -> Iterator[Line]:
    """Lines with their numbers, from 1; ``told`` hears of the file how far the reading is."""
    with opened(path) as (text, share):
        for number, line in enumerate(text, 1):
            if number % 4096 == 0:
                told(path, share())
            yield number, line


def documents(path: Path, told: Told) -> Iterator[tuple[int, Any]]:
    """JSON documents with the number of the line that each begins on; broken ones as EntryError.

    Either a document a line, which is streamed, or one document over several lines. An array
    counts as a document for each of its entries.
    """
    if Start(path).one_a_line:
        found: Iterator[tuple[int, Any]] = (
            (n, _parsed(line)) for n, line in lines(path, told) if line.strip()
        )
    else:
        with opened(path) as (text, _):
            found = iter([(1, _parsed(text.read()))])
    for number, document in found:
        for entry in document if isinstance(document, list) else [document]:
            yield number, entry


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        return EntryError("is nested too deeply")
    except ValueError as error:
        cut = not text.rstrip().endswith(("}", "]"))
        return EntryError("is cut off" if cut else f"is not valid JSON: {error}")
