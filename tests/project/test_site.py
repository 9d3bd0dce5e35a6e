"""The documentation site: every model, key and command has its place, and every link resolves.

Tests that build the site are skipped where the ``docs`` extra is not installed.
"""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import catalogue
import depths
import pictures
import pytest
import reference

import mtpsim
from mtpsim.acceptance import MODELS
from mtpsim.cli.main import COMMANDS
from mtpsim.config.adaptive import Adaptive
from mtpsim.config.experiment import Decision
from mtpsim.config.simulation import Simulation, TheorySpec
from mtpsim.config.uncertainty import InputUncertainty, Uncertainty
from mtpsim.latency import COSTS
from mtpsim.latency.noise import KINDS
from mtpsim.policy import RULES

SECTIONS = [Simulation, TheorySpec, Decision, Adaptive, Uncertainty, InputUncertainty]
CATALOGUE = {"models": MODELS, "latency": COSTS, "policies": RULES}
FAULTS = {
    "[dead link](nowhere.md)": "cross-reference target not found: 'nowhere.md'",
    "[dead link](../folder)": "cross-reference target not found: '../folder'",
    "[dead anchor](index.md#nowhere)": "local id not found in doc 'docs/index': 'nowhere'",
    "![dead picture](nowhere.png)": "image file not readable: docs/nowhere.png",
    "```{toctree}\nmissing\n```": "reference to nonexisting document 'docs/missing'",
}


