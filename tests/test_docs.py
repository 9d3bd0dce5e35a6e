"""What the documents show is what the software does."""

import doctest
import re
import tomllib
from pathlib import Path

import pytest

import mtpsim
from mtpsim.experiment import Simulation, parse

README = Path("README.md").read_text()
DOCUMENTS = [Path("README.md"), Path("CONTRIBUTING.md"), *sorted(Path("docs").glob("*.md"))]


def test_readme_python_examples():
    parser = doctest.DocTestParser()
    (block,) = re.findall(r"```python\n(.*?)```", README, re.S)
    test = parser.get_doctest(block, {}, "README", "README.md", 0)
    runner = doctest.DocTestRunner()
    runner.run(test)
    assert runner.summarize().failed == 0
    assert runner.summarize().attempted >= 7


def test_readme_table_is_what_the_run_prints():
    (shown,) = re.findall(r"```text\n(.*?)```", README, re.S)
    result = mtpsim.run(mtpsim.load("experiments/article.toml"))
    printed = [line.rstrip() for line in str(result).splitlines()]
    assert shown.splitlines() == printed


def test_readme_experiment_is_valid():
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.S)
    assert parse(block).acceptance.chain().clock == "token"


def test_reference_names_every_key_of_simulation_with_its_default():
    text = Path("docs/experiment.md").read_text()
    for name, field in Simulation.model_fields.items():
        assert f"`{name}`" in text
        if isinstance(field.default, float):
            assert f"| {field.default:g} |" in text


def test_reference_sweep_is_toml():
    text = Path("docs/experiment.md").read_text()
    block = text[text.index("    [sweep]") :].replace("\n    ", "\n")
    assert len(tomllib.loads(block.strip())["sweep"]) == 2


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target
