"""Numbers of things in words."""

from __future__ import annotations

ONE = {"are": "is", "were": "was", "have": "has", "make": "makes", "take": "takes"}
"""What a verb becomes where there is one."""


def counted(number: float, name: str, verb: str = "") -> str:
    """``1 round``, ``2,000 rounds``; ``1 entry was``, ``3 entries were``.

    Args:
        number: of them; a whole one.
        name: of one of them.
        verb: that follows, as of many.

    """
    one = f"{number:,.0f}" == "1"
    many = f"{name[:-1]}ies" if name.endswith("ry") else f"{name}s"
    found = f"{number:,.0f} {name if one else many}"
    return f"{found} {ONE.get(verb, verb) if one else verb}" if verb else found
