"""Files that an experiment names: read with limits, and never repeated in messages.

An experiment received from elsewhere may name any file of its reader.
"""

import stat
from pathlib import Path

from mtpsim.common.errors import nearest_file

MAX_BYTES = 1 << 26  # of a file of numbers; 64 MiB are five million times


def check_named_file(path: Path) -> None:
    """Check that a path is a file, and not a device or a pipe, which may never end.

    Raises:
        ValueError: It is not; the message names the path.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"can't read {path}: {reason}{nearest_file(path)}") from None
    if not stat.S_ISREG(mode):
        reason = "Is a directory" if stat.S_ISDIR(mode) else "not a regular file"
        raise ValueError(f"can't read {path}: {reason}")


def read_named_file(path: Path) -> str:
    """Text of a file of numbers.

    Raises:
        ValueError: It can't be read, is larger than ``MAX_BYTES`` or is not UTF-8; the message
            names the path and holds nothing of the file.
    """
    check_named_file(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"can't read {path}: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES:,} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start})") from None
