"""Links of pages: where a file of the repository went on the site."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

MOVED = {
    "README.md": "index.md",
    "README.zh.md": "zh.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "experiments": "experiments.md",
    "mtpsim/acceptance": "catalogue/models.md",
    "mtpsim/latency": "catalogue/latency.md",
    "mtpsim/policy": "catalogue/policies.md",
    "mtpsim/config/experiment.py": "reference/keys.md",
    "mtpsim/cli/main.py": "reference/command.md",
    "mtpsim/__init__.py": "reference/api.md",
}
HOMES = {page: path for path, page in MOVED.items()}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def site_path(path: str) -> tuple[str, str]:
    """The page that a file of the repository became, and the place on it."""
    if path in MOVED:
        return MOVED[path], ""
    if re.fullmatch(r"experiments/\w+\.toml", path):
        return "experiments.md", "#" + Path(path).stem
    return path.removeprefix("docs/"), ""


def relink(markdown: str, page: str, in_docs: bool) -> str:
    """Let links to files of the repository lead to the pages that they became.

    Args:
        markdown: of the page.
        page: where it is on the site.
        in_docs: whether it stands in docs/ and not elsewhere in the repository.

    """
    home = posixpath.dirname(f"docs/{page}" if in_docs else HOMES.get(page, page))

    def moved(link: re.Match[str]) -> str:
        mark, text, target, place = link[1], link[2], link[3], link[4] or ""
        if ":" in target:
            return link[0]
        path, found = site_path(posixpath.normpath(posixpath.join(home, target)))
        path = posixpath.relpath(path, posixpath.dirname(page) or ".")
        if mark and path.endswith(".svg"):
            return indistinguishable(text, path)
        return f"{mark}[{text}]({path}{place or found})"

    return LINK.sub(moved, markdown)


def indistinguishable(text: str, path: str) -> str:
    """A picture for a light page, and the same for a dark one."""
    dark = path.replace(".svg", "-dark.svg")
    return f"![{text}]({path}#only-light)![{text}]({dark}#only-dark)"
