"""Settings of the documentation site: ``python -m sphinx -W --keep-going -c docs . build/site``.

The source directory is the repository itself, so that relative links between pages, notebooks and
experiments are the same on GitHub and on the site.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # a few requests: no kernel needs compiling
sys.path[:0] = [str(ROOT), str(ROOT / "tools" / "site")]

import catalogue  # noqa: E402
import depths  # noqa: E402
import reference  # noqa: E402

project = "mtpsim"
author = copyright = "the mtpsim authors"
html_title = "mtpsim"
root_doc = "docs/index"
include_patterns = [
    *("docs/**.md", "README*.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "notebooks/*"),
    *("verification/*.md", "benchmarks/*.md"),
]
exclude_patterns = [".*", "build", "dist", "runs", "site", "notebooks/*.py", "**/node_modules"]

extensions = [
    *("sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_nb"),
    *("sphinx_design", "sphinx_copybutton"),
]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "attrs_inline"]
nb_execution_mode = "off"  # outputs are committed; notebooks/run.py compares them
nb_merge_streams = True
highlight_language = "text"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_class_signature = "mixed"
napoleon_use_rtype = False

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_extra_path = ["_extra"]  # index.html, which leads to docs/index.html
html_css_files = ["site.css"]
html_show_sourcelink = html_copy_source = False
PLAIN = (
    "docs/index",
    "docs/concepts",
    "docs/glossary",
    "README",
    "README.zh",
    "genindex",
    "search",
)
html_sidebars = {page: [] for page in PLAIN}  # pages without subpages
html_theme_options = {
    "logo": {"text": "mtpsim"},
    "header_links_before_dropdown": 9,
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": {"**": ["page-toc"], "docs/index": []},
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
}

GENERATED = {
    **{page.__name__: page for page in (catalogue.models, catalogue.latency, catalogue.noise)},
    **{page.__name__: page for page in (catalogue.policies, catalogue.experiments)},
    **{page.__name__: page for page in (catalogue.drafts, depths.depths)},
    **{page.__name__: page for page in (reference.keys, reference.command)},
}
TOCTREE = "\n```{{toctree}}\n:hidden:\n:glob:\n\n{}\n```\n"
SUBPAGES = {"notebooks/README": "[0-9]*", "verification/README": "[a-z]*"}


def read_source(app: Any, page: str, source: list[str]) -> None:
    """Fill in what is generated from the code, and let links to experiments lead to their page."""
    text = re.sub(
        r"\]\(((?:\.\./)*)experiments/(\w+)\.toml\)", r"](\1docs/experiments.md#\2)", source[0]
    )
    text = re.sub(r"```\{generated\} (\w+)\n```", lambda match: GENERATED[match[1]](), text)
    source[0] = text + (TOCTREE.format(SUBPAGES[page]) if page in SUBPAGES else "")


def setup(app: Any) -> None:
    """Connect to Sphinx."""
    app.connect("source-read", read_source)
