"""Text files as streams, compressed or not: lines, JSON documents and CSV cells."""

from __future__ import annotations

import csv
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
FileProgress = Callable[[Path, float], None]
SAMPLE_CHARACTERS = 1 << 16  # read to detect a format
MAX_TEXT = 1 << 27  # bytes of a line, and characters of a JSON document that has several lines
MAX_RATIO, UNJUDGED = (
    1000,
    1 << 26,
)  # of plain to compressed bytes, and plain bytes before it counts
PACKED = 1 << 10  # compressed bytes at a time: a block of 4 may expand to 2^17
GZIP, ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@contextmanager
def open_text(path: Path) -> Iterator[tuple[IO[str], Callable[[], float]]]:
    """Open a plain, gzip or zstandard file: its text stream, and the share of it read so far.

    Raises:
        InputError: the file can't be opened, is damaged, or is not UTF-8 text.
    """
    try:
        with path.open("rb") as raw:
            size = max(path.stat().st_size, 1)
            yield _text(raw), lambda: raw.tell() / size
    except TooLargeError as error:
        raise InputError.of(f"can't be read: {error}", file=path) from None
    except (EOFError, zlib.error, gzip.BadGzipFile, DamagedError) as error:
        raise InputError.of(f"is truncated or damaged: {error}", file=path) from None
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise InputError.of(f"is not UTF-8 text (byte 0x{byte:02x})", file=path) from None
    except OSError as error:
        message = f"can't be read: {error.strerror or error}{nearest_file(path)}"
        raise InputError.of(message, file=path) from None


class DamagedError(Exception):
    """A compressed file can't be decompressed."""


class TooLargeError(Exception):
    """A line or a document is larger than text of a log can be."""


class _Bounded(io.RawIOBase):
    """The bytes of a file, decompressed, in memory that does not depend on the file.

    Raises TooLargeError if compressed bytes expand more than text does, or if a line is too long.
    """

    def __init__(self, raw: IO[bytes], stream: Any) -> None:
        self._raw, self._stream = raw, stream
        self._plain = self._line = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = int(self._stream.readinto(buffer))
        self._plain += size
        if self._plain > max(UNJUDGED, MAX_RATIO * self._raw.tell()):
            raise TooLargeError(f"it expands more than {MAX_RATIO:,}-fold")
        end = bytes(buffer[:size]).rfind(b"\n")
        self._line = self._line + size if end < 0 else size - end - 1
        if self._line > MAX_TEXT:
            raise TooLargeError(f"a line has more than {MAX_TEXT:,} bytes")
        return size


class _Zstandard:
    """A decompressing stream that raises if the last frame is truncated.

    The stream reader of the zstandard package ends without an error there.
    """

    def __init__(self, raw: IO[bytes]) -> None:
        import zstandard

        self._zstandard, self._raw = zstandard, raw
        self._frame: Any = None
        self._packed, self._plain = b"", memoryview(b"")

    def readinto(self, buffer: Any) -> int:
        while not self._plain and (packed := self._packed or self._raw.read(PACKED)):
            self._plain = memoryview(self._unpack(packed))
        if not self._plain and self._frame is not None:
            raise DamagedError("the last frame is incomplete")
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


def _text(raw: IO[bytes]) -> IO[str]:
    start = raw.read(4)
    raw.seek(0)
    stream: Any = raw
    if start.startswith(GZIP):
        stream = gzip.GzipFile(fileobj=raw)
    elif start == ZSTANDARD:
        stream = _Zstandard(raw)
    plain = io.BufferedReader(_Bounded(raw, stream), SAMPLE_CHARACTERS)
    return io.TextIOWrapper(plain, encoding="utf-8-sig", newline=None)


@contextmanager
def create_text(path: Path) -> Iterator[IO[str]]:
    """Open a text file for writing, compressed if its name ends in .gz or .zst."""
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
    """The beginning of a file, from which its format is detected.

    Attributes:
        path: path of the file.
        text: first 65,536 characters.
    """

    def __init__(self, path: Path) -> None:
        """Read the beginning.

        Raises:
            InputError: as :func:`open_text`, or the file is empty.
        """
        self.path = path
        with open_text(path) as (text, _):
            self.text = text.read(SAMPLE_CHARACTERS)
        if not self.text.strip():
            raise InputError.of("is empty", file=path)

    @cached_property
    def document(self) -> Any:
        """The first valid JSON document; an EntryError where there is none."""
        if not self.text.lstrip().startswith(("{", "[")):
            return EntryError("is not JSON")
        found = (document for _, document in documents(self.path, lambda path, share: None))
        first = next(found, EntryError("is an empty list"))
        while isinstance(first, EntryError) and (later := next(found, None)) is not None:
            first = later
        return first

    @property
    def header(self) -> list[str]:
        """Column names, if the file is a CSV table."""
        line = self.text.lstrip().splitlines()[0]
        cells = next(csv.reader([line], delimiter=csv_delimiter(line)), [])
        return [name.strip() for name in cells]

    @property
    def is_json_lines(self) -> bool:
        """Whether a line at the beginning is a document by itself, or too long to judge."""
        begun = [line for line in self.text.splitlines() if line.startswith(("{", "["))]
        return any(
            isinstance(_parsed(line), dict | list) or len(line) > SAMPLE_CHARACTERS // 2
            for line in begun[:50]
        )


def csv_delimiter(header: str) -> str:
    """Return the delimiter of a CSV table, given its first line: a comma, semicolon or tab."""
    return max(",;\t", key=header.count)


def csv_number(name: str, text: str, delimiter: str) -> float:
    """Return the number in a cell of a CSV column; decimal commas need another delimiter.

    Raises:
        ValueError: the cell is not a number; states why.
    """
    try:
        return float(text if delimiter == "," else text.replace(",", "."))
    except ValueError:
        hint = "; a table with decimal commas must be delimited by ';'" * ("," in text)
        message = f"{text!r} is given for {name!r}; it must be a number{hint}"
        raise ValueError(message) from None


def lines(path: Path, on_progress: FileProgress) -> Iterator[Line]:
    """Yield lines with their numbers, from 1; report the share of the file that is read."""
    with open_text(path) as (text, share):
        for number, line in enumerate(text, 1):
            if number % 4096 == 0:
                on_progress(path, share())
            yield number, line


def documents(path: Path, on_progress: FileProgress) -> Iterator[tuple[int, Any]]:
    """Yield JSON documents with the number of their first line; malformed ones as EntryError.

    A file is streamed if it has one document per line; else it is one document. Each element of an
    array counts as a document.
    """
    if Start(path).is_json_lines:
        found: Iterator[tuple[int, Any]] = (
            (n, _parsed(line)) for n, line in lines(path, on_progress) if line.strip()
        )
    else:
        with open_text(path) as (text, _):
            found = iter([(1, _parsed(whole_text(text)))])
    for number, document in found:
        for entry in document if isinstance(document, list) else [document]:
            yield number, entry


def whole_text(text: IO[str]) -> str:
    """Return all of a stream.

    Raises:
        TooLargeError: it has more than ``MAX_TEXT`` characters.
    """
    found = text.read(MAX_TEXT + 1)
    if len(found) > MAX_TEXT:
        raise TooLargeError(f"a document has more than {MAX_TEXT:,} characters")
    return found


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        return EntryError("is nested too deeply")
    except ValueError as error:
        cut = not text.rstrip().endswith(("}", "]"))
        return EntryError("is truncated" if cut else f"is not valid JSON: {error}")
