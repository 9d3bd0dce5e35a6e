"""Generated Markdown of the catalogue: every model, policy, noise and experiment from its code."""

import inspect
import re
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pictures
import tomli_w
from pydantic import TypeAdapter
from reference import table

import mtpsim
from mtpsim.acceptance import MODELS, Acceptance, AcceptanceChain, Source
from mtpsim.acceptance.base import AcceptanceModel
from mtpsim.config.draft import Draft
from mtpsim.latency import COSTS, AnyLatency, CostModel, LatencySpec
from mtpsim.latency.noise import KINDS, Noise, NoiseSpec
from mtpsim.policy import RULES
from mtpsim.policy.base import PolicySpec

Picture = Callable[[str, Any], str]  # name and model to Markdown
EXAMPLES = Path(__file__).with_name("examples.toml")
ROOT = Path(__file__).parents[2]
SHOWN_STATES = 3  # a chain with at most so many states is printed in full


def example(group: str, name: str) -> tuple[str, dict[str, Any]]:
    """An example from ``examples.toml``, as text and parsed; KeyError if there is none."""
    text = EXAMPLES.read_text(encoding="utf-8")
    found = re.search(rf"^\[{group}\.{name}\]\n(.*?)(?=^\[\w|\Z)", text, re.S | re.M)
    if not found:
        raise KeyError(f"{EXAMPLES.name} has no [{group}.{name}]: add an example")
    return found[1].strip(), tomllib.loads(found[1])


def _about(kind: type[Any]) -> str:
    """The docstrings of the module and the class of a model; of later classes of a module one."""
    own, said = inspect.getdoc(kind) or "", inspect.getdoc(sys.modules[kind.__module__]) or ""
    said = re.sub(r"^``\w+``: (.)", lambda found: found[1].upper(), said)
    first = next((one for one in RULES.values() if one.__module__ == kind.__module__), kind)
    alone = kind is not first or ".latency." in kind.__module__
    return (own if alone else f"{said}\n\n{own}").replace("``", "`")


def _section(kind: type[Any], name: str, code: str, picture: str) -> str:
    keys = table(kind, frozenset({"name"} if issubclass(kind, PolicySpec) else ()))
    return f"\n## `{name}`\n\n{_about(kind)}\n\n{keys}\n```toml\n{code}\n```\n\n{picture}"


def _page(group: str, names: Iterable[str], union: Any, picture: Picture, code: str) -> str:
    parts = []
    for name in names:
        text, raw = example(group, name)
        spec = TypeAdapter(union).validate_python(raw, context={"folder": ROOT})
        shown = code.format(text=text, inline=", ".join(text.splitlines()))
        parts.append(_section(type(spec), name, shown, picture(name, spec)))
    return "".join(parts)


def models() -> str:
    """The acceptance models."""

    def picture(name: str, model: AcceptanceModel) -> str:
        svg = pictures.chain_picture(model.chain())
        alt = f"{name}: conditional rates by position and accept length by depth"
        return f"{chain_text(model.chain())}\n{pictures.inline(alt, svg)}"

    return _page("acceptance", MODELS, Acceptance, picture, "[acceptance]\n{text}")


def chain_text(source: Source) -> str:
    """The chain as a block of text, in full where it is small."""
    if not isinstance(source, AcceptanceChain):
        return f"This model has no chain: it replays {source.requests} recorded requests.\n"
    if source.states > SHOWN_STATES:
        return f"The chain has {source.states} states; the clock is the {source.clock} clock.\n"
    outcomes = ("step",) if len(source.step) == 1 else ("step, rejected", "step, all accepted")
    arrays = {"start": source.start[None]} | dict(zip(outcomes, source.step, strict=True))
    arrays |= {"accept": source.accept, "slowdown": source.slowdown[None]}
    lines = [f"{'states':20}{source.states}", f"{'clock':20}{source.clock}"]
    for label, array in arrays.items():
        for i, row in enumerate(array):
            lines.append(f"{'' if i else label:20}" + "  ".join(f"{value:.4f}" for value in row))
    return "The chain of this example:\n\n```text\n" + "\n".join(lines) + "\n```\n"


