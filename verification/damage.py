"""Damaged files for `fuzz.py`: experiments made from the schema or broken, logs cut and spliced.

All is drawn from one `random.Random`, so that a seed gives the same files on any machine.
"""

from __future__ import annotations

import copy
import gzip
import json
import math
import random
import re
from collections.abc import Callable
from typing import Any

import zstandard

Json = Any
NUMBERS: tuple[Json, ...] = (
    *(0, -1, 1, 2, 3, 64, 65, 10**6, 2**31, 2**63, -(2**63), 10**30, 0.0, -0.0, 0.5, 1.0, 1e-9),
    *(5e-324, 1e-300, 1e300, 1.7e308, -1e300, 0.1 + 0.2, 1 - 1e-16, math.inf, -math.inf, math.nan),
)
TEXTS = (
    *("", " ", "x", "naïve 文字 🙂", "\u202e", "a.b", "'", '"', "../..", "/dev/null", "/", "\x7f"),
    *("1e5", "regime", "token", "lognormal", "none.csv", "x" * 100_000),
)
OTHERS: tuple[Json, ...] = (True, False, [], {}, [[]], [{}], {"": 1}, [1, "a"], {"a": {"b": [0]}})
LITERALS = (
    *("-1", "0", "1e999", "-1e999", "NaN", "Infinity", "null", "[]", "{}", "9" * 5000, "1e-400"),
    *('"', "'", "\\", "\\ud800", "[", "{", "\x00", "\ufeff", "\r", "\u2028", "nan", str(2**64)),
)  # fmt: skip
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def strange(rng: random.Random) -> Json:
    """A value that few keys expect."""
    return copy.deepcopy(rng.choice(rng.choice((NUMBERS, NUMBERS, TEXTS, OTHERS))))


def from_schema(rng: random.Random, schema: Json, root: Json, level: int = 0) -> Json:
    """Some value that a JSON schema allows, or nearly."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    for way in ("oneOf", "anyOf"):
        if way in schema:
            return from_schema(rng, rng.choice(schema[way]), root, level)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(schema["enum"])
    kind = schema.get("type")
    if kind == "object":
        return _table(rng, schema, root, level + 1)
    if kind == "array":
        least = schema.get("minItems", 0)
        some = range(rng.randint(least, max(least, 4)))
        return [from_schema(rng, schema.get("items", {}), root, level + 1) for _ in some]
    if kind in ("number", "integer"):
        return _number(rng, schema, kind == "integer")
    if kind == "boolean":
        return rng.random() < 0.5
    return None if kind == "null" else rng.choice(TEXTS[:-1])


def _table(rng: random.Random, schema: Json, root: Json, level: int) -> Json:
    needed, table = schema.get("required", ()), {}
    for key, part in schema.get("properties", {}).items():
        if key in needed or "const" in part or rng.random() < 0.5 / level:
            table[key] = from_schema(rng, part, root, level)
    if schema.get("additionalProperties") not in (None, False) and level < 6:
        key = rng.choice(("latency.target", "acceptance.rates", "simulation.rounds", "", "a.b"))
        table[key] = from_schema(rng, schema["additionalProperties"], root, level)
    return table


def _number(rng: random.Random, schema: Json, whole: bool) -> Json:
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    high = schema.get("maximum", schema.get("exclusiveMaximum", low + 100))
    if rng.random() < 0.2:
        return rng.choice((low, high))
    top = min(high, low + rng.choice((1, 5, 100)))
    return rng.randint(int(low), int(top)) if whole else rng.uniform(low, top)


def places(document: Json) -> list[tuple[Any, Any]]:
    """Every (container, key) within a document."""
    found, queue = [], [document]
    while queue:
        part = queue.pop()
        keys = part.items() if isinstance(part, dict) else enumerate(part)
        for key, value in list(keys):
            found.append((part, key))
            if isinstance(value, dict | list):
                queue.append(value)
    return found


def changed(rng: random.Random, document: Json, donor: Json = None) -> Json:
    """A document with some of its places deleted, retitled, or given other values."""
    document = copy.deepcopy(document)
    if rng.random() < 0.5:
        return _rescaled(rng, document)
    for _ in range(rng.randint(1, 3)):
        if not (known := places(document)):
            break
        part, key = rng.choice(known)
        what = rng.randrange(6)
        if what == 0:
            del part[key]
        elif what == 1 and isinstance(part, dict):
            part[rng.choice((*TEXTS[:-1], str(key) + "s", str(key)[:-1]))] = part.pop(key)
        elif what == 2 and donor is not None:
            there, name = rng.choice(places(donor))
            part[key] = copy.deepcopy(there[name])
        elif what == 3 and isinstance(part[key], list):
            part[key] = part[key] * rng.choice((0, 2, 20))
        elif what == 4 and isinstance(part[key], int | float) and not isinstance(part[key], bool):
            part[key] = rng.choice((part[key] * 1e6, part[key] * 1e-6, -part[key], part[key] + 1))
        else:
            part[key] = strange(rng)
    return document


def _rescaled(rng: random.Random, document: Json) -> Json:
    """Other numbers, of which many are allowed."""
    known = [(part, key) for part, key in places(document) if type(part[key]) in (int, float)]
    for part, key in rng.sample(known, min(len(known), rng.randint(1, 3))):
        value = part[key]
        whole, extremes = (0, 1, 2, 64), (0.0, 1.0, 1e-12, 1 - 1e-12, 1e9, 1e12)
        many = (value * 0.9, value * 2.0, value / 1000, value * 1e4, *extremes)
        part[key] = rng.choice((*whole, *many) if type(value) is float else (*whole, value, *many))
    return document


def nested(rng: random.Random, opening: str, closing: str) -> bytes:
    """Something nested deeply, closed or not."""
    deep = rng.choice((50, 300, 500, 900, 990, 5000, 100_000))
    return (opening * deep + "1" + closing * (deep if rng.random() < 0.7 else 0)).encode()


def bytes_changed(rng: random.Random, text: bytes, other: bytes = b"") -> bytes:
    """Bytes cut, doubled, spliced with another file's, numbers replaced, or odd ones put in."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(text) + 1)
        end = min(len(text), at + rng.choice((1, 5, 40, 400)))
        what = rng.randrange(8)
        if what == 0:
            text = text[:at]
        elif what == 1:
            text = text[:at] + text[end:]
        elif what == 2:
            text = text[:end] + text[at:]
        elif what == 3 and other:
            text = text[:at] + other[rng.randrange(len(other)) :]
        elif what == 4:
            text = text[:at] + rng.randbytes(rng.randint(1, 4)) + text[at:]
        elif what == 5:
            text = text[:at] + rng.choice(LITERALS).encode("utf-8", "surrogatepass") + text[at:]
        elif numbers := list(NUMBER.finditer(text)):
            spot = rng.choice(numbers)
            text = text[: spot.start()] + rng.choice(LITERALS).encode() + text[spot.end() :]
    return text


