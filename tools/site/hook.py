"""What MkDocs does besides rendering docs/: pages from the code, pages from elsewhere, links.

A page of the repository links to files as they lie there, so that it reads well where the
repository is browsed. On the site such a link leads to the page that the file became; a link to a
room of the code leads to the page that is made from it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import catalogue
import gallery
import reference
from links import MOVED, relink
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pictures import darker

ROOT = Path(__file__).parents[2]
FROM_CODE = ("catalogue/", "reference/", "experiments.md")
ELSEWHERE = ("verification/*.md", "benchmarks/*.md", "CITATION.cff", "LICENSE")
ROLE = re.compile(r":(?:class|func|meth|mod|attr):(?=<code>)")
FETCHED = re.compile(r'<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)="(https?:[^"]+)"')
log = logging.getLogger("mkdocs.hooks.mtpsim")


def on_config(config: Any) -> Any:
    """Patterns in the menu stand for the files that there are."""
    for section in config.nav:
        (title,) = section
        found: list[Any] = []
        for entry in section[title]:
            pattern = isinstance(entry, str) and "*" in entry
            paths = sorted(ROOT.glob(entry)) if pattern else []
            found += [path.relative_to(ROOT).as_posix() for path in paths] if pattern else [entry]
        section[title] = found
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that do not stand in docs/."""
    for uri, content in [*_from_elsewhere(), *_from_code(), *_darker(files)]:
        files.append(File.generated(config, uri, content=content))
    return files


def _from_elsewhere() -> Iterator[tuple[str, str]]:
    for path in ROOT.glob("*.md"):
        if path.name in MOVED:
            yield MOVED[path.name], path.read_text(encoding="utf-8")
    for pattern in ELSEWHERE:
        for path in ROOT.glob(pattern):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def _from_code() -> Iterator[tuple[str, str]]:
    yield "experiments.md", gallery.page(ROOT / "experiments")
    yield "reference/keys.md", reference.keys()
    yield "reference/command.md", reference.command()
    yield "reference/api.md", reference.api()
    yield from catalogue.models(ROOT)
    yield from catalogue.latency(ROOT)
    yield from catalogue.policies()


def _darker(files: Files) -> Iterator[tuple[str, str]]:
    for file in list(files):
        if file.src_uri.startswith("pictures/") and file.src_uri.endswith(".svg"):
            yield file.src_uri.replace(".svg", "-dark.svg"), darker(file.content_string)


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Links to files of the repository become links to pages."""
    uri = page.file.src_uri
    if uri.startswith(FROM_CODE):
        return markdown
    return relink(markdown, uri, in_docs=not page.file.generated_by)


def on_page_content(html: str, **_: Any) -> str:
    """Docstrings say :func:`load`; a reader of the site needs the name alone."""
    return ROLE.sub("", html)


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Warn of what a reader's browser would fetch from elsewhere."""
    for address in FETCHED.findall(output):
        log.warning("%s fetches %s", page.file.src_uri, address)
    return output
