"""README.zh.md is README.md in Chinese: the same headings, code, links, tables and figures."""

import re
from pathlib import Path

import pytest

ENGLISH, CHINESE = (Path(name).read_text() for name in ("README.md", "README.zh.md"))
FENCE = re.compile(r"^```.*?^```$", re.S | re.M)
INDENTED = re.compile(r"(?:^ {4}.*\n)+", re.M)
NUMBER = re.compile(r"(?<![\w.])\d*\.?\d+(?![\w.]*\w)")


def code(text):
    """Fenced and indented blocks, and what stands in backticks outside of them."""
    blocks = FENCE.findall(text)
    rest = FENCE.sub("", text)
    return blocks + INDENTED.findall(rest), re.findall(r"`[^`\n]+`", INDENTED.sub("", rest))


def prose(text):
    return INDENTED.sub("", FENCE.sub("", text))


def outline(text):
    return [len(mark) for mark in re.findall(r"^(#+) ", prose(text), re.M)]


def links(text):
    """Targets, in any order; each README leads to the other one."""
    found = re.findall(r"\]\(([^)]+)\)", prose(text))
    return sorted("the other" if link.startswith("README") else link for link in found)


def rows(text):
    """Cells of each row of a table, with the numbers and the code that they hold."""
    lines = [line for line in prose(text).splitlines() if line.startswith("|")]
    split = [re.split(r"(?<!\\)\|", line.strip("|")) for line in lines]
    return [
        [(sorted(NUMBER.findall(cell)), sorted(code(cell)[1])) for cell in row] for row in split
    ]


def differences(one, other):
    """What is not the same in two READMEs, in words; nothing where they are in step."""
    parts = {
        "headings": outline,
        "blocks of code": lambda text: code(text)[0],
        "code within sentences": lambda text: sorted(code(text)[1]),
        "links": links,
        "tables": rows,
        "paragraphs": lambda text: len(re.findall(r"\n\n(?=\S)", FENCE.sub("x", text))),
    }
    return [name for name, part in parts.items() if part(one) != part(other)]


def test_both_are_in_step():
    assert differences(ENGLISH, CHINESE) == []


def test_there_is_something_to_compare():
    assert len(outline(ENGLISH)) >= 8
    assert len(code(ENGLISH)[0]) >= 6
    assert len(links(ENGLISH)) >= 25
    assert sum(bool(numbers) for row in rows(ENGLISH) for numbers, _ in row) >= 6


@pytest.mark.parametrize(
    ("was", "changed", "told"),
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
def test_a_change_of_one_is_told(was, changed, told):
    """Negative controls."""
    assert was in ENGLISH
    assert told in differences(ENGLISH.replace(was, changed), CHINESE)


def test_the_chinese_one_is_chinese():
    """Every sentence and every row of words in it; and its commas are."""
    for line in re.sub(r"`[^`\n]*`|\]\([^)]*\)", "", prose(CHINESE)).splitlines():
        if len(line) > 40 and not re.fullmatch(r"[\d.| ]+", line):
            assert len(re.findall(r"[\u4e00-\u9fff]", line)) > 8, line
        assert not re.search(r"[\u4e00-\u9fff][,;:?]", line), line
