"""``mtpsim quick``: the closed form's answer from a few numbers, without a simulation."""

from __future__ import annotations

import argparse
import re
import unicodedata
from dataclasses import replace
from typing import Any, cast

from mtpsim.cli.main import DONE
from mtpsim.common.errors import InputError

MILLISECONDS = {"": 1.0, "ms": 1.0, "s": 1000.0, "us": 0.001}
NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?) ?([a-z%]*)", re.IGNORECASE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("--target", metavar="T", required=True, help="time of a plain decoding step (ms, or 0.07s)")
    add("--verify", metavar="T,T,...", required=True, help="verify time by depth 1, 2, ...")
    add(
        "--draft", metavar="T,T,...", default="0", help="draft time of a round by depth (default 0)"
    )
    rates = parser.add_mutually_exclusive_group(required=True)
    add = rates.add_argument
    add("--rates", metavar="P,P,...", help="conditional acceptance rates by position (0.8 or 80%%)")
    add("--survival", metavar="P,P,...", help="P(drafts 1 to j accepted) by position")
    add("--accept-lengths", metavar="L,L,...", help="tokens per round by depth, bonus included")
    add("--alpha", metavar="P", help="one conditional rate for every position")
    add("--pooled", metavar="P", help="accepted over drafted tokens (A / D) at the greatest depth")
    add = parser.add_argument
    add(
        "--measured-at",
        metavar="K",
        help="depth at which --pooled or one accept length was measured",
    )
    add("--batch", metavar="B", default="1", help="requests that decode together, for tokens/s (1)")
    add("--toml", action="store_true", help="print an experiment file for a simulation instead")


def run(options: argparse.Namespace) -> int:
    """Print the table and the advice, or the experiment file.

    Raises:
        InputError: An argument is no number, or is out of range.
    """
    from mtpsim.report.quick import quick

    try:
        answer = quick(
            target=_one("target", options.target, MILLISECONDS),
            verify=_several("verify", options.verify, MILLISECONDS),
            draft=_several("draft", options.draft, MILLISECONDS),
            batch=_one("batch", options.batch, {"": 1.0}),
            measured_at=_depth(options.measured_at),
            **cast(dict[str, Any], _stated_rates(options)),
        )
        print(answer.toml() if options.toml else answer, end="" if options.toml else "\n")
    except InputError as error:
        raise InputError([replace(p, key=_option(p.key)) for p in error.problems]) from None
    return DONE


def _stated_rates(options: argparse.Namespace) -> dict[str, float | list[float]]:
    """The one option of acceptance that was given, as an argument of :func:`quick`."""
    shares = {"": 1.0, "%": 0.01}
    for name in ("rates", "survival"):
        if (text := getattr(options, name)) is not None:
            return {name: _list(name, text, shares)}
    for name in ("alpha", "pooled"):
        if (text := getattr(options, name)) is not None:
            return {name: _one(name, text, shares)}
    return {"accept_lengths": _several("accept_lengths", options.accept_lengths, {"": 1.0})}


def _list(name: str, text: str, units: dict[str, float]) -> list[float]:
    """Numbers with units: ``.8,.74``, ``80%, 74%``, ``90 104``, ``0,8;0,74``."""
    plain = unicodedata.normalize("NFKC", text).strip()  # full-width digits and punctuation
    if ";" in plain:
        plain = plain.replace(",", ".").replace(";", ",")
    return [_number(name, word, units) for word in re.split(r"\s*,\s*|\s+(?=[\d.+-])", plain)]


def _number(name: str, word: str, units: dict[str, float]) -> float:
    found = NUMBER.fullmatch(word)
    if not found or found[2].lower() not in units:
        known = " or ".join(repr(unit) for unit in units if unit)
        may = f", {known} may follow" if known else ""
        raise InputError.of(f"{word!r} is given; it must be a number{may}", key=name)
    return float(f"{float(found[1]) * units[found[2].lower()]:.15g}")  # 80 % is 0.8


def _several(name: str, text: str, units: dict[str, float]) -> float | list[float]:
    numbers = _list(name, text, units)
    return numbers if len(numbers) > 1 else numbers[0]


def _one(name: str, text: str, units: dict[str, float]) -> float:
    numbers = _list(name, text, units)
    if len(numbers) > 1:
        raise InputError.of(f"{len(numbers)} numbers are given; it must be one", key=name)
    return numbers[0]


def _depth(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise InputError.of(
            f"{text!r} is given; it must be a whole number between 1 and 64", key="measured_at"
        )
    return int(text)


def _option(key: str) -> str:
    """Name of the command-line option of an argument: ``--measured-at``."""
    return f"--{key.replace('_', '-')}"