def drafts() -> str:
    """The shapes of drafts, with the keys of the section first."""
    _, raw = example("acceptance", "ranks")
    chain = TypeAdapter(Acceptance).validate_python(raw).chain()
    parts = [f"\n{table(Draft)}\n"]
    for name in ("chain", "best_first", "sequoia", "topk", "parents"):
        text, raw = example("draft", name)
        svg = pictures.tree_picture(Draft.model_validate(raw).shape(chain), chain)
        picture = pictures.inline(f"{name}: the tree, and accept length by levels", svg)
        parts.append(f"\n## `{name}`\n\n```toml\n[draft]\n{text}\n```\n\n{picture}")
    return "".join(parts)


def latency() -> str:
    """The step times and cost models."""

    def picture(name: str, spec: LatencySpec) -> str:
        svg = pictures.latency_picture(spec, isinstance(spec, CostModel))
        return pictures.inline(f"{name}: time of a round", svg)

    return _page("latency", COSTS, AnyLatency, picture, "[latency]\n{text}")


def noise() -> str:
    """The noise distributions, as subsections."""

    def picture(name: str, spec: NoiseSpec) -> str:
        return pictures.inline(f"{name}: share of rounds by time", pictures.noise_picture(spec))

    page = _page("noise", [*KINDS, "samples"], Noise, picture, "noise = {{ {inline} }}")
    return page.replace("\n## ", "\n### ")


def policies() -> str:
    """The policies: depths on a request of ``policies.toml``, or drafts of ``server.toml``."""
    examples = {name: example("policy", name) for name in RULES}
    shared = {name for name, kind in RULES.items() if kind.shares_budget}
    alone = _played("policies.toml", "adaptive", examples, RULES.keys() - shared)["timeline"]
    served = _played("server.toml", "serving", examples, shared)["timeline"]
    lines = {line["name"]: line for line in served}
    parts = []
    for name, kind in RULES.items():
        bound = f"Upper bound: it knows {kind.knows}.\n\n" if kind.knows else ""
        if name in shared:
            svg = pictures.budget_picture(lines[name])
            title, section = f"{name}: verified drafts while a burst is served", "serving"
        else:
            svg = pictures.policy_picture(**alone["policies"][name])
            title, section = f"{name}: depth by round over easy and hard text", "adaptive"
        code = f"[[{section}.policies]]\n{examples[name][0]}"
        parts.append(_section(kind, name, code, bound + pictures.inline(title, svg)))
    return "".join(parts)


def _played(file: str, section: str, examples: dict[str, Any], names: Iterable[str]) -> Any:
    """What the examples of policies do in an experiment: that section of its only point."""
    specs = [{**examples[name][1], "name": name} for name in RULES if name in set(names)]
    text = EXAMPLES.with_name(file).read_text(encoding="utf-8")
    text += tomli_w.dumps({"policies": specs}).replace("[[policies]]", f"[[{section}.policies]]")
    return mtpsim.run(mtpsim.parse(text)).points[0][section]


def experiments() -> str:
    """The experiments: title, opening comment and the file."""
    parts = []
    for path in sorted(ROOT.glob("experiments/*.toml")):
        text = path.read_text(encoding="utf-8")
        comment, _, rest = text.partition("\n\n")
        lines = [line[1:].removeprefix(" ") for line in comment.splitlines() if line[:2] != "#:"]
        about = "\n".join(lines).replace("\nExpect:", "\n\n**Expect:**")
        parts.append(
            f"\n## `{path.stem}`\n\n**{tomllib.loads(text)['title']}**\n\n{about}\n\n"
            f":::{{dropdown}} experiments/{path.name}\n```toml\n{rest.strip()}\n```\n:::\n"
        )
    return "".join(parts)
