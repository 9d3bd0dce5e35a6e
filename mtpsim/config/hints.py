"""What a user may have meant by text that is not TOML, or by text in place of a number."""

import json
import re
import unicodedata

ODD = "、。【】「」“”„«»\u2018\u2019\u2212\u3000\xa0"  # the last: single quotes, minus, two spaces
ASCII_FOR = dict(zip(ODD, ",.[]" + 7 * '"' + "''-  ", strict=True))
"""Characters of other keyboards and word processors; full-width forms are found by name."""
PLAIN_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|#.*')
YAML_LINE = re.compile(r"(---|- |[\w.-]+\s*:(\s|$))")
QUANTITY = re.compile(r"\s*(-?\d+(?:[.,]\d+)?)\s*(%|[a-zµ]*)\s*", re.IGNORECASE)
PER_UNIT = {"%": 0.01, "": 1.0, "ms": 1.0, "s": 1000.0, "us": 0.001, "µs": 0.001}
DECIMAL_COMMA = re.compile(r"(?<![\d.])(?<!\d,)\d+,\d+(?![\d.]|,\d)")
BARE_QUANTITY = re.compile(r"(?<![\w.])(-?\d+(?:\.\d+)?)\s*(%|ms\b|s\b|us\b|µs\b)", re.IGNORECASE)


def syntax_hint(text: str, line: int | None) -> str:
    """``; it looks like JSON`` and the like, or an empty string.

    Args:
        text (str): What is not valid TOML.
        line (int | None): Line of the error, from 1; None if unknown.
    """
    if text.lstrip()[:1] in ("{", "[") and _is_json(text):
        return "; it looks like JSON: TOML has [section] and key = value"
    lines = [PLAIN_TEXT.sub('""', given) for given in text.splitlines()]
    first = next((given.strip() for given in lines if given.strip(' "')), "")
    if YAML_LINE.match(first) and "=" not in first:
        return "; it looks like YAML: TOML has [section] and key = value"
    here = lines[line - 1] if line and line <= len(lines) else ""
    for given in (here, *lines):
        if odd := next((one for one in given if _plain(one) != one), ""):
            return f"; {odd!r} ({unicodedata.name(odd, '').lower()}) is {_plain(odd)!r} in TOML"
    found = BARE_QUANTITY.search(here)
    return number_hint(found[0]) if found else decimal_comma_hint(here)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return bool(re.match(r'\s*\{\s*"', text))
    return True


def _plain(character: str) -> str:
    """The ASCII character that a full-width or typographic one stands for, else itself."""
    if character in ASCII_FOR:
        return ASCII_FOR[character]
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) == 1 and plain.isascii() else character


def decimal_comma_hint(line: str) -> str:
    """``; 0,8 is two numbers, 0.8 is one``, or an empty string.

    Args:
        line (str): A line of the file; a list with spaces behind some of its commas only.
    """
    line = PLAIN_TEXT.sub('""', line)
    found = DECIMAL_COMMA.search(line) if ", " in line or "[" not in line else None
    return f"; {found[0]} is two numbers, {found[0].replace(',', '.')} is one" if found else ""


def number_hint(given: str) -> str:
    """``; write 0.8`` for ``80%``, ``0,8`` or a number with a unit of time, or an empty string.

    Args:
        given (str): Text in place of a number; shares are fractions, times ms.
    """
    found = QUANTITY.fullmatch("".join(map(_plain, given)))
    if not found or found[2].lower() not in PER_UNIT:
        return ""
    value = float(found[1].replace(",", ".")) * PER_UNIT[found[2].lower()]
    return f"; write {value:.12g}"
