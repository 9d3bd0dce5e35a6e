"""README, its translation, docs/ and CITATION.cff agree with the code and each other."""

import doctest
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

import mtpsim
from mtpsim.acceptance import MODELS
from mtpsim.acceptance.base import RatesModel
from mtpsim.cli.main import _parser
from mtpsim.config.adaptive import Adaptive
from mtpsim.config.experiment import parse
from mtpsim.config.serving import Serving
from mtpsim.config.simulation import Simulation, TheorySpec
from mtpsim.config.uncertainty import InputUncertainty, Uncertainty
from mtpsim.fit.candidates import candidates
from mtpsim.latency import COSTS
from mtpsim.logs import FORMATS
from mtpsim.policy import RULES
from mtpsim.runs.export import export

README = Path("README.md").read_text()
REFERENCE = Path("docs/experiment.md").read_text()
(README_EXPERIMENT,) = re.findall(r"```toml\n(.*?)```", README, re.S)
DOCUMENTS = [Path(f"{name}.md") for name in ("README", "README.zh", "CONTRIBUTING")]
DOCUMENTS += sorted(Path("docs").rglob("*.md"))
SECTIONS = dict(re.findall(r"^## \[(\w+)\]\n(.*?)(?=^## |\Z)", REFERENCE, re.M | re.S))
COMMAND = re.compile(r"^    (?:.*&& )?\S*python -m mtpsim ([a-z].*?)(?: +#.*)?$", re.M)
SYNOPSIS = re.compile(r"[\[\]|]| \.\.\.|[A-Z]+\.\.\.| (?:FILE|RUN|VERB|LOG)\b")


def test_readme_python_examples():
    block = "".join(re.findall(r"```python\n(.*?)```", README, re.S))
    test = doctest.DocTestParser().get_doctest(block, {}, "README", "README.md", 0)
    runner = doctest.DocTestRunner()
    runner.run(test)
    assert runner.summarize().failed == 0
    assert runner.summarize().attempted >= 7


def test_output_in_readme_and_guide_is_what_the_run_prints():
    (shown,) = re.findall(r"```text\n(.*?)```", README, re.S)
    printed = str(mtpsim.run(mtpsim.load("experiments/article.toml")))
    assert shown.splitlines() == [line.rstrip() for line in printed.splitlines()]
    guide = Path("docs/guides/turn_it_off.md").read_text()
    (excerpt,) = re.findall(r"```text\n(.*?)```", guide, re.S)
    assert excerpt in shown


def test_output_in_the_guide_to_batch_sizes_is_what_the_run_and_the_export_print():
    guide = Path("docs/guides/batch_size.md").read_text()
    (text,), (config,) = (re.findall(rf"```{k}\n(.*?)```", guide, re.S) for k in ("text", "json"))
    result = mtpsim.run(mtpsim.load("experiments/batch.toml"))
    assert " ".join(text.split()) in " ".join(str(result).split())
    exported = export(result, "vllm-schedule", ["latency.cached=0"])
    assert json.loads(exported) == json.loads(config)


def test_gains_in_the_guide_to_turning_it_off_are_those_of_the_runs():
    guide = Path("docs/guides/turn_it_off.md").read_text().partition("both 0 |")[2]
    shown = dict(re.findall(r"^\| `(\w+)`.*?((?: \| -?[\d.]+){3}) \|$", guide, re.M))
    rules = '{ rule = "adaptive_k", probe = 8 }, "oracle", "clairvoyant"'
    experiment = mtpsim.load("experiments/policies.toml", [f"adaptive.policies=[{rules}]"])
    found = dict.fromkeys(("adaptive_k", "oracle", "clairvoyant"), "")
    for overhead, resumed in ((0, 0), (0.15, 0), (0.15, 0.146)):
        changes = {"latency.overhead_off": overhead, "adaptive.resumed": resumed}
        (point,) = mtpsim.run(experiment.changed(changes, policies=True)).points
        for policy in point["adaptive"]["policies"]:
            found[policy["name"]] += f" | {100 * (policy['gain']['mean'] - 1):.1f}"
    assert shown == found


@pytest.mark.parametrize(
    ("guide", "base"), [("adapt", "article"), ("batch_size", "batch"), ("is_it_real", "article")]
)
def test_sections_in_guides_are_valid(guide, base):
    (section,) = re.findall(r"```toml\n(.*?)```", Path(f"docs/guides/{guide}.md").read_text(), re.S)
    parse(Path(f"experiments/{base}.toml").read_text().partition("[sweep]")[0] + section)


