"""The depth to run as settings of inference engines."""

from __future__ import annotations

import json
from dataclasses import dataclass


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
    vllm = json.dumps({"method": "mtp", "num_speculative_tokens": depth})
    trtllm = f"speculative_config:\n  decoding_type: MTP\n  max_draft_len: {depth}"
    sglang = f"--speculative-algorithm NEXTN {sglang_flags(depth)}"
    older = "older releases call the key num_nextn_predict_layers"
    return [
        EngineFlags("vLLM", f"--speculative-config '{vllm}'", "flag of vllm serve"),
        EngineFlags("SGLang", sglang, "flags of sglang.launch_server"),
        EngineFlags("TensorRT-LLM", trtllm, f"YAML options of trtllm-serve; {older}"),
        EngineFlags(
            "llama.cpp",
            f"--spec-type draft-mtp --spec-draft-n-max {depth}",
            "flags of llama-server; --draft-max in older builds",
        ),
    ]


def sglang_flags(depth: int) -> str:
    """Server arguments of SGLang for a chain of drafts.

    Args:
        depth (int): Drafts per round, at least 1.

    Examples:
        >>> sglang_flags(2)
        '--speculative-num-steps 2 --speculative-eagle-topk 1 --speculative-num-draft-tokens 3'
    """
    return (
        f"--speculative-num-steps {depth} --speculative-eagle-topk 1 "
        f"--speculative-num-draft-tokens {depth + 1}"
    )
