"""Logs made to exhaust memory or time are refused, or read in time that grows with their size."""

import gzip
import io

import pytest
import zstandard

from mtpsim.common.errors import InputError
from mtpsim.logs import Answers, files, json_text, read_logs
from verification.fuzz import limited_time

LINE = b'{"accepted": [1, 2, 0, 3], "depth": 3}\n'
SLOW = 20  # s; a quadratic reader needs minutes for these lines
REPEATED = {
    "vllm-log": "SpecDecoding metrics: Mean acceptance length: 1",
    "vllm-metrics": "a",
    "sglang-log": "Decode batch accept len #running-req: 1 ",
    "llamacpp-log": " ",
    "csv": ",",
    "rounds": "[",
}
HEADS = {
    "vllm-log": "Speculative metrics: Draft acceptance rate: ",
    "vllm-metrics": "vllm:spec_decode_num_drafts_total{",
    "llamacpp-log": "draft acceptance",
}
TAILS = {"vllm-metrics": "} 1"}


def zstd_of(chunk, times):
    """Repeated bytes, compressed."""
    packer, found = zstandard.ZstdCompressor().compressobj(), io.BytesIO()
    for _ in range(times):
        found.write(packer.compress(chunk))
    found.write(packer.flush())
    return found.getvalue()


def refusal(path):
    with pytest.raises(InputError) as caught:
        read_logs([path], Answers(depth=3))
    return str(caught.value)


def test_kilobytes_that_expand_to_hundreds_of_megabytes_are_refused(tmp_path):
    path = tmp_path / "log.zst"
    path.write_bytes(zstandard.compress(LINE * 3) + zstd_of(bytes(1 << 20), 300))
    assert path.stat().st_size < 40_000
    assert f"{path}: can't be read: it expands more than 1,000-fold" in refusal(path)


def test_text_that_compresses_well_is_read(tmp_path):
    path = tmp_path / "log.zst"
    path.write_bytes(zstd_of(LINE * 100, 20))
    assert read_logs([path]).count == 2000
    path.write_bytes(gzip.compress(LINE * 2000))
    assert read_logs([path]).count == 2000


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_a_line_without_an_end_is_refused(pack, tmp_path, monkeypatch):
    path = tmp_path / "log"
    path.write_bytes(pack(LINE + b'{"accepted": [' + b"1, " * 600_000))
    monkeypatch.setattr(files, "MAX_TEXT", 1_000_000)
    assert "can't be read: a line has more than 1,000,000 bytes" in refusal(path)
    monkeypatch.setattr(json_text, "MAX_CHARACTERS", 1_000_000)
    path.write_bytes(pack(b'{"accepted": [\n' + b"1,\n" * 400_000))
    assert "a document has more than 1,000,000 characters" in refusal(path)
    path.write_bytes(pack(LINE * 50_000))  # longer as a whole, of short lines
    assert read_logs([path]).count == 50_000


@pytest.mark.parametrize("form", sorted(REPEATED))
def test_reading_one_long_line_takes_linear_time(form, tmp_path):
    path, piece = tmp_path / "log", REPEATED[form]
    text = HEADS.get(form, "") + piece * (2_000_000 // len(piece)) + TAILS.get(form, "")
    path.write_text(text + "\n")
    with limited_time(SLOW), pytest.raises(InputError):
        read_logs([path], Answers(depth=3, rounds=5), format=form)
