"""The page of experiments: what each one shows, in the words that it opens with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

HEAD = """# Experiments to start from

Each is a file of `experiments/`; the tests hold all of them to the figures they promise.

    python -m mtpsim run experiments/article.toml
"""


def page(folder: Path) -> str:
    """All experiments, one a section."""
    return HEAD + "\n".join(_section(path) for path in sorted(folder.glob("*.toml")))


def _section(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    title = tomllib.loads(text).get("title", path.stem)
    comment, rest = _opening(text)
    return (
        f"\n## {title} {{ #{path.stem} }}\n\n{comment}\n\n"
        f'??? example "experiments/{path.name}"\n\n'
        + "\n".join(f"    {line}".rstrip() for line in ["```toml", *rest.splitlines(), "```"])
        + "\n"
    )


def _opening(text: str) -> tuple[str, str]:
    """The comment that the file opens with, as paragraphs, and the rest of the file."""
    lines = text.splitlines()
    count = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    said = [line[1:].removeprefix(" ") for line in lines[:count] if not line.startswith("#:")]
    comment = re.sub(r"\n(Expect:)", r"\n\n**\1**", "\n".join(said))
    return comment, "\n".join(lines[count:]).strip()
