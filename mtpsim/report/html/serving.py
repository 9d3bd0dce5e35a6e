"""The page of a simulated server."""

from collections.abc import Mapping
from dataclasses import replace

from mtpsim.report.document import ResultDocument
from mtpsim.report.figures.serving import BUDGETS
from mtpsim.report.html.sections import Section, Table
from mtpsim.report.html.svg import Picture
from mtpsim.report.tables import serving


def served_sections(result: ResultDocument, drawn: Mapping[str, Picture]) -> list[Section]:
    """The sections of a server: the answer, latencies, the state of the server."""
    lead, *rest = serving.sentences(result)
    if (
        not result.by_load and lead == serving.served(result)[0][1].sentence
    ):  # the choice, then the numbers that it rests on
        lead, _, facts = lead.partition(": ")
        lead, rest = f"{lead}.", [f"{facts[:1].upper()}{facts[1:]}", *rest]
    drawn = {name: _captioned(shown, lead) for name, shown in drawn.items()}
    top, *others = [name for name in drawn if name != BUDGETS] or [""]
    budgets = serving.has_budgets(result)
    capacity = serving.capacity_table(result)
    tables = [Table(serving.capacity_title(result), capacity)] if capacity.rows else []
    warnings = serving.warnings_of(result) + result.failures
    found = [
        Section(
            "advice", "Advice", [lead], rest, tables=tables, pictures=[drawn[top]] if top else []
        ),
        Section(
            "speeds",
            "Speed and goals",
            text=[f"{serving.sample_sentence(result)}."],
            tables=[Table("By load and depth", serving.arm_table(result, serving.MAIN))],
            pictures=[drawn[name] for name in others],
        ),
        Section(
            "latencies",
            "Latencies",
            tables=[Table("Quantiles in ms", serving.latency_table(result))],
            notes=[serving.READING],
        ),
        Section(
            "drafts",
            "Adaptive verification",
            tables=[Table("Drafts and gains", serving.drafts_table(result))] if budgets else [],
            pictures=[drawn[BUDGETS]] if BUDGETS in drawn else [],
            notes=[serving.DRAFTS_READING] if budgets else [],
        ),
        Section(
            "server",
            "State of the server",
            tables=[Table("Means over time", serving.arm_table(result, serving.STATE))],
        ),
        Section("warnings", "Warnings", text=warnings),
    ]
    return [section for section in found if not section.empty]


def _captioned(shown: Picture, lead: str) -> Picture:
    """A picture whose heading is not the advice that stands beside it."""
    if not lead.startswith(shown.heading):
        return shown
    text = shown.subtitle
    return replace(shown, heading=text[:1].upper() + text[1:], subtitle="")
