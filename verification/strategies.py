"""Hypothesis strategies for damaged input: JSON documents, experiment files, log files."""

import copy
import gzip
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import tomli_w
import zstandard
from hypothesis import strategies as st

Json = Any
Draw = Any
NUMBERS: list[Json] = [
    *[0, -1, 1, 2, 64, 65, 10**6, 2**31, 2**63, -(2**63), 10**30, 0.0, -0.0, 0.5, 1.0, 1e-12],
    *[5e-324, 1e-300, 1e300, 1.7e308, -1e300, 1 - 1e-16, math.inf, -math.inf, math.nan],
]
TEXTS = [
    *["", " ", "x", "naïve 文字 🙂", "\u202e", "a.b", "'", '"', "../..", "/dev/null", "/", "\x7f"],
    *["1e5", "regime", "token", "lognormal", "none.csv", "latency.target", "simulation.rounds"],
]
CONTAINERS: list[Json] = [True, [], {}, [[]], [{}], {"": 1}, [1, "a"], {"a": {"b": [0]}}]
LITERALS = [
    *["-1", "0", "1e999", "-1e999", "NaN", "Infinity", "null", "[]", "{}", "9" * 5000, "1e-400"],
    *['"', "'", "\\", "\\ud800", "[", "{", "\x00", "\ufeff", "\r", "\u2028", "nan", str(2**64)],
]
LITERAL_BYTES = [text.encode() for text in LITERALS]
NESTED = [
    (opening * depth + "1" + closing * (depth * closed)).encode()
    for opening, closing in (("[", "]"), ('{"a":', "}"), ("a = [", "]"))
    for depth in (300, 990, 100_000)
    for closed in (0, 1)
]
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
ACTIONS = [*["scale"] * 8, "remove", "rename", "repeat", "replace", "move"]
UNEXPECTED = st.one_of(
    st.sampled_from(NUMBERS),
    st.floats(0, 1),
    st.sampled_from([*TEXTS, "x" * 100_000]),
    st.sampled_from(CONTAINERS).map(copy.deepcopy),
)


def from_schema(root: Json) -> st.SearchStrategy[Json]:
    """Values that a JSON schema allows; numbers without an upper bound stay near the lower one."""

    @cache
    def definition(name: str) -> st.SearchStrategy[Json]:
        return st.deferred(lambda: strategy(root["$defs"][name]))

    def strategy(part: Json) -> st.SearchStrategy[Json]:
        if "$ref" in part:
            return definition(part["$ref"].rpartition("/")[2])
        if alternatives := part.get("oneOf", part.get("anyOf")):
            return st.one_of(*map(strategy, alternatives))
        if "const" in part or "enum" in part:
            return st.sampled_from(part.get("enum", [part.get("const")]))
        match part.get("type"):
            case "object":
                return table(part)
            case "array":
                least = part.get("minItems", 0)
                items = strategy(part.get("items", {}))
                return st.lists(items, min_size=least, max_size=max(least, 4))
            case "number" | "integer" as kind:
                return _number(part, st.integers if kind == "integer" else st.floats)
            case "boolean":
                return st.booleans()
            case "null":
                return st.none()
            case "string":
                return st.sampled_from(TEXTS)
        return UNEXPECTED

    def table(part: Json) -> st.SearchStrategy[Json]:
        known = {key: strategy(value) for key, value in part.get("properties", {}).items()}
        needed = {
            *part.get("required", ()),
            *(k for k in known if "const" in part["properties"][k]),
        }
        if isinstance(more := part.get("additionalProperties"), dict) and not known:
            return st.dictionaries(st.sampled_from(TEXTS), strategy(more), max_size=2)
        required = {key: value for key, value in known.items() if key in needed}
        return st.fixed_dictionaries(
            required, optional={k: known[k] for k in known.keys() - needed}
        )

    return strategy(root)


def _number(part: Json, kind: Any) -> st.SearchStrategy[Json]:
    low = part.get("minimum", part.get("exclusiveMinimum", 0))
    high = min(part.get("maximum", part.get("exclusiveMaximum", math.inf)), low + 100)
    return kind(int(low), int(high)) if kind is st.integers else kind(low, high)


def places(document: Json) -> list[tuple[Any, Any]]:
    """Every (container, key) within a document."""
    found, queue = [], [document]
    while queue:
        part = queue.pop()
        for key, value in list(part.items() if isinstance(part, dict) else enumerate(part)):
            found.append((part, key))
            if isinstance(value, dict | list):
                queue.append(value)
    return found


