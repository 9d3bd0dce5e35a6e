"""All texts of a figure."""

from __future__ import annotations

from matplotlib.figure import Figure


def texts(figure: Figure) -> str:
    """Texts of a figure, a line each: around the axes, on them, in its legend."""
    found = [text.get_text() for text in figure.texts]
    found += [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    for axes in figure.axes:
        found += [text.get_text() for text in axes.texts]
        found += [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()]
        for child in axes.child_axes:
            found += [label.get_text() for label in child.get_yticklabels()]
    return "\n".join(found)
