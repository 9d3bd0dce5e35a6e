"""Former names of keyword arguments keep working."""

from pathlib import Path

import pytest

import mtpsim

LOG = Path("experiments/logs/samples/rounds.jsonl")


@pytest.mark.parametrize("keyword", ["on_progress", "told"])
def test_progress_callback_by_both_names(keyword):
    calls = []
    log = mtpsim.read_logs([LOG], **{keyword: lambda *progress: None})  # too short to report any
    mtpsim.fit_log(log, only=["independent"], **{keyword: lambda *step: calls.append(step)})
    assert calls
