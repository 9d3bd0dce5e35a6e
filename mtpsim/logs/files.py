"""Text files as streams: compressed or piped, of any encoding, as terminals colour them."""

import csv
import gzip
import io
import os
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from mtpsim.common.errors import InputError, nearest_file

Line = tuple[int, str]
Batch = tuple[int, str]
"""Number of the first line, and whole lines as one text."""
BATCH_CHARACTERS = 1 << 18
FileProgress = Callable[[Path, float], None]
SAMPLE_CHARACTERS = 1 << 16  # read at a time, and to detect the encoding
MAX_TEXT = 1 << 27  # bytes of a line
MAX_RATIO, UNJUDGED = 1000, 1 << 26  # plain to compressed bytes, plain bytes before it counts
PACKED = 1 << 10  # compressed bytes at a time: a block of 4 may expand to 2^17
GZIP, ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


STDIN = Path("-")
_COPIES: dict[Path, IO[bytes]] = {}  # what a pipe or stdin gave, in files without a name


@contextmanager
def copied_pipes(paths: Iterable[Path]) -> Iterator[None]:
    """Copy what can be read only once, stdin (``-``) and pipes, to files that are read instead.

    Raises:
        InputError: one can't be read.
    """
    pipes = [path for path in dict.fromkeys(paths) if path not in _COPIES and _is_pipe(path)]
    if not pipes:
        yield
        return
    with ExitStack() as copies:
        for path in pipes:
            copy = copies.enter_context(tempfile.TemporaryFile(prefix="mtpsim-"))
            with _reading(path):
                if path == STDIN:
                    shutil.copyfileobj(sys.stdin.buffer, copy)
                else:
                    with path.open("rb") as source:
                        shutil.copyfileobj(source, copy)
            _COPIES[path] = copy
            copies.callback(_COPIES.pop, path)
        yield


def _is_pipe(path: Path) -> bool:
    try:
        return path == STDIN or path.is_fifo() or path.is_char_device()
    except OSError:
        return False


@contextmanager
def open_text(path: Path) -> Iterator[tuple[IO[str], Callable[[], float]]]:
    """Open a plain, gzip or zstandard file: its text stream, and the share of it read so far.

    Text is UTF-8, UTF-16 (as PowerShell writes it) or GB 18030; bytes that are none of them are
    replaced, since they do not stand in the numbers of a log.

    Raises:
        InputError: the file can't be opened, or is damaged.
    """
    with _reading(path), _opened(path) as raw:
        size = max(os.fstat(raw.fileno()).st_size, 1)
        yield _text(raw), lambda: raw.tell() / size


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    if path in _COPIES:
        _COPIES[path].seek(0)
        yield _COPIES[path]
        return
    with path.open("rb") as raw:
        yield raw


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Report faults as those of a file."""
    try:
        yield
    except TooLargeError as error:
        raise InputError.of(f"can't be read: {error}", file=path) from None
    except (EOFError, zlib.error, gzip.BadGzipFile, DamagedError) as error:
        raise InputError.of(f"is truncated or damaged: {error}", file=path) from None
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
    encoding = _encoding(plain.peek(SAMPLE_CHARACTERS))
    return io.TextIOWrapper(plain, encoding=encoding, errors="replace", newline=None)


def _encoding(start: bytes) -> str:
    """Return the encoding of text, given its beginning."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if start[1:2] == b"\0" or start[:1] == b"\0":
        return "utf-16-le" if start[1:2] == b"\0" else "utf-16-be"
    whole = start[: start.rfind(b"\n") + 1] or start
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            whole.decode(encoding)
            return encoding
        except UnicodeDecodeError:
            pass
    return "utf-8-sig"


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


def header_of(path: Path) -> list[str]:
    """Return the names of the columns, if a file is a CSV table.

    Raises:
        InputError: as :func:`open_text`, or the file is empty.
    """
    for _, line in lines(path):
        if line.strip():
            return csv_cells(line, csv_delimiter(line))
    raise InputError.of("is empty", file=path)


def csv_cells(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line of CSV; none where one has more than 131,072 characters."""
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


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


# As a terminal colours them: an escape character, or how it is written where it got lost.
_COLOUR = re.compile(
    r"(?:\x1b|\^\[|\\u001b|\\x1b|\\033)(?:\[[\d;?]{0,32}[A-Za-z]|\][^\x07\n]{0,512}\x07)"
    r"|\[\d{1,3}(?:;\d{1,3}){0,8}m(?:\[K)?|\[m\[K|\[K"
)
_COLOURED = {  # by a character that is rare in logs and fast to find
    "\x1b": ("\x1b",),
    "^": ("^[[",),
    "\\": ("\\u001b[", "\\x1b[", "\\033["),
}
_ESCAPE_LOST = re.compile(r"\[(?:0m|0;0m|m\[|K)")
_BLANK = re.compile("[\u00a0\u2007\u2009\u202f\u3000]")
_INVISIBLE = re.compile("[\0\u200b-\u200d\u2060\ufeff]")


def clean(text: str) -> str:
    """Return a text without colours, with plain blanks."""
    if not text.isascii():
        text = _INVISIBLE.sub("", _BLANK.sub(" ", text))
    elif "\0" in text:
        text = text.replace("\0", "")
    escaped = any(rare in text and any(m in text for m in _COLOURED[rare]) for rare in _COLOURED)
    return _COLOUR.sub("", text) if escaped or _ESCAPE_LOST.search(text) else text


def batches(path: Path, on_progress: FileProgress = lambda path, share: None) -> Iterator[Batch]:
    """Yield whole lines in batches, so that what few lines have is looked for in many at once."""
    number = 1
    with open_text(path) as (text, share):
        while batch := text.read(BATCH_CHARACTERS):
            batch = clean(batch + text.readline())
            yield number, batch
            number += batch.count("\n")
            on_progress(path, share())


def numbered(batches: Iterable[Batch]) -> Iterator[Line]:
    """Yield the lines of batches, with their numbers."""
    for number, text in batches:
        yield from enumerate(io.StringIO(text), number)


def lines(path: Path, on_progress: FileProgress = lambda path, share: None) -> Iterator[Line]:
    """Yield lines with their numbers, from 1; report the share of the file that is read."""
    return numbered(batches(path, on_progress))