def encoded(rng: random.Random, text: bytes) -> bytes:
    """The bytes in another encoding or compressed; most often as they are."""
    plain = text.decode("utf-8", "replace")
    ways: tuple[Callable[[], bytes], ...] = (
        lambda: plain.encode("utf-16", "replace"),
        lambda: plain.encode("utf-8-sig", "replace"),
        lambda: text.replace(b"\n", b"\r\n"),
        lambda: text.replace(b"\n", b"\r"),
        lambda: gzip.compress(text, mtime=0),
        lambda: bytes_changed(rng, gzip.compress(text, mtime=0)),
        lambda: zstandard.compress(text),
        lambda: bytes_changed(rng, zstandard.compress(text)),
        lambda: b"\x1f\x8b" + text,
        lambda: b"\x28\xb5\x2f\xfd" + text,
        lambda: b"",
        lambda: nested(rng, *rng.choice((("[", "]"), ('{"a":', "}"), ("a = [", "]")))),
    )
    return rng.choice(ways)() if rng.random() < 0.25 else text


def lines_changed(rng: random.Random, text: bytes, other: bytes = b"") -> bytes:
    """A log with JSON lines whose values are changed, where it has some; lines mixed up."""
    lines = text.splitlines()
    for number in rng.sample(range(len(lines)), min(len(lines), 2)):
        try:
            document = json.loads(lines[number])
        except ValueError:
            continue
        if isinstance(document, dict | list):
            lines[number] = json.dumps(changed(rng, document)).encode("utf-8", "replace")
    theirs = other.splitlines()
    if theirs and rng.random() < 0.3:
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(theirs))
    if rng.random() < 0.2:
        rng.shuffle(lines)
    return b"\n".join(lines) + b"\n" * rng.randint(0, 1)
