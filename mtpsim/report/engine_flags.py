"""The depth to run as settings of inference engines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mtpsim.common.arrays import JsonDict
from mtpsim.report.document import BatchGroup
from mtpsim.report.formatting import set_label, short_names

MOST_GROUPS = 4  # of a sweep whose settings are shown; `mtpsim export` writes those of each

BatchRange = tuple[int, int, int]
"""Least and greatest batch, both included, and the depth to run."""


@dataclass(frozen=True)
class EngineFlags:
    """What sets the depth of one engine.

    Attributes:
        engine (str): Name of the engine.
        text (str): Flags of the command line, or lines of a configuration file; may be empty.
        note (str): Where it goes, or what to do instead.
    """

    engine: str
    text: str
    note: str


def engine_flags(depth: int) -> list[EngineFlags]:
    """Settings for a chain of drafts by the model's own MTP head.

    Args:
        depth (int): Drafts per round; 0 is off.

    Returns:
        list[EngineFlags]: One entry per engine.
    """
    if not depth:
        return [
            EngineFlags("vLLM", "", "off: leave out --speculative-config"),
            EngineFlags("SGLang", "", "off: leave out --speculative-algorithm"),
            EngineFlags("TensorRT-LLM", "", "off: leave out speculative_config"),
            EngineFlags("llama.cpp", "--spec-type none", "off"),
        ]
    older = "older releases call the key num_nextn_predict_layers"
    return [
        _vllm(vllm_config(depth)),
        EngineFlags("SGLang", sglang_flags(depth), "flags of sglang.launch_server"),
        EngineFlags("TensorRT-LLM", _trtllm(depth), f"YAML options of trtllm-serve; {older}"),
        EngineFlags(
            "llama.cpp",
            llamacpp_flags(depth),
            "flags of llama-server; --draft-max in older builds",
        ),
    ]


def _vllm(config: JsonDict) -> EngineFlags:
    text = f"--speculative-config '{json.dumps(config)}'"
    return EngineFlags("vLLM", text, "flag of vllm serve")


def _trtllm(depth: int) -> str:
    return f"speculative_config:\n  decoding_type: MTP\n  max_draft_len: {depth}"


def vllm_config(depth: int) -> JsonDict:
    """VLLM's speculative config for the model's own MTP head at one depth, at least 1."""
    return {"method": "mtp", "num_speculative_tokens": depth}


def llamacpp_flags(depth: int) -> str:
    """Arguments of llama-server for the model's own MTP head at one depth, at least 1."""
    return f"--spec-type draft-mtp --spec-draft-n-max {depth}"


def schedule_flags(ranges: Sequence[BatchRange]) -> list[EngineFlags]:
    """Settings of the engines that change the depth with the batch size.

    Args:
        ranges (Sequence[BatchRange]): Batches from 1 on, of which some have a depth above 0.
    """
    note = "YAML options of trtllm-serve: greatest batch, depth"
    trtllm = EngineFlags("TensorRT-LLM", trtllm_schedule(ranges), note)
    return [_vllm(vllm_schedule(ranges)), trtllm]


def group_flags(groups: Sequence[BatchGroup]) -> list[EngineFlags]:
    """:func:`schedule_flags` of each group of batches, named by the values that it has.

    Args:
        groups (Sequence[BatchGroup]): Those of a result; more than four have too many settings.

    Returns:
        list[EngineFlags]: None for a group that drafts nowhere, or starts above a batch of 1.
    """
    found = []
    for group in groups if len(groups) <= MOST_GROUPS else ():
        ranges = [(step.from_, step.to, step.depth) for step in group.schedule]
        if ranges and ranges[0][0] == 1 and any(depth for *_, depth in ranges):
            where = f", {set_label(group.set, short_names(list(group.set)))}" if group.set else ""
            found += [replace(one, engine=one.engine + where) for one in schedule_flags(ranges)]
    return found


def vllm_schedule(ranges: Sequence[BatchRange]) -> JsonDict:
    """Depth by ranges of the batch for vLLM's speculative config; takes :func:`schedule_flags`'."""
    return {
        **vllm_config(max(depth for *_, depth in ranges)),
        "num_speculative_tokens_per_batch_size": [list(entry) for entry in ranges],
    }


def trtllm_schedule(ranges: Sequence[BatchRange]) -> str:
    """YAML of TensorRT-LLM: greatest batch of each draft length, and no drafts above the last.

    Args:
        ranges (Sequence[BatchRange]): As for :func:`schedule_flags`.

    Examples:
        >>> print(trtllm_schedule([(1, 64, 2), (65, 512, 0)]))
        speculative_config:
          decoding_type: MTP
          max_draft_len: 2
          draft_len_schedule:
            64: 2
    """
    last = max(n for n, (*_, depth) in enumerate(ranges) if depth)
    lines = [f"    {to}: {depth}" for _, to, depth in ranges[: last + 1]]
    if last == len(ranges) - 1:
        end = ranges[-1][1]
        lines.append(f"  # above {end}, the end of the sweep, the engine drafts nothing")
    deepest = max(depth for *_, depth in ranges)
    return "\n".join([_trtllm(deepest), "  draft_len_schedule:", *lines])


def sglang_flags(depth: int, topk: int = 1, nodes: int | None = None) -> str:
    """Server arguments of SGLang for a chain of drafts, or a tree.

    Args:
        depth (int): Draft passes per round, at least 1.
        topk (int): Candidates per node.
        nodes (int | None): Drafts to verify per round; None: as many as passes.

    Examples:
        >>> sglang_flags(2)
        '--speculative-algorithm NEXTN --speculative-num-steps 2 --speculative-eagle-topk 1 \
--speculative-num-draft-tokens 3'
    """
    return (
        f"--speculative-algorithm NEXTN --speculative-num-steps {depth} "
        f"--speculative-eagle-topk {topk} --speculative-num-draft-tokens {(nodes or depth) + 1}"
    )