def build(source, out):
    """Build the site as CI does; warnings are errors."""
    pytest.importorskip("myst_nb")
    pytest.importorskip("pydata_sphinx_theme")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "docs"]
    built = [*command, "-d", out / "doctrees", source, out / "html"]
    return subprocess.run(built, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Text of every page, by its path on the site."""
    out = tmp_path_factory.mktemp("site")
    built = build(".", out)
    assert built.returncode == 0, built.stderr
    folder = out / "html"
    pages = [page for page in folder.rglob("*.html") if "_static" not in page.parts]
    return folder, {page: page.read_text() for page in pages}


def test_links_between_pages_resolve(site):
    folder, pages = site
    ids = {page: set(re.findall(r'\bid="([^"]+)"', text)) for page, text in pages.items()}
    dead, links = [], 0
    for page, text in pages.items():
        for link in re.findall(r'\b(?:href|src)="([^"]*)"', text):
            path, _, anchor = unquote(link).partition("#")
            if re.match(r"[a-z]+:", link) or not link:
                continue
            target = (page.parent / path.partition("?")[0]).resolve() if path else page
            found = target.is_file() and (not anchor or anchor in ids.get(target, ()))
            dead += [] if found else [(page.relative_to(folder), link)]
            links += 1
    assert dead == []
    assert links > 3000


def test_every_page_and_public_name_is_on_the_site_and_nothing_is_fetched(site):
    folder, pages = site
    folders = Path(), Path("verification"), Path("benchmarks")
    sources = [*Path("docs").rglob("*.md"), *Path("notebooks").glob("*.ipynb")]
    sources += [path for place in folders for path in place.glob("*.md")]
    assert [one for one in sources if folder / one.with_suffix(".html") not in pages] == []
    for text in pages.values():
        assert not re.search(r'<(?:script|link|img)\b[^>]*\b(?:src|href)="https?:', text)
    assert 'href="docs/experiments.html#batch"' in pages[folder / "README.html"]
    api = pages[folder / "docs/reference/api.html"]
    names = [name for name in mtpsim.__all__ if not name.startswith("_")]
    assert [name for name in names if f'id="mtpsim.{name}"' not in api] == []


def test_a_fault_fails_the_build(tmp_path):
    """Negative control."""
    folder = tmp_path / "source" / "docs"
    folder.mkdir(parents=True)
    (tmp_path / "source" / "folder").mkdir()
    (folder / "orphan.md").write_text("# In no table of contents\n")
    (folder / "index.md").write_text("# Faults\n\n" + "\n\n".join(FAULTS))
    built = build(folder.parent, tmp_path)
    assert built.returncode == 1
    messages = re.sub(r"\x1b\[[\d;]*m", "", built.stderr)
    expected = [*FAULTS.values(), "document isn't included in any toctree"]
    assert [message for message in expected if message not in messages] == []


@pytest.fixture(scope="module")
def generated():
    """The generated Markdown, without drawing the pictures."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("chain", "noise", "latency", "policy", "budget"):
            patch.setattr(pictures, f"{name}_picture", lambda *args, **keywords: "<svg/>")
        timeline = {"policies": {name: {} for name in RULES}}
        served = {"timeline": [{"name": name} for name in RULES]}
        point = {"adaptive": {"timeline": timeline}, "serving": served}
        result = type("Played", (), {"points": [point]})
        patch.setattr(mtpsim, "run", lambda experiment: result)
        return {name: getattr(catalogue, name)() for name in [*CATALOGUE, "noise", "experiments"]}


@pytest.mark.parametrize("page", CATALOGUE)
def test_every_kind_has_its_keys_an_example_and_a_picture(page, generated):
    for name, kind in CATALOGUE[page].items():
        (section,) = re.findall(rf"^## `{name}`$.*?(?=^## |\Z)", generated[page], re.M | re.S)
        naming = {"model", "rule", *(["name"] if page == "policies" else [])}
        for key in kind.model_fields.keys() - naming:
            assert f"| `{key}` |" in section, f"{name}: {key}"
        assert section.count("```toml") == section.count("<img ") == 1


def test_rules_of_one_module_describe_it_once(generated):
    assert generated["policies"].count("AdaptiveVerificationManager") == 1
    assert generated["policies"].count("AssistedCandidateGenerator") == 1


def test_every_noise_and_experiment_has_a_section(generated):
    assert re.findall(r"^### `(\w+)`$", generated["noise"], re.M) == [*KINDS, "samples"]
    stems = sorted(path.stem for path in Path("experiments").glob("*.toml"))
    assert re.findall(r"^## `(\w+)`$", generated["experiments"], re.M) == stems
    assert "\n\n**Expect:** " in generated["experiments"]


def test_model_reference_prints_the_numbers_of_the_chain(generated):
    (section,) = re.findall(r"^## `regime`$.*?(?=^## )", generated["models"], re.M | re.S)
    for row in ("states 2", "clock token", "accept 0.9000 0.8500 0.8000", "step 0.9500 0.0500"):
        assert re.search(row.replace(" ", " +"), section), row


def test_every_key_of_every_section_is_in_the_reference():
    text = reference.keys()
    for model in SECTIONS:
        for key, field in model.model_fields.items():
            rows = [line for line in text.splitlines() if line.startswith(f"| `{key}` |")]
            parts = [(field.description or "").replace("|", "\\|")]
            if type(field.default) in (int, float):
                parts.append(f"| `{field.default}` |")
            assert any(all(part in row for part in parts) for row in rows), key
    for name in (*MODELS, *COSTS, *RULES):
        assert f"[`{name}`]" in text


def test_types_in_the_reference_are_plain_english():
    for kind, row in [
        (MODELS["regime"], "| `rates` | list of 2 or more lists of numbers >= 0 and <= 1 |"),
        (MODELS["regime"], '| `clock` | `"round"` or `"token"` |'),
        (MODELS["decay"], "| `depth` | integer >= 1 and <= 64 |"),
        (COSTS["times"], "| `draft` | number, list by depth or `{ base, per_token }` or noise |"),
    ]:
        assert row in reference.table(kind)


def test_commands_and_their_options_are_in_the_reference():
    text = reference.command()
    assert [name for name in COMMANDS if f"\n## {name}\n" not in text] == []
    assert "| `--seed N` |" in text


def test_pictures_have_labels():
    svg = pictures.policy_picture(depth=[1, 2, 3], accepted=[1, 0, 3], state=[0, 1, 0])
    assert "round (shaded: hard text)" in svg


def test_the_replay_of_the_guide_holds_the_truth_and_the_closed_form_does_not():
    truth, found, closed = depths.predictions()
    for one in found:
        assert one.workload.low < truth[one.depth] < one.workload.high
        assert one.workload.mean == pytest.approx(truth[one.depth], rel=0.01)
    off = abs(closed["conditional"] / truth - 1)
    assert min(off[1], off[-1]) > 0.03
