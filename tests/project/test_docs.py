"""What the documents show is what the software does."""

import doctest
import re
import shlex
import tomllib
from pathlib import Path

import pytest

import mtpsim
from mtpsim.acceptance import MODELS
from mtpsim.acceptance.base import RatesModel
from mtpsim.cli.main import _parser
from mtpsim.config.adaptive import Adaptive
from mtpsim.config.experiment import Simulation, parse
from mtpsim.config.sweep import combinations
from mtpsim.config.uncertainty import InputUncertainty
from mtpsim.fit.candidates import candidates
from mtpsim.formula.rate_definitions import TheorySpec
from mtpsim.latency import COSTS
from mtpsim.logs import FORMATS
from mtpsim.policy import RULES

README = Path("README.md").read_text()
(README_EXPERIMENT,) = re.findall(r"```toml\n(.*?)```", README, re.S)
ADAPTIVE = '\n[adaptive]\npolicies = ["heuristic"]\n'
REDUCED = ["simulation.precision=0.05"]
DOCUMENTS = [
    *(Path(name) for name in ("README.md", "README.zh.md", "CONTRIBUTING.md")),
    *sorted(Path("docs").rglob("*.md")),
]


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
    assert parse(README_EXPERIMENT).acceptance.chain().clock == "token"


def test_reference_names_every_key_of_simulation_with_its_default():
    text = Path("docs/experiment.md").read_text()
    for name, field in Simulation.model_fields.items():
        assert f"`{name}`" in text
        if isinstance(field.default, float):
            assert f"| {field.default:g} |" in text


def test_reference_sweep_is_toml():
    text = Path("docs/experiment.md").read_text()
    block = text[text.index("    [sweep]") :].replace("\n    ", "\n")
    sweep = tomllib.loads(block.partition("\n\nBlocks")[0].strip())["sweep"]
    assert len(list(combinations(sweep))) == 4


def test_reference_names_every_model_with_its_keys():
    text = Path("docs/experiment.md").read_text()
    for name, model in MODELS.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"| `{name}`")]
        shared = {"model", *RatesModel.model_fields} if "` R |" in line else {"model"}
        for key in model.model_fields.keys() - shared:
            fixed = key == "rates_are" and key not in line  # one value alone
            free = name == "independent" and key == "clock"  # makes no difference
            assert fixed or free or f"`{key}`" in line or f"`{key} =" in line, f"{name}: {key}"
    for key in TheorySpec.model_fields:
        assert f"| `{key}` |" in text


def test_reference_names_every_cost_model_with_its_keys():
    text = Path("docs/experiment.md").read_text()
    section = text[text.index("## [latency]") : text.index("## [simulation]")]
    for name, model in COSTS.items():
        assert f"| `{name}` |" in section
        for key in model.model_fields:
            assert f"`{key}`" in section, f"{name}: {key}"


def test_reference_names_every_key_of_uncertain_inputs():
    text = Path("docs/experiment.md").read_text()
    section = text[text.index("## [uncertainty]") : text.index("## [sweep]")]
    for key in ("draws", *InputUncertainty.model_fields):
        assert f"`{key}`" in section
    blocks = section.replace("\n    ", "\n").split("\n\n")
    examples = [tomllib.loads(block) for block in blocks if block.startswith("[")]
    assert [list(example) for example in examples] == [["uncertainty"], ["robust"]]
    for spread in examples[0]["uncertainty"]["inputs"].values():
        InputUncertainty.model_validate(spread)


def test_reference_names_every_policy_with_its_keys():
    text = Path("docs/experiment.md").read_text()
    section = text[text.index("## [adaptive]") : text.index("## [uncertainty]")]
    for name, policy in RULES.items():
        (line,) = [line for line in section.splitlines() if line.startswith(f"| `{name}` |")]
        for key, field in policy.model_fields.items():
            assert key in ("rule", "name") or f"`{key}`" in line or f"`{key} =" in line, key
            if type(field.default) in (int, float):
                assert f"({field.default:g}" in line, f"{name}: {key}"
    for key, field in Adaptive.model_fields.items():
        assert f"| `{key}` |" in section
        if isinstance(field.default, float):
            assert f"| `{key}` | {field.default:g} |" in section
    example = section[section.rindex("    [adaptive]") :].replace("\n    ", "\n").strip()
    Adaptive.model_validate(tomllib.loads(example)["adaptive"])


def test_result_page_names_what_the_document_has_of_policies():
    text = Path("docs/result.md").read_text()
    section = text[text.index("### `adaptive`") : text.index("## By batch")]
    found = mtpsim.run(parse(README_EXPERIMENT + ADAPTIVE, overrides=REDUCED))
    (point,) = found.points
    for key in (
        *point["adaptive"],
        *point["adaptive"]["policies"][0],
        *point["adaptive"]["timeline"],
    ):
        assert f"`{key}`" in section, key


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


COMMAND = re.compile(r"^    (?:.*&& )?\S*python -m mtpsim ([a-z].*?)(?: +#.*)?$", re.M)
FORM = re.compile(r"[\[\]|]| \.\.\.|[A-Z]+\.\.\.| (?:FILE|RUN|VERB|LOG)\b")  # not to be typed so


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_commands_are_those_that_there_are(path):
    for command in COMMAND.findall(path.read_text()):
        if FORM.search(command):
            continue
        given = shlex.split(command.partition(" > ")[0])
        _parser().parse_args(given)  # else it exits
        for word in given:
            if word.startswith("experiments/"):
                assert Path(word).exists(), word


def test_a_command_that_there_is_not_is_found():
    """Negative control."""
    (command,) = COMMAND.findall(
        "    python -m mtpsim run experiments/article.toml --seeds=1  # so\n"
    )
    with pytest.raises(SystemExit):
        _parser().parse_args(shlex.split(command))


def test_page_of_logs_names_every_format_and_candidate():
    text = Path("docs/logs.md").read_text()
    for name in [*FORMATS, *(candidate.name for candidate in candidates(3))]:
        assert f"`{name}`" in text, name
    assert f"[{_number(len(FORMATS))} formats]" in README


def _number(value):
    return {15: "fifteen", 16: "sixteen"}[value]
