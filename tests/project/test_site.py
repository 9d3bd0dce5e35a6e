"""What the site adds to docs/: every model, policy, law and key has its place there."""

import re
from pathlib import Path

import catalogue
import gallery
import numpy as np
import pictures
import pytest
import reference
from links import MOVED, relink
from play import EASY, SHIFT, play

from mtpsim.acceptance import MODELS
from mtpsim.config.adaptive import Adaptive
from mtpsim.config.experiment import Decision
from mtpsim.config.simulation import Simulation
from mtpsim.config.uncertainty import InputUncertainty, Uncertainty
from mtpsim.formula.rate_definitions import TheorySpec
from mtpsim.latency import COSTS
from mtpsim.latency.noise import KINDS
from mtpsim.policy import RULES

ROOT = Path()
SECTIONS = [Simulation, TheorySpec, Decision, Adaptive, Uncertainty, InputUncertainty]


@pytest.fixture(scope="module")
def pages():
    """The catalogue, its pictures not drawn."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("chain", "noise", "latency", "policy"):
            patch.setattr(pictures, f"{name}_picture", lambda *given: "<svg/>")
        return {
            **dict(catalogue.models(ROOT)),
            **dict(catalogue.latency(ROOT)),
            **dict(catalogue.policies()),
        }


KINDS_OF = {
    "models": MODELS,
    "latency": {**COSTS, **catalogue.NOISES},
    "policies": RULES,
}


@pytest.mark.parametrize("page", KINDS_OF)
def test_every_kind_has_its_keys_an_example_and_a_picture(page, pages):
    text = pages[f"catalogue/{page}.md"]
    for name, kind in KINDS_OF[page].items():
        (section,) = re.findall(rf"^##+ `{name}` .*?(?=^##|\Z)", text, re.M | re.S)
        naming = {"model", "rule", "distribution", *(["name"] if page == "policies" else [])}
        for key in kind.model_fields.keys() - naming:
            assert f"| `{key}` |" in section, f"{name}: {key}"
        assert section.count("```toml") == 1
        for picture in re.findall(r"\]\(([^)#]+)", section):
            assert f"catalogue/{picture}" in pages
        assert section.count("#only-dark") == 1


def test_every_law_of_noise_is_there():
    assert list(catalogue.NOISES) == [*KINDS, "samples"]


def test_an_example_that_is_missing_is_told(monkeypatch):
    monkeypatch.setattr(catalogue, "examples", lambda: {})
    with pytest.raises(KeyError, match="give an example"):
        next(catalogue.models(ROOT))


def test_a_chain_is_shown_as_it_is(pages):
    (section,) = re.findall(r"^## `regime` .*?(?=^## )", pages["catalogue/models.md"], re.M | re.S)
    for line in ("states   2", "clock    token", "accept   0.9000  0.8500  0.8000"):
        assert line in section
    assert "step     0.9500  0.0500\n         0.0500  0.9500\n" in section


def test_every_key_of_every_section_is_in_the_reference():
    text = reference.keys()
    for model in SECTIONS:
        for key, field in model.model_fields.items():
            (row,) = {line for line in text.splitlines() if line.startswith(f"| `{key}` |")}
            if type(field.default) in (int, float):
                assert f"| `{field.default}` |" in row
            if field.description:
                assert field.description.replace("|", "\\|") in row
    for name in (*MODELS, *COSTS, *RULES):
        assert f"[`{name}`]" in text


@pytest.mark.parametrize(
    ("model", "key", "said"),
    [
        ("regime", "rates", "list of lists of numbers from 0 to 1, at least 2"),
        ("regime", "clock", '`"round"` or `"token"`'),
        ("decay", "depth", "whole number from 1 to 64"),
        ("mixture", "parts", "list of tables of `weight`, `slowdown` and `of`, at least 2"),
    ],
)
def test_types_in_words(model, key, said):
    assert f"| `{key}` | {said} |" in reference.table(MODELS[model])


def test_times_and_noise_in_words():
    table = reference.table(COSTS["times"])
    assert "| `draft` | number, list by depth or `{ base, per_token }` or noise |" in table
    assert "| `noise` | noise |" in table


def test_every_verb_and_public_name_is_there():
    text = reference.command()
    for verb in ("run", "check", "fit", "plan", "merge", "show", "sample", "export", "schema"):
        assert f"\n## {verb}\n" in text
    assert "| `--seed N` |" in text
    api = reference.api()
    for name in ("load", "parse", "run", "Experiment", "Result", "InputError", "ExecutorChoice"):
        assert f".{name}\n" in api


def test_every_experiment_opens_with_its_words():
    text = gallery.page(Path("experiments"))
    for path in Path("experiments").glob("*.toml"):
        assert f"{{ #{path.stem} }}" in text
    assert "\n\n**Expect:** depth 2 is fastest" in text


@pytest.mark.parametrize(
    ("page", "in_docs", "link", "became"),
    [
        ("index.md", False, "docs/scale.md", "scale.md"),
        ("index.md", False, "experiments/batch.toml", "experiments.md#batch"),
        ("index.md", False, "experiments", "experiments.md"),
        ("statistics.md", True, "../verification/fit.md", "verification/fit.md"),
        ("guides/adapt.md", True, "../../mtpsim/policy", "../catalogue/policies.md"),
        ("guides/adapt.md", True, "../result.md#by-batch", "../result.md#by-batch"),
        ("verification/fit.md", False, "../docs/statistics.md", "../statistics.md"),
        ("index.md", False, "https://example.org/a.md", "https://example.org/a.md"),
    ],
)
def test_links_lead_to_pages(page, in_docs, link, became):
    assert relink(f"[x]({link})", page, in_docs) == f"[x]({became})"


def test_what_pages_came_from_is_there():
    assert [path for path in MOVED if not Path(path).exists()] == []


def test_a_picture_gets_a_dark_twin():
    became = relink("![x](pictures/round.svg)", "concepts.md", True)
    assert became == "![x](pictures/round.svg#only-light)![x](pictures/round-dark.svg#only-dark)"
    for path in Path("docs/pictures").glob("*.svg"):
        colors = set(re.findall(r"#[0-9a-f]{6}", path.read_text()))
        assert colors <= {color.lower() for color in pictures.DARK}, path
        assert pictures.PAPER not in pictures.darker(path.read_text())


def test_pictures_are_drawn_in_colours_that_have_a_dark_twin():
    svg = pictures.policy_picture(np.array([1, 2, 3]), np.array([1, 0, 3]), np.array([0, 1, 0]), 3)
    known = {color.lower() for color in pictures.DARK}
    assert set(re.findall(r"#[0-9a-f]{6}", svg)) <= known
    assert "round; shaded where the text is hard" in svg


def test_policies_are_played_on_one_text():
    depth, accepted, hard = play({"rule": "fixed", "depth": 3})
    assert (depth == 3).all()
    assert accepted[hard == 0].mean() > accepted[hard == 1].mean() + 1
    heuristic = play({"rule": "heuristic"})
    settled = [heuristic[0][start + 5 : start + SHIFT].mean() for start in (0, SHIFT, 2 * SHIFT)]
    assert settled[0] > settled[1] + 1 < settled[2]
    full = play({"rule": "fixed", "depth": len(EASY)})
    assert (full[1] >= accepted).all()
    assert (np.minimum(full[1], 3) == accepted).all()  # the same drafts would be accepted


def test_the_clairvoyant_wastes_no_draft():
    depth, accepted, _ = play({"rule": "clairvoyant"})
    assert (depth == accepted).all()