@st.composite
def damaged_documents(draw: Draw, document: Json, donors: Sequence[Json] = ()) -> Json:
    """A document with one to three entries removed, renamed, repeated, rescaled or replaced."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        known = places(document)
        numeric = [(part, key) for part, key in known if type(part[key]) in (int, float)]
        action = draw(
            st.sampled_from(["scale"] * 4 + ["remove", "rename", "repeat", "set", "move"])
        )
        chosen = numeric if action == "scale" else known
        if not chosen:
            continue
        part, key = chosen[draw(st.integers(0, len(chosen) - 1))]
        if action == "remove":
            del part[key]
        elif action == "scale":
            part[key] = draw(st.sampled_from(_rescaled(part[key])))
        elif action == "rename" and isinstance(part, dict):
            part[draw(st.sampled_from([*TEXTS, f"{key}s", str(key)[:-1]]))] = part.pop(key)
        elif action == "repeat" and isinstance(part[key], list):
            part[key] = part[key] * draw(st.sampled_from([0, 2, 20]))
        elif action == "move" and donors:
            there, name = draw(st.sampled_from(places(draw(st.sampled_from(donors)))))
            part[key] = copy.deepcopy(there[name])
        else:
            part[key] = draw(UNEXPECTED)
    return document


@st.composite
def whole_experiments(draw: Draw, root: Json, examples: Mapping[str, Mapping[str, Json]]) -> bytes:
    """An experiment with any of its sections, nearly valid: examples of models with other numbers.

    Sections and keys come from the schema ``root``, models from ``examples`` by group and name.
    """

    def example(group: str) -> Json:
        named = examples[group]
        return copy.deepcopy(named[draw(st.sampled_from(sorted(named)))])

    document = {"acceptance": example("acceptance"), "latency": example("latency")}
    for key in ("verify", "draft"):  # one time for any depth
        if isinstance(times := document["latency"].get(key), list):
            document["latency"][key] = times[0]
    if draw(st.booleans()):
        document["latency"]["noise"] = example("noise")
    for _ in range(draw(st.integers(0, 3))):
        part, key = draw(st.sampled_from(_numeric(document)))
        part[key] = draw(st.sampled_from(_rescaled(part[key])))
    optional = [key for key in root["properties"] if key not in (*document, "adaptive")]
    for key in draw(st.lists(st.sampled_from(optional), max_size=4, unique=True)):
        document[key] = draw(_section(root, key, document))
    if draw(st.integers(0, 7)) == 7:  # a policy compiles kernels
        document["adaptive"] = {"policies": [example("policy")]}
    for _ in range(
        draw(st.sampled_from([0, 1, 1, 2]))
    ):  # optional keys, so that new ones are tried
        table = draw(st.sampled_from(_tables(document)))
        known = [
            d for d in root["$defs"].values() if table.keys() <= d.get("properties", {}).keys()
        ]
        if known:
            properties = draw(st.sampled_from(known))["properties"]
            key = draw(st.sampled_from(sorted(properties)))
            table[key] = draw(from_schema(properties[key] | {"$defs": root["$defs"]}))
    try:
        return tomli_w.dumps(_without_null(document)).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError):  # TOML cannot hold it
        return b""


def _numeric(document: Json) -> list[tuple[Any, Any]]:
    return [(p, k) for p, k in places(document) if type(p[k]) in (int, float)]


def _tables(document: Json) -> list[dict[str, Json]]:
    return [part[key] for part, key in places(document) if isinstance(part[key], dict)]


def _section(root: Json, key: str, document: Json) -> st.SearchStrategy[Json]:
    """A section of the schema; where its keys are dotted, keys of the document's numbers."""
    dotted = [
        (f"{section}.{name}", value)
        for section in ("acceptance", "latency")
        for name, value in document[section].items()
        if type(value) in (int, float) or (isinstance(value, list) and value)
    ]
    some = st.lists(st.sampled_from(dotted), min_size=1, max_size=2, unique_by=lambda one: one[0])

    def values(value: Json) -> list[Json]:
        numbers = value if isinstance(value, list) else [value]
        if type(numbers[0]) not in (int, float):
            return [value]
        other = [n * 0.9 for n in numbers]
        return [value, other if isinstance(value, list) else other[0]]

    if key in ("sweep", "robust"):
        around = st.floats(1e-9, 1.0).map(lambda step: {"plus_minus": step})
        form = st.booleans() if key == "robust" else st.just(False)
        return st.tuples(some, around, form).map(
            lambda drawn: {k: drawn[1] if drawn[2] else values(v) for k, v in drawn[0]}
        )
    if key == "uncertainty":
        return st.tuples(some, _uncertain_inputs()).map(
            lambda drawn: {"draws": 20, "inputs": {k: drawn[1](v) for k, v in drawn[0]}}
        )
    return from_schema(root["properties"][key] | {"$defs": root["$defs"]})


def _uncertain_inputs() -> st.SearchStrategy[Callable[[Json], Json]]:
    """From an input's value how uncertain it is, mostly so that the file is valid."""

    def interval(share: float) -> Callable[[Json], Json]:
        def ends(value: Json, factor: float) -> Json:
            if type(value) is list:
                return [ends(v, factor) for v in value]
            return value * factor if type(value) in (int, float) else value

        return lambda value: {"low": ends(value, 1 - share), "high": ends(value, 1 + share)}

    def error(share: float) -> Callable[[Json], Json]:
        return lambda value: {"se": share * (value if type(value) in (int, float) else 1)}

    counts = st.tuples(st.integers(1, 10**6), st.floats(1, 50))
    trials = counts.map(lambda drawn: lambda _: {"trials": drawn[0], "design_effect": drawn[1]})
    small = st.floats(1e-6, 0.2) | st.floats(1e-6, 1e3)
    return st.one_of(trials, small.map(error), small.map(interval))


