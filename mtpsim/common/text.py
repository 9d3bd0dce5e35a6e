"""Singular and plural, sentences, and numbers in text."""

from collections.abc import Iterable

ONE = {"are": "is", "were": "was", "have": "has", "make": "makes", "take": "takes"}
"""Singular forms of verbs."""


def counted(number: float, name: str, verb: str = "") -> str:
    """``1 round``, ``2,000 rounds``; ``1 entry was``, ``3 entries were``.

    Args:
        number (float): A whole number.
        name (str): Noun in the singular.
        verb (str): Verb that follows, in the plural.
    """
    one = f"{number:,.0f}" == "1"
    many = f"{name[:-1]}ies" if name.endswith("ry") else f"{name}s"
    found = f"{number:,.0f} {name if one else many}"
    return f"{found} {ONE.get(verb, verb) if one else verb}" if verb else found


def listed(values: Iterable[object]) -> str:
    """``1``, ``1 and 2``, ``1, 2 and 3``: of one value or more."""
    *most, last = map(str, values)
    return f"{', '.join(most)} and {last}" if most else last


def span(values: Iterable[float], form: str = "g", unit: str = "") -> str:
    """The least and the greatest of values: ``0.5 %``; ``0.1 to 2 %`` where they differ.

    Args:
        values (Iterable[float]): One value or more.
        form (str): Format of each.
        unit (str): What follows the number, or the two.

    Examples:
        >>> span([3, 1, 2], "d"), span([0.25, 0.251], ".2f", " %")
        ('1 to 3', '0.25 %')
    """
    found = sorted(values)
    return " to ".join(dict.fromkeys(format(end, form) for end in (found[0], found[-1]))) + unit


def as_sentence(text: str) -> str:
    """The text with a capital and a full stop; the name of a file at its beginning stays.

    Examples:
        >>> as_sentence("two rounds are missing"), as_sentence("logs/a.log: 1 line not read.")
        ('Two rounds are missing.', 'logs/a.log: 1 line not read.')
    """
    first = text.split(maxsplit=1)[0]
    is_file = any(mark in first[:-1] for mark in "./\\")
    capital = text if is_file else text[0].upper() + text[1:]
    return capital.removesuffix(".") + "."


def one_line(text: str) -> str:
    """The text with U+FFFD for what is not printable: line ends, control and direction marks.

    For text of others in a comment of a file or in a message on a terminal.
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def three_digits(value: float) -> str:
    """A number in three digits, or whole: ``8.47``, ``19.6``, ``13,160``."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"