def test_readme_experiment_is_valid():
    assert parse(README_EXPERIMENT).acceptance.chain().clock == "token"


def row(section, name):
    """The table row of a key or a kind."""
    (found,) = [line for line in SECTIONS[section].splitlines() if line.startswith(f"| `{name}`")]
    return found


@pytest.mark.parametrize(
    ("section", "model"),
    [
        ("simulation", Simulation),
        ("theory", TheorySpec),
        ("adaptive", Adaptive),
        ("serving", Serving),
    ],
)
def test_sections_list_every_key_with_its_default(section, model):
    for key, field in model.model_fields.items():
        assert f"`{key}`" in SECTIONS[section]
        if isinstance(field.default, float):
            assert f"| {field.default:g} |" in row(section, key)


def test_tables_of_models_and_policies_list_every_key_and_default():
    for group, kinds in (("acceptance", MODELS), ("adaptive", RULES)):
        for name, kind in kinds.items():
            section = "serving" if getattr(kind, "shares_budget", False) else group
            text = row(section, name)
            shared = {"model", "rule", "name"} | (
                set(RatesModel.model_fields) if "` R |" in text else set()
            )
            if name == "independent":
                shared.add("clock")  # makes no difference
            for key in kind.model_fields.keys() - shared:
                constant = key == "rates_are" and key not in text  # the only possible value
                assert constant or f"`{key}`" in text or f"`{key} =" in text, f"{name}: {key}"
            for key, field in kind.model_fields.items() if kinds is RULES else ():
                if type(field.default) in (int, float):
                    assert f"({field.default:g}" in text, f"{name}: {key}"


def test_cost_models_and_uncertain_inputs_are_listed_with_their_keys():
    for name, model in COSTS.items():
        assert f"| `{name}` |" in SECTIONS["latency"]
        assert [key for key in model.model_fields if f"`{key}`" not in SECTIONS["latency"]] == []
    for key in ("draws", *InputUncertainty.model_fields):
        assert f"`{key}`" in SECTIONS["uncertainty"]


@pytest.mark.parametrize("section", ["adaptive", "uncertainty", "robust", "sweep"])
def test_examples_of_sections_are_valid(section):
    pattern = rf"(?:^    .*\n)*^    \[{section}.*\n(?:^    .*\n)*"
    (block,) = re.findall(pattern, SECTIONS[section], re.M)
    table = tomllib.loads(re.sub(r"^    ", "", block, flags=re.M))[section]
    models = {"adaptive": Adaptive, "uncertainty": Uncertainty}
    if section in models:
        models[section].model_validate(table)
    assert table


def test_result_page_lists_every_key_of_policies():
    section = Path("docs/result.md").read_text().partition("### `adaptive`")[2]
    text = README_EXPERIMENT + '\n[adaptive]\npolicies = ["heuristic"]\n'
    found = mtpsim.run(parse(text, overrides=["simulation.precision=0.05"])).points[0]["adaptive"]
    for key in (*found, *found["policies"][0], *found["timeline"]):
        assert f"`{key}`" in section, key


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_links_and_commands_in_documents_are_valid(path):
    text = path.read_text()
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert "://" in target or (path.parent / target).exists(), target
    for command in COMMAND.findall(text):
        if not SYNOPSIS.search(command):
            words = shlex.split(command.partition(" > ")[0])
            _parser().parse_args(words)  # exits if it is invalid
            assert [w for w in words if w.startswith("experiments/") and not Path(w).exists()] == []


def test_an_invalid_command_is_found():
    """Negative control."""
    text = "    python -m mtpsim run experiments/article.toml --seeds=1  # no\n"
    (command,) = COMMAND.findall(text)
    with pytest.raises(SystemExit):
        _parser().parse_args(shlex.split(command))


def test_logs_page_lists_every_format_and_candidate():
    text = Path("docs/logs.md").read_text()
    names = [*FORMATS, *(candidate.name for candidate in candidates(3))]
    assert [name for name in names if f"`{name}`" not in text] == []
    assert f"[{len(FORMATS)} formats]" in README


