"""README.zh.md is README.md in Chinese: the same headings, code, links, tables and figures."""

import re
from pathlib import Path

import pytest

ENGLISH, CHINESE = (Path(name).read_text() for name in ("README.md", "README.zh.md"))
FENCE = re.compile(r"^```.*?^```$", re.S | re.M)
INDENTED = re.compile(r"(?:^ {4}.*\n)+", re.M)
NUMBER = re.compile(r"(?<![\w.])\d*\.?\d+(?![\w.]*\w)")


def code(text):
    """Fenced and indented blocks, and code in backticks outside of them."""
    blocks = FENCE.findall(text)
    rest = FENCE.sub("", text)
    return blocks + INDENTED.findall(rest), re.findall(r"`[^`\n]+`", INDENTED.sub("", rest))


def prose(text):
    return INDENTED.sub("", FENCE.sub("", text))


def links(text):
    """Sorted targets; the link to the other README counts as the same."""
    found = re.findall(r"\]\(([^)]+)\)", prose(text))
    return sorted("the other" if link.startswith("README") else link for link in found)


def rows(text):
    """Numbers and code of each cell of each table row."""
    lines = [line for line in prose(text).splitlines() if line.startswith("|")]
    split = [re.split(r"(?<!\\)\|", line.strip("|")) for line in lines]
    return [
        [(sorted(NUMBER.findall(cell)), sorted(code(cell)[1])) for cell in row] for row in split
    ]


def differences(one, other):
    """Parts that differ between two READMEs."""
    parts = {
        "headings": lambda text: re.findall(r"^#+ ", prose(text), re.M),
        "blocks of code": lambda text: code(text)[0],
        "code within sentences": lambda text: sorted(code(text)[1]),
        "links": links,
        "tables": rows,
        "paragraphs": lambda text: len(re.findall(r"\n\n(?=\S)", FENCE.sub("x", text))),
    }
    return [name for name, part in parts.items() if part(one) != part(other)]


def test_both_readmes_agree():
    assert differences(ENGLISH, CHINESE) == []
    assert len(links(ENGLISH)) >= 25
    assert sum(bool(numbers) for row in rows(ENGLISH) for numbers, _ in row) >= 6


@pytest.mark.parametrize(
    ("before", "after", "difference"),
    [
        ("mtpsim run experiments/article", "mtpsim run experiments/other", "blocks of code"),
        ("verify = [90, 104, 117]", "verify = [90, 104, 118]", "blocks of code"),
        ("## The command", "### The command", "headings"),
        ("(docs/logs.md)", "(docs/log.md)", "links"),
        ("69 %", "96 %", "tables"),
        ("`rates_are`", "`rates`", "code within sentences"),
        ("Changes: [", "\n\nChanges: [", "paragraphs"),
    ],
)
def test_a_change_in_one_readme_is_found(before, after, difference):
    """Negative controls."""
    assert before in ENGLISH
    assert difference in differences(ENGLISH.replace(before, after), CHINESE)


def test_sentences_are_in_chinese_with_chinese_punctuation():
    text = re.sub(r"`[^`\n]*`|\]\([^)]*\)", "", prose(CHINESE))
    for line in text.splitlines():
        if len(re.sub(r"[\d.|x -]", "", line)) > 40:
            assert len(re.findall(r"[\u4e00-\u9fff]", line)) > 8, line
        assert not re.search(r"[\u4e00-\u9fff][,;:?]", line), line
