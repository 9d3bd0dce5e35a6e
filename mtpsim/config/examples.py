"""The example experiments that are installed with the package."""

import re
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
FOLDERS = (PACKAGE / "examples", PACKAGE.parent / "experiments")
"""Where they lie when installed, and in a checkout of the source."""
SCHEMA = "experiment.schema.json"
TITLE = re.compile(r'^title = "(.*)"$', re.MULTILINE)
FILE_NAME = re.compile(r'"([\w./-]+)"')


def folder() -> Path | None:
    """The folder of the examples; None if they are not installed."""
    return next((path for path in FOLDERS if (path / "article.toml").is_file()), None)


def titles() -> dict[str, str]:
    """Title of each example by its name, the article's first."""
    home = folder()
    names = sorted(path.stem for path in home.glob("*.toml")) if home else []
    names.sort(key=lambda name: name != "article")
    return {name: _title(path) for name in names if (path := example(name))}


def _title(path: Path) -> str:
    found = TITLE.search(path.read_text(encoding="utf-8"))
    return found[1] if found else path.stem


def example(name: str) -> Path | None:
    """The file of an example by its name, such as ``article``; None if there is none."""
    home = folder()
    if home is None or not re.fullmatch(r"\w{1,50}", name):
        return None
    path = home / f"{name}.toml"
    return path if path.is_file() else None


def file_or_example(path: Path) -> Path:
    """The path itself if it exists, else the example of that name if there is one."""
    try:
        exists = path.exists() and not (path.is_dir() and example(str(path)))
    except (OSError, ValueError):  # no possible file name
        return path
    return path if exists else example(str(path)) or path


def copy_example(path: Path, target: Path) -> list[Path]:
    """Copy an example, and the files that it names, into another folder.

    Args:
        path (Path): File of the example, as of :func:`example`.
        target (Path): File to write; its folder exists. Existing files are not replaced.

    Raises:
        FileExistsError: The target exists.
        OSError: A file can't be written.
    """
    import shutil

    text = path.read_text(encoding="utf-8")
    with target.open("x", encoding="utf-8") as file:
        file.write(text)
    written = [target]
    for name in dict.fromkeys([SCHEMA, *FILE_NAME.findall(text)]):
        source, copy = path.parent / name, target.parent / name
        if source.is_file() and not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
            written.append(copy)
    return written