CHINESE = Path("README.zh.md").read_text()
FENCE = re.compile(r"^```.*?^```$", re.S | re.M)
INDENTED = re.compile(r"(?:^ {4}.*\n)+", re.M)
NUMBER = re.compile(r"(?<![\w.])\d*\.?\d+(?![\w.]*\w)")


def code_of(text):
    """Fenced and indented blocks, and code in backticks outside of them."""
    blocks = FENCE.findall(text) + INDENTED.findall(FENCE.sub("", text))
    return blocks, re.findall(r"`[^`\n]+`", prose(text))


def prose(text):
    return INDENTED.sub("", FENCE.sub("", text))


def links(text):
    """Sorted targets; the link to the other README counts as the same."""
    found = re.findall(r"\]\(([^)]+)\)", prose(text))
    return sorted("the other" if link.startswith("README") else link for link in found)


def table_rows(text):
    """Numbers and code of each cell of each table row."""

    def parts(cell):
        return sorted(NUMBER.findall(cell)), sorted(code_of(cell)[1])

    lines = [line.strip("|") for line in prose(text).splitlines() if line.startswith("|")]
    return [list(map(parts, re.split(r"(?<!\\)\|", line))) for line in lines]


def differences(one, other):
    """Parts that differ between two READMEs."""
    parts = {
        "headings": lambda text: re.findall(r"^#+ ", prose(text), re.M),
        "blocks of code": lambda text: code_of(text)[0],
        "code within sentences": lambda text: sorted(code_of(text)[1]),
        "links": links,
        "tables": table_rows,
        "paragraphs": lambda text: len(re.findall(r"\n\n(?=\S)", FENCE.sub("x", text))),
    }
    return [name for name, part in parts.items() if part(one) != part(other)]


def test_both_readmes_agree():
    assert differences(README, CHINESE) == []
    assert len(links(README)) >= 25
    assert sum(bool(numbers) for row in table_rows(README) for numbers, _ in row) >= 6


@pytest.mark.parametrize(
    ("before", "after", "difference"),
    [
        ("mtpsim run experiments/article", "mtpsim run experiments/other", "blocks of code"),
        ("verify = [90, 104, 117]", "verify = [90, 104, 118]", "blocks of code"),
        ("## The command", "### The command", "headings"),
        ("(docs/logs.md)", "(docs/log.md)", "links"),
        ("69 %", "96 %", "tables"),
        ("`rates_are`", "`rates`", "code within sentences"),
        ("Changes: [", "\n\nChanges: [", "paragraphs"),
    ],
)
def test_a_change_in_one_readme_is_found(before, after, difference):
    """Negative controls."""
    assert before in README
    assert difference in differences(README.replace(before, after), CHINESE)


def test_sentences_are_in_chinese_with_chinese_punctuation():
    text = re.sub(r"`[^`\n]*`|\]\([^)]*\)", "", prose(CHINESE))
    for line in text.splitlines():
        if len(re.sub(r"[\d.|x -]", "", line)) > 40:
            assert len(re.findall(r"[\u4e00-\u9fff]", line)) > 8, line
        assert not re.search(r"[\u4e00-\u9fff][,;:?]", line), line


REQUIRED = {"cff-version", "message", "title", "authors"}
OPTIONAL = {"type", "abstract", "version", "license", "keywords"}  # those of the format in use


def test_citation_has_valid_keys_and_the_values_of_the_package():
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    cited = yaml.safe_load(Path("CITATION.cff").read_text())
    assert cited.keys() == REQUIRED | OPTIONAL
    assert (cited["cff-version"], cited["type"]) == ("1.2.0", "software")
    assert cited["version"] == project["version"] == mtpsim.__version__
    assert cited["license"] == project["license"] == "Apache-2.0"
    assert cited["keywords"] == project["keywords"]
    assert [author.keys() for author in cited["authors"]] == [{"name"}]
    assert all(type(cited[key]) is str and cited[key] for key in ("message", "title", "abstract"))


LOG = Path("experiments/logs/samples/rounds.jsonl")


@pytest.mark.parametrize("keyword", ["on_progress", "told"])
def test_progress_callback_by_both_names(keyword):
    calls = []
    log = mtpsim.read_logs([LOG], **{keyword: lambda *progress: None})  # too short to report any
    mtpsim.fit_log(log, only=["independent"], **{keyword: lambda *step: calls.append(step)})
    assert calls