def _rescaled(value: float) -> list[float]:
    """Other numbers for a number, of which many are allowed."""
    if type(value) is int:
        return [value + 1, value + 1, 0, 1, 2, 64, -value, value * 1000]
    factors = [0.9, 0.99, 0.999, 1.01, 0.0, 2.0, -1.0, 1e-6, 1e-3, 1e4]
    return [*(value * factor for factor in factors), 1.0, 1e-12, 1 - 1e-12, 1e12]


@st.composite
def damaged_bytes(draw: Draw, text: bytes, other: bytes = b"") -> bytes:
    """Bytes cut, doubled or spliced with another file's, numbers replaced, odd ones inserted."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        end = min(len(text), at + draw(st.sampled_from([1, 5, 40, 400])))
        match draw(st.integers(0, 6)):
            case 0:
                text = text[:at]
            case 1:
                text = text[:at] + text[end:]
            case 2:
                text = text[:end] + text[at:]
            case 3:
                text = text[:at] + other[draw(st.integers(0, len(other))) :]
            case 4:
                inserted = st.sampled_from(LITERAL_BYTES) | st.binary(min_size=1, max_size=4)
                text = text[:at] + draw(inserted) + text[at:]
            case _ if spots := [match.span() for match in NUMBER.finditer(text)]:
                begin, end = draw(st.sampled_from(spots))
                text = text[:begin] + draw(st.sampled_from(LITERAL_BYTES)) + text[end:]
    return text


@st.composite
def damaged_lines(draw: Draw, text: bytes, other: bytes = b"") -> bytes:
    """JSON lines with damaged documents; a line of another file; lines in another order."""
    lines = text.splitlines()
    if lines:
        number = draw(st.integers(0, len(lines) - 1))
        try:
            document = json.loads(lines[number])
        except ValueError:
            document = None
        if isinstance(document, dict | list):
            damaged = json.dumps(draw(damaged_documents(document)))
            lines[number] = damaged.encode("utf-8", "replace")
    if other and draw(st.booleans()):
        lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(other.splitlines())))
    if lines and draw(st.integers(0, 4)) == 0:
        lines = draw(st.permutations(lines[:100]))
    return b"\n".join(lines)


@st.composite
def encoded(draw: Draw, text: bytes) -> bytes:
    """The bytes as they are, in another encoding, compressed, or something else altogether."""
    if draw(st.integers(0, 3)):
        return text
    packed = draw(st.sampled_from([gzip.compress(text, mtime=0), zstandard.compress(text)]))
    plain = text.decode("utf-8", "replace")
    recoded = [plain.encode(name, "replace") for name in ("utf-16", "utf-8-sig")]
    newlines = [text.replace(b"\n", b"\r\n"), text.replace(b"\n", b"\r")]
    headed = [b"\x1f\x8b" + text, b"\x28\xb5\x2f\xfd" + text]
    several = [packed, draw(damaged_bytes(packed)), *recoded, *newlines, *headed, b""]
    return draw(st.sampled_from([*several, draw(st.sampled_from(NESTED))]))


@st.composite
def experiment_files(
    draw: Draw, valid: st.SearchStrategy[Json], shipped: Mapping[str, Json]
) -> bytes:
    """An experiment from ``valid``, or one of ``shipped``, with or without damage to it."""
    documents = list(shipped.values())
    document = draw(st.sampled_from(documents))
    action = draw(st.sampled_from(["schema", "schema, damaged", *["document"] * 5, "bytes"]))
    if action.startswith("schema"):
        document = draw(valid)
    if action in ("schema, damaged", "document"):
        document = draw(damaged_documents(document, documents))
    try:
        text = tomli_w.dumps(_without_null(document)).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError):  # TOML cannot hold it
        text = tomli_w.dumps(documents[0]).encode()
    if action == "bytes":
        other = tomli_w.dumps(draw(st.sampled_from(documents))).encode()
        text = draw(damaged_bytes(text, other))
    return draw(encoded(text))


def _without_null(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _without_null(part) for key, part in value.items() if part is not None}
    return (
        [_without_null(part) for part in value if part is not None]
        if type(value) is list
        else value
    )


@st.composite
def log_files(draw: Draw, samples: Mapping[str, bytes]) -> tuple[str, bytes]:
    """Name and content of a damaged log of one of the engines."""
    name = draw(st.sampled_from(sorted(samples)))
    text, other = samples[name], draw(st.sampled_from(list(samples.values())))
    how = draw(st.sampled_from(["lines", "bytes", "both"]))
    if how != "bytes":
        text = draw(damaged_lines(text, other))
    if how != "lines":
        text = draw(damaged_bytes(text, other))
    return name, draw(encoded(text))
