"""Sections of the page, and tables with their captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mtpsim.report.html.svg import Picture
from mtpsim.report.tables.terminal import TextTable


@dataclass(frozen=True)
class Table:
    """A table with its caption."""

    caption: str
    content: TextTable


@dataclass(frozen=True)
class Section:
    """A part of the page, in the order in which its fields are shown.

    Attributes:
        key: unique among the sections beside it; used as an id.
        heading: its title.
        lead: sentences in bold.
        text: other sentences.
        tables: with their captions.
        notes: sentences on how to read the tables.
        pictures: figures.
        inner: sections that are folded until opened.
    """

    key: str
    heading: str
    lead: Sequence[str] = ()
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    inner: Sequence[Section] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        parts = self.lead, self.text, self.tables, self.notes, self.pictures, self.inner
        return not any(parts)
