"""The catalogue: every model, policy, law and cost model, from its code and one example."""

from __future__ import annotations

import inspect
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pictures
from play import play
from pydantic import TypeAdapter
from reference import table

from mtpsim.acceptance import MODELS, Acceptance, AcceptanceChain, Source
from mtpsim.latency import COSTS, AnyLatency, CostModel
from mtpsim.latency.noise import (
    ConstantNoise,
    ExponentialNoise,
    GammaNoise,
    LognormalNoise,
    Noise,
    NoiseSpec,
    ParetoNoise,
    SampledNoise,
    ScipyNoise,
    SpikeNoise,
)
from mtpsim.policy import RULES
from mtpsim.policy.base import PolicySpec

NOISES: dict[str, type[NoiseSpec]] = {
    "constant": ConstantNoise,
    "lognormal": LognormalNoise,
    "gamma": GammaNoise,
    "exponential": ExponentialNoise,
    "pareto": ParetoNoise,
    "spike": SpikeNoise,
    "scipy": ScipyNoise,
    "samples": SampledNoise,
}
EXAMPLES = Path(__file__).with_name("examples.toml")
SHOWN = 3  # states of a chain that is written out in full
Pages = Iterator[tuple[str, str]]


def examples() -> dict[str, dict[str, str]]:
    """The text of every example, by group and name."""
    found: dict[str, dict[str, str]] = {}
    text = EXAMPLES.read_text(encoding="utf-8")
    for group, name, body in re.findall(r"^\[(\w+)\.(\w+)\]\n(.*?)(?=^\[\w|\Z)", text, re.S | re.M):
        found.setdefault(group, {})[name] = body.strip()
    return found


def example_of(group: str, name: str) -> tuple[str, dict[str, Any]]:
    """An example as text and as read.

    Raises:
        KeyError: there is none, and what to do.

    """
    found = examples().get(group, {})
    if name not in found:
        raise KeyError(f"{EXAMPLES.name} has no [{group}.{name}]: give an example")
    return found[name], tomllib.loads(found[name])


def _twins(folder: str, name: str, svg: str) -> Pages:
    yield f"catalogue/{folder}/{name}.svg", svg
    yield f"catalogue/{folder}/{name}-dark.svg", pictures.darker(svg)


def _picture(folder: str, name: str, alt: str) -> str:
    path = f"{folder}/{name}"
    return f"![{alt}]({path}.svg#only-light)![{alt}]({path}-dark.svg#only-dark)\n"


def prose(text: str | None) -> str:
    """A docstring as Markdown: code in single backticks."""
    return (inspect.cleandoc(text) if text else "").replace("``", "`")


def _about(kind: type[Any]) -> str:
    """What the file of a kind says, unless it holds several, and then what the class says."""
    said = prose(sys.modules[kind.__module__].__doc__)
    said = re.sub(r"^`\w+`: (.)", lambda found: found[1].upper(), said)
    own = prose(kind.__doc__)
    several = kind.__module__.endswith((".costs", ".noise", ".stated_times"))
    return own if several or not said else f"{said}\n\n{own}"


def _section(kind: type[Any], name: str, section: str, text: str, picture: str) -> str:
    keys = table(kind, frozenset({"name"} if issubclass(kind, PolicySpec) else ()))
    shown, mark = (text, "###") if section == "noise" else (f"[{section}]\n{text}", "##")
    code = f"```toml\n{shown}\n```\n"
    return f"\n{mark} `{name}` {{ #{name} }}\n\n{_about(kind)}\n\n{keys}\n{code}\n{picture}"


