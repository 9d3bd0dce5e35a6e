"""Figures to files, with letters that matplotlib's own font lacks: titles may be Chinese."""

from __future__ import annotations

import logging
import warnings
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.text import Text

BEYOND = "\u2e80"  # where East Asian scripts begin, of which DejaVu Sans has nothing
WIDE_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN"),
    *("PingFang SC", "Hiragino Sans GB", "Heiti SC", "Microsoft YaHei", "SimHei"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "Arial Unicode MS"),
)


def save(figure: Figure, file: Path | IO[str], **options: Any) -> None:
    """Save a figure; a letter that no font of this machine has is a box, and no warning."""
    for text in figure.findobj(Text):
        if isinstance(text, Text) and max(text.get_text(), default="") >= BEYOND:
            text.set_fontfamily([*text.get_fontfamily(), *_wide_fonts()])
    talk = logging.getLogger("matplotlib.font_manager")  # of a font without the weight asked for
    before = talk.level
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        talk.setLevel(logging.ERROR)
        try:
            figure.savefig(file, **options)
        finally:
            talk.setLevel(before)


@lru_cache
def _wide_fonts() -> list[str]:
    known = set(fontManager.get_font_names())
    return [name for name in WIDE_FONTS if name in known]
