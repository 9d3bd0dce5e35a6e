"""Reference pages that are made from the code: keys of the file, the command, the Python API."""

from __future__ import annotations

import argparse
import inspect
import json
import re
from typing import Any

import mtpsim
from mtpsim.acceptance import MODELS
from mtpsim.cli.main import _parser
from mtpsim.common.arrays import JsonDict
from mtpsim.config.experiment import Experiment
from mtpsim.latency import COSTS
from mtpsim.policy import RULES

NAMING = {"model", "rule", "distribution"}  # these say which section it is
TABLE = "| key | type | default | meaning |\n|---|---|---|---|\n"
HEAD = """# Every key of experiment.toml

Made from the code: what a section takes, of which type, and what it is without. How keys play
together is told in [experiment.toml](../experiment.md). `python -m mtpsim schema` prints the same
as JSON Schema, for editors.

"""
SHORT = {
    "PlusMinus": "`{ plus_minus }`",
    "Part": "tables of `weight`, `slowdown` and `of`",
}
KINDS = {
    "number": "number",
    "integer": "whole number",
    "string": "text",
    "boolean": "true or false",
}
MANY = {"number": "numbers", "whole number": "whole numbers", "text": "texts", "list": "lists"}
EACH = "Each has its own keys.\n"
BY_DEPTH = "number, list by depth or `{ base, per_token }`"
ENDLESS = 10**9  # a bound from here on is there for the machine's sake


def table(model: type[Any], hidden: frozenset[str] = frozenset()) -> str:
    """The keys of a section, but for those that only name it."""
    schema = model.model_json_schema()
    defs = schema.get("$defs", {})
    if "$ref" in schema:  # it may stand within itself
        schema = defs[schema["$ref"].rsplit("/", 1)[-1]]
    rows = []
    for key, prop in schema["properties"].items():
        if key in hidden | NAMING:
            continue
        required = key in schema.get("required", ())
        rows.append(_row(key, prop, defs, required))
    return TABLE + "".join(rows) if rows else "It has no keys of its own.\n"