def chain_text(source: Source) -> str:
    """The chain in numbers."""
    if not isinstance(source, AcceptanceChain):
        return f"It has no chain: {source.requests} recorded requests are played as they were.\n"
    rows = slice(None) if source.states <= SHOWN else [0, source.states // 2, source.states - 1]
    lines = [f"states   {source.states}", f"clock    {source.clock}"]
    lines += _matrix("start", source.start[None, :] if source.states <= SHOWN else None)
    outcomes = ("",) if len(source.step) == 1 else (" after a rejection", " after none")
    if source.states <= SHOWN:
        for outcome, step in zip(outcomes, source.step, strict=True):
            lines += _matrix(f"step{outcome}", step)
    lines += _matrix("accept", source.accept[rows])
    if source.states > SHOWN:
        lines.append(f"         (states 0, {source.states // 2} and {source.states - 1})")
    if (source.slowdown != 1).any():
        lines += _matrix("slowdown", source.slowdown[rows][None, :])
    return "The chain that the example builds:\n\n```text\n" + "\n".join(lines) + "\n```\n"


def _matrix(name: str, rows: np.ndarray | None) -> list[str]:
    if rows is None:
        return []
    text = ["  ".join(f"{value:.4f}" for value in row) for row in rows]
    head = [f"{name:<9}{text[0]}"] if len(name) < 9 else [name, f"{'':9}{text[0]}"]
    return head + [f"{'':9}{line}" for line in text[1:]]


MODELS_HEAD = """# Acceptance models

A model says which drafts are accepted. Each is a file of `mtpsim/acceptance/` that compiles to
one small form, a hidden chain: where a request starts, how the state moves, and how likely each
draft is accepted in each state. The kernel, the exact answer and the fits read the chain and
don't know which model made it. The pictures are exact, in the steady state: rates by position at
the greatest depth, and tokens a round by depth over what one would promise who measures p1 at
depth 1 and takes it for every position.
"""


def models(root: Path) -> Pages:
    """The page of acceptance models, and its pictures."""
    parts = [MODELS_HEAD]
    for name, kind in MODELS.items():
        text, raw = example_of("acceptance", name)
        model = TypeAdapter(Acceptance).validate_python(raw, context={"folder": root})
        source = model.chain()
        yield from _twins("models", name, pictures.chain_picture(source))
        alt = f"Rates by position and accept length by depth of {name}"
        picture = chain_text(source) + "\n" + _picture("models", name, alt)
        parts.append(_section(kind, name, "acceptance", text, picture))
    yield "catalogue/models.md", "".join(parts)


LATENCY_HEAD = """# Times and cost models

`[latency]` says how long a plain step, a verify and a draft take: as they were measured
(`times`), or by a cost model that knows what a step costs when `batch` requests decode together.
Any of them takes `noise`, one factor of mean 1 on all of a round's time. In the pictures of cost
models, dotted lines at the right are the most that a depth can yield: k + 1 tokens a round. Where
a line crosses its own dotted line, no acceptance rate makes that depth pay.
"""
NOISE_HEAD = """
## Noise { #noise }

A factor of mean 1 on the time of a round, or on a part of it. Every law compiles to one table of
quantiles, which the kernel looks up. Noise moves no long-run speedup; it decides how many
requests it takes to see one.
"""


def latency(root: Path) -> Pages:
    """The page of times, cost models and noise, and its pictures."""
    parts = [LATENCY_HEAD]
    for name, kind in COSTS.items():
        text, raw = example_of("latency", name)
        spec = TypeAdapter(AnyLatency).validate_python(raw)
        svg = pictures.latency_picture(spec, issubclass(kind, CostModel))
        yield from _twins("latency", name, svg)
        picture = _picture("latency", name, f"Time of a round under {name}")
        parts.append(_section(kind, name, "latency", text, picture))
    parts.append(NOISE_HEAD)
    for name, kind in NOISES.items():
        text, raw = example_of("noise", name)
        noise = TypeAdapter(Noise).validate_python(raw, context={"folder": root})
        yield from _twins("noise", name, pictures.noise_picture(noise))
        picture = _picture("noise", name, f"Share of rounds by time under {name} noise")
        inline = "noise = { " + ", ".join(text.splitlines()) + " }"
        parts.append(_section(kind, name, "noise", inline, picture))
    yield "catalogue/latency.md", "".join(parts)


POLICIES_HEAD = """# Policies

A policy chooses the depth of each round from what it has seen. Each is a file of `mtpsim/policy/`
with three small functions, `start`, `choose` and `learn`, in plain Python, which the kernel
compiles. All pictures show the same text, 40 easy rounds, 40 hard ones and 40 easy ones, read by
a model of depth 5; rejections differ only where depths do. Bounds know what no engine can know.
Every policy also takes a `name` for the report.
"""


def policies() -> Pages:
    """The page of policies, and its pictures."""
    parts = [POLICIES_HEAD]
    for name, kind in RULES.items():
        text, raw = example_of("policy", name)
        depth, accepted, hard = play(raw)
        yield from _twins("policies", name, pictures.policy_picture(depth, accepted, hard, 5))
        picture = _picture("policies", name, f"Depths that {name} chooses over easy and hard text")
        shown = f"{_knows(kind)}{picture}"
        parts.append(_section(kind, name, "[adaptive.policies]", text, shown))
    yield "catalogue/policies.md", "".join(parts)


def _knows(kind: type[PolicySpec]) -> str:
    return f"It is a bound: it knows {kind.knows}.\n\n" if kind.knows else ""
