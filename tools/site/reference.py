"""Generated Markdown of the reference: keys of the experiment file, commands and options."""

import argparse
import inspect
import json
import re
from typing import Any

from mtpsim.acceptance import MODELS
from mtpsim.cli.main import _parser
from mtpsim.common.arrays import JsonDict
from mtpsim.common.section import classes_of
from mtpsim.config.experiment import Experiment
from mtpsim.config.uncertainty import InputUncertainty
from mtpsim.latency import COSTS
from mtpsim.policy import RULES

NAMING = {"model", "rule", "distribution"}  # keys that say which section it is
TABLE = "| key | type | default | meaning |\n|---|---|---|---|\n"
CATALOGUE = {
    "acceptance": ("acceptance model", MODELS, "models"),
    "latency": ("step times or cost model", COSTS, "latency"),
    "adaptive": ("policy", RULES, "policies"),
}
NAMED = {
    "PlusMinus": "`{ plus_minus }`",
    "Part": "tables of `weight`, `slowdown` and `of`",
    **{kind.__name__: word for word, kinds, _ in CATALOGUE.values() for kind in kinds.values()},
}
KINDS = {"number": "number", "integer": "integer", "string": "text", "boolean": "true or false"}
BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
BY_DEPTH = "number, list by depth or `{ base, per_token }`"
UNBOUNDED = 10**9  # a bound this large guards against overflow and is not shown


def table(model: type[Any], hidden: frozenset[str] = frozenset()) -> str:
    """Keys of a section as a Markdown table, without those that only name the section."""
    schema = model.model_json_schema()
    defs = schema.get("$defs", {})
    if "$ref" in schema:  # a section that can contain itself
        schema = defs[schema["$ref"].rsplit("/", 1)[-1]]
    rows = []
    for key, prop in schema["properties"].items():
        if key not in hidden | NAMING:
            value = prop.get("default")
            default = "" if value is None or value in ("", [], {}) else f"`{json.dumps(value)}`"
            default = "**required**" if key in schema.get("required", ()) else default
            rows.append(_row(f"`{key}`", kind(prop, defs), default, prop.get("description", "")))
    return TABLE + "".join(rows) if rows else "No further keys.\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def kind(prop: JsonDict, defs: JsonDict) -> str:
    """The type of a key in words."""
    if "$ref" in prop:
        name = prop["$ref"].rsplit("/", 1)[-1]
        return NAMED.get(name) or ("noise" if name.endswith("Noise") else kind(defs[name], defs))
    if options := prop.get("anyOf") or prop.get("oneOf"):
        if {"$ref": "#/$defs/Slope"} in options:
            return BY_DEPTH
        parts = [kind(part, defs) for part in options if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(parts))
    if prop.get("enum") == list(RULES):
        return "name of a policy"
    if values := prop.get("enum") or ([prop["const"]] if "const" in prop else []):
        return " or ".join(f"`{json.dumps(value)}`" for value in values)
    if prop.get("type") == "array":
        low, high = prop.get("minItems", 0), prop.get("maxItems")
        length = f"{low} " if low == high else f"{low} or more " if low > 1 else ""
        each = kind(prop.get("items", {}), defs)
        return "list of " + length + re.sub(r"^(number|integer|text|list)\b", r"\1s", each)
    if prop.get("type") == "object":
        return "table"
    bounds = [(sign, prop[key]) for key, sign in BOUNDS.items() if key in prop]
    shown = [f" {sign} {value:,.12g}" for sign, value in bounds if value < UNBOUNDED]
    return KINDS.get(prop.get("type", ""), "any value") + " and".join(shown)


def keys() -> str:
    """All sections; those with several models link to the catalogue."""
    parts = ["`title` (text): title of tables and plots. It stands above the first section.\n"]
    for name, field in Experiment.model_fields.items():
        if name == "title":
            continue
        parts.append(f"\n## [{name}]\n\n")
        sections = classes_of(field)
        if name not in ("acceptance", "latency"):
            text = " ".join((field.description or inspect.getdoc(sections[0]) or "").split())
            parts.append(f"{text[:1].upper()}{text[1:].rstrip('.')}.\n\n")
            dotted = name in ("robust", "sweep")
            parts.append("Its keys are dotted keys.\n" if dotted else table(sections[0]))
        if name in CATALOGUE:
            word, kinds, page = CATALOGUE[name]
            names = ", ".join(f"[`{one}`](../catalogue/{page}.md#{one})" for one in kinds)
            parts.append(f"\nEach {word} has its own keys: {names}.\n")
        if name == "uncertainty":
            parts.append(f"\nEach entry of `inputs` is a table:\n\n{table(InputUncertainty)}")
    return "".join(parts)


def command() -> str:
    """Every command with its usage and options, from the argument parser."""
    parser = _parser()
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    summaries = {choice.dest: choice.help or "" for choice in commands._choices_actions}
    parts = []
    for name, sub in commands.choices.items():
        usage = sub.format_usage().removeprefix("usage: ").replace("\n       ", "\n").rstrip()
        summary = summaries[name][:1].upper() + summaries[name][1:].rstrip(".")
        parts.append(f"\n## {name}\n\n{summary}.\n\n```text\n{usage}\n```\n\n")
        actions = [action for action in sub._actions if "-h" not in action.option_strings]
        rows = [_row(_argument(action), action.help or "") for action in actions]
        parts += ["| argument | meaning |\n|---|---|\n", *rows] if rows else []
    return "".join(parts)


def _argument(action: argparse.Action) -> str:
    value = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
    value = value if isinstance(value, str) else " ".join(value)
    takes = f" {value}" if action.nargs != 0 and value else ""
    names = action.option_strings or [""]
    return ", ".join(f"`{(name + takes).strip()}`" for name in names)
