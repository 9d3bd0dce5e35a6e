"""``mtpsim quick``: the closed form's answer from a few numbers, without a simulation."""

import argparse
import re
import unicodedata
from dataclasses import replace
from typing import Any

from mtpsim.cli.main import DONE
from mtpsim.common.errors import InputError

SHARES = ("rates", "survival", "alpha", "pooled")
NUMBERS = ("target", "verify", "draft", *SHARES, "accept_lengths", "batch")
ARGUMENT = re.compile(r"`([a-z_]+)`")  # of the library, in its messages


def run(options: argparse.Namespace) -> int:
    """Print the table and the advice, or the experiment file."""
    from mtpsim.report.quick import quick

    try:
        given: dict[str, Any] = {name: _numbers(name, getattr(options, name)) for name in NUMBERS}
        for name in ("rates", "survival"):  # a single one is a list of one
            if isinstance(given[name], str):
                given[name] = [given[name]]
        answer = quick(**given, measured_at=_depth(options.measured_at))
        text = answer.toml() if options.toml else f"{answer}\n"
    except InputError as error:
        raise InputError(
            [
                replace(p, key=_option(p.key), message=_with_options(p.message))
                for p in error.problems
            ]
        ) from None
    print(text if options.toml else _with_options(text), end="")
    return DONE


def _numbers(name: str, text: str | None) -> str | list[str] | None:
    """Numbers with units: ``.8,.74``, ``80%, 74%``, ``90 104``, ``0,8;0,74``."""
    if text is None:
        return None
    plain = unicodedata.normalize("NFKC", text).strip()  # full-width digits and punctuation
    if ";" in plain:
        plain = plain.replace(",", ".").replace(";", ",")
    words = re.split(r"\s*,\s*|\s+(?=[\d.+-])", plain)
    if name in SHARES and (meant := _decimal_commas(words)):
        message = f"{plain!r} has decimal commas; write {', '.join(meant)}"
        raise InputError.of(message, key=name)
    return words if len(words) > 1 else words[0]


def _decimal_commas(words: list[str]) -> list[str]:
    """The shares that ``0,8,0,74`` stands for; empty for numbers without decimal commas."""
    whole, parts = words[::2], words[1::2]
    if len(whole) != len(parts) or set(whole) - {"0", "1"}:
        return []
    if not all(part.isdecimal() for part in parts) or set(parts) <= {"0", "1"}:
        return []
    return [f"{a}.{b}" for a, b in zip(whole, parts, strict=True)]


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


def _with_options(text: str) -> str:
    """A text of the library with the options in place of its arguments."""
    return ARGUMENT.sub(lambda found: _option(found[1]), text)