def _row(key: str, prop: JsonDict, defs: JsonDict, required: bool) -> str:
    default = "**required**" if required else _value(prop.get("default"))
    meaning = prop.get("description", "")
    cells = (f"`{key}`", kind(prop, defs), default, meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _value(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return ""
    return f"`{json.dumps(value)}`"


def kind(prop: JsonDict, defs: JsonDict) -> str:
    """What may be given, in words."""
    if "$ref" in prop:
        name = prop["$ref"].rsplit("/", 1)[-1]
        return SHORT.get(name) or _named(name) or kind(defs[name], defs)
    for several in ("anyOf", "oneOf"):
        if several in prop:
            if {"$ref": "#/$defs/Slope"} in prop[several]:
                return BY_DEPTH
            parts = [kind(part, defs) for part in prop[several] if part.get("type") != "null"]
            return " or ".join(dict.fromkeys(parts))
    if prop.get("enum") == list(RULES):
        return "name of a policy"
    if "enum" in prop:
        return " or ".join(f"`{json.dumps(value)}`" for value in prop["enum"])
    if "const" in prop:
        return f"`{json.dumps(prop['const'])}`"
    if prop.get("type") == "array":
        each = kind(prop.get("items", {}), defs)
        for one, many in MANY.items():
            each = re.sub(rf"^{one}\b", many, each)
        return f"list of {each}{_length(prop)}"
    if prop.get("type") == "object":
        return "table"
    return KINDS.get(prop.get("type", ""), "any value") + _bounds(prop)


def _named(name: str) -> str:
    """Unions that have a name: one word for all of their members."""
    if name.endswith("Noise"):
        return "noise"
    if name in {model.__name__ for model in MODELS.values()}:
        return "acceptance model"
    if name in {model.__name__ for model in COSTS.values()}:
        return "times or cost model"
    return "policy" if name in {rule.__name__ for rule in RULES.values()} else ""


def _bounds(prop: JsonDict) -> str:
    """``from 0 below 1``."""
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to"}
    words["exclusiveMaximum"] = "below"
    found = [(word, prop[key]) for key, word in words.items() if key in prop]
    said = [f" {word} {_number(value)}" for word, value in found if value < ENDLESS]
    return "".join(said)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def _length(prop: JsonDict) -> str:
    low, high = prop.get("minItems"), prop.get("maxItems")
    if low and low == high:
        return f", {low} of them"
    return f", at least {low}" if (low or 0) > 1 else ""


def keys() -> str:
    """The page of all sections; those with many kinds lead to the catalogue."""
    parts = [HEAD]
    for name, field in Experiment.model_fields.items():
        if name == "title":
            parts.append(
                "`title` (text) stands at the top of the file, and over tables and plots.\n"
            )
            continue
        parts.append(f"\n## [{name}] {{ #{name} }}\n\n{_section(name, field.annotation)}")
    return "".join(parts)


def _section(name: str, annotation: Any) -> str:
    if name == "acceptance":
        return f"`model` says which: {_links(MODELS, '../catalogue/models.md')}. {EACH}"
    if name == "latency":
        where = "../catalogue/latency.md"
        return f"`model` says which, `times` without it: {_links(COSTS, where)}. {EACH}"
    field = Experiment.model_fields[name]
    found = [part for part in _parts(annotation) if hasattr(part, "model_fields")]
    said = f"{_sentence(field.description or inspect.getdoc(found[0]) or '')}\n\n"
    if name in ("robust", "sweep"):
        return said + "Its keys are dotted keys of the file, in quotes.\n"
    after = ""
    if name == "adaptive":
        after = f"\nPolicies: {_links(RULES, '../catalogue/policies.md')}.\n"
    if name == "uncertainty":
        from mtpsim.config.uncertainty import InputUncertainty

        after = "\nEach entry of `inputs` is a table of\n\n" + table(InputUncertainty)
    return said + table(found[0]) + after


def _parts(annotation: Any) -> list[Any]:
    return [annotation, *getattr(annotation, "__args__", ())]


def _links(names: Any, page: str) -> str:
    return ", ".join(f"[`{name}`]({page}#{name})" for name in names)


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text[:1].upper() + text[1:].rstrip(".") + "."


def command() -> str:
    """The page of the command: what --help says, verb by verb."""
    parser = _parser()
    (verbs,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    summaries = {choice.dest: choice.help for choice in verbs._choices_actions}
    parts = [
        "# The command\n\n`python -m mtpsim VERB`, or `mtpsim VERB`. Exit codes: 0 done, 2 the "
        "input is wrong, 3 precision not reached within the limit, 4 workers failed, 130 "
        "interrupted.\n"
    ]
    for verb, sub in verbs.choices.items():
        usage = re.sub(r"\n +", " ", sub.format_usage().removeprefix("usage: ")).strip()
        parts.append(f"\n## {verb}\n\n{_sentence(summaries[verb])}\n\n```text\n{usage}\n```\n\n")
        given = [action for action in sub._actions if "-h" not in action.option_strings]
        if given:
            parts.append("| argument | meaning |\n|---|---|\n")
        parts += [f"| {_argument(action)} | {action.help or ''} |\n" for action in given]
    return "".join(parts)


def _argument(action: argparse.Action) -> str:
    value = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
    value = value if isinstance(value, str) else " ".join(value)
    names = action.option_strings or [""]
    takes = f" {value}" if action.nargs != 0 and value else ""
    return ", ".join(f"`{(name + takes).strip()}`" for name in names).replace("|", "\\|")


API = {
    "Running an experiment": [
        "mtpsim.config.experiment.load", "mtpsim.config.experiment.parse", "mtpsim.runs.run.run",
        "mtpsim.config.experiment.Experiment", "mtpsim.engine.options.ExecutorChoice",
        "mtpsim.common.errors.InputError",
    ],
    "What was found": ["mtpsim.results.document.Result"],
    "Chains, solved": [
        "mtpsim.acceptance.chain.AcceptanceChain", "mtpsim.exact.chain_solver.solve",
        "mtpsim.exact.chain_solver.Exact",
        "mtpsim.exact.chain_solver.speedups", "mtpsim.exact.chain_solver.count_moments",
    ],
    "The closed form": ["mtpsim.formula.closed_form"],
    "Engine logs": ["mtpsim.logs.read_logs", "mtpsim.logs.reducer.Log"],
}  # fmt: skip


def api() -> str:
    """The page of the Python API, which mkdocstrings fills from the docstrings."""
    parts = [
        "# Python\n\n`import mtpsim` offers ",
        _names(),
        " A result is what\n"
        "[result.json](../result.md) holds; what a section of the file takes is told in "
        "[every key](keys.md).\n",
    ]
    for title, names in API.items():
        parts.append(f"\n## {title}\n")
        parts += [f"\n::: {name}\n" for name in names]
    return "".join(parts)


def _names() -> str:
    names = [f"`{name}`" for name in mtpsim.__all__ if not name.startswith("_")]
    return ", ".join(names[:-1]) + f" and {names[-1]}."
