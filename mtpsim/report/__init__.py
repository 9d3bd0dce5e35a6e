"""What a person sees: tables, figures, tidy rows and progress, all from the result document.

Importing this package costs nothing; rich and matplotlib load when a function needs them.
"""

import os
import stat
import tempfile
from pathlib import Path


def _writable(folder: Path) -> bool:
    """Whether a folder can be made and written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def share_matplotlib_cache() -> None:
    """Give matplotlib one private folder if it can't write its own.

    It would otherwise make a temporary folder per process, which a killed process leaves behind,
    and find all fonts of the machine again.
    """
    if os.name != "posix" or "MPLCONFIGDIR" in os.environ:
        return
    home = os.path.expanduser("~")
    caches = os.environ.get("XDG_CACHE_HOME") or f"{home}/.cache"
    settings = os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    if all(_writable(Path(folder, "matplotlib")) for folder in (settings, caches)):
        return
    folder = Path(tempfile.gettempdir(), f"mtpsim-matplotlib-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return
    # The name can be guessed: a folder or link of someone else is not used.
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
        os.environ["MPLCONFIGDIR"] = str(folder)


share_matplotlib_cache()
