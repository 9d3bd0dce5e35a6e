"""A result as the configuration of an inference engine.

vLLM: speculative config of one depth, of adaptive verification (``enable_adaptive_verification``,
as in its documentation of release 0.32), of depths by batch
(``num_speculative_tokens_per_batch_size``) and of synthetic acceptance; SGLang and llama.cpp:
server arguments; TensorRT-LLM: ``draft_len_schedule``. All but synthetic acceptance draft with the
model's own MTP head.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import mul
from typing import Any

from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import InputError, nearest
from mtpsim.common.text import counted
from mtpsim.config.sweep import parse_value
from mtpsim.report import engine_flags
from mtpsim.report.engine_flags import BatchRange
from mtpsim.results.document import Result

POLICY = "policy"  # names an arm of a server
CHAINS = (
    "the run drafts a tree, and this engine drafts chains: run it with --set draft=none, and "
    "export that"
)


def export(result: Result, to: str, chosen: Sequence[str] = ()) -> str:
    """Write the configuration of an engine.

    Args:
        result (Result): The result of a run.
        to (str): Name of the engine and form, a key of ``FORMATS``.
        chosen (Sequence[str]): ``key=value`` pairs that select a point of a sweep.

    Returns:
        str: JSON, YAML or command-line arguments.

    Raises:
        InputError: The format is unknown, or the result lacks what the engine needs.
    """
    if to not in FORMATS:
        known = ", ".join(FORMATS)
        raise _wrong("--to", f"{to!r} is given; it must be one of {known}{nearest(to, FORMATS)}")
    return FORMATS[to](result.document, dict(_pair(text) for text in chosen))


def warnings_of(result: Result, chosen: Sequence[str] = ()) -> list[str]:
    """Each warning of the points that an export with these arguments rests on, once."""
    wanted = dict(_pair(text) for text in chosen)
    wanted.pop(POLICY, None)
    points = [point for point in result.data.points if _fits(point.set, wanted)]
    texts = [text for point in points for text in point.warnings]
    texts += filter(None, [engine_flags.drafter_note(result.data.experiment, points)])
    texts += [p.serving.sentence for p in points if p.serving and not p.serving.served]
    shapes = [point.advice and point.advice.faster_shape for point in points]
    return list(dict.fromkeys([*texts, *(shape.faster_sentence for shape in shapes if shape)]))


def _wrong(key: str, message: str) -> InputError:
    return InputError.of(message, key=key)


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise _wrong("--set", f"{text!r} is given; it must be KEY=VALUE")
    return key.strip(), parse_value(value)


def _fits(values: JsonDict, chosen: JsonDict) -> bool:
    """Whether the swept values, and the keys of those that are tables, are as chosen."""
    tables = {key: table for key, table in values.items() if isinstance(table, dict)}
    inner = {f"{key}.{name}": one for key, table in tables.items() for name, one in table.items()}
    return all((inner | values).get(key) == value for key, value in chosen.items())


def _set_text(key: str, value: Any) -> str:
    """The value as ``--set`` takes it; a table in the quotes of a shell."""
    if not isinstance(value, dict):
        return f"{key}={json.dumps(value)}"
    return f"'{key}={{ {', '.join(f'{k} = {json.dumps(v)}' for k, v in value.items())} }}'"


def _one(entries: list[JsonDict], chosen: JsonDict, what: str) -> JsonDict:
    found = [entry for entry in entries if _fits(entry["set"], chosen)]
    if len(found) == 1:
        return found[0]
    known = "; ".join(
        ", ".join(_set_text(key, value) for key, value in entry["set"].items())
        for entry in found or entries
    )
    advice = f"choose one of: {known}" if known else "the run has no sweep, so leave --set out"
    raise _wrong("--set", f"{len(found)} {what} match; {advice}")


def _schedule(document: JsonDict, chosen: JsonDict) -> list[BatchRange]:
    if document["points"] and document["points"][0].get("serving"):
        if _tree(document, _point(document, chosen)):
            raise _wrong("--to", CHAINS)
        return _served_schedule(document, chosen)
    groups: list[JsonDict] = document.get("by_batch") or []
    if not groups:
        raise _wrong("--to", f"needs a result with a sweep over `latency.batch`: {_how(document)}")
    for point in document["points"]:
        _require_advice(point)
        if _tree(document, point):
            raise _wrong("--to", CHAINS)
    entries = _one(groups, chosen, "groups of batches")["schedule"]
    schedule = [(entry["from"], entry["to"], entry["depth"]) for entry in entries]
    first = schedule[0][0] if schedule else "no whole number"
    if first != 1:
        raise _wrong("--to", f"the sweep starts at a batch of {first}; engines need it from 1 on")
    if not any(depth for *_, depth in schedule):
        raise _wrong("--to", "MTP is off at every batch: there is nothing to set")
    return schedule


def _point(document: JsonDict, chosen: JsonDict) -> JsonDict:
    """The chosen point; of a server ``policy`` names an arm, not a point."""
    points = document["points"]
    served = points and points[0].get("serving")
    swept = {key: value for key, value in chosen.items() if not (served and key == POLICY)}
    return _one(points, swept, "points")


def _served_arm(document: JsonDict, chosen: JsonDict) -> JsonDict:
    """The arm of a server that ``policy`` names, or the best one."""
    served = _point(document, chosen)["serving"]
    arms = {arm["name"]: arm for arm in served["arms"]}
    name = str(chosen.get(POLICY, served["best"]))
    if name not in arms:
        known = ", ".join(arms)
        raise _wrong("--set", f"{name!r} is given; it must be one of {known}{nearest(name, arms)}")
    arm: JsonDict = arms[name]
    return arm


def _served_depth(document: JsonDict, chosen: JsonDict) -> int:
    arm = _served_arm(document, chosen)
    if arm["depth"] is None:
        _require_depths(arm)
        raise _wrong(
            "--to",
            f"{arm['name']} has several depths, and this format takes one: choose a fixed depth by "
            '--set "policy=depth K", or export depths by batch (vllm-schedule, trtllm)',
        )
    if not arm["depth"]:
        raise _wrong("--to", "the best depth is 0 (MTP off): there is nothing to set")
    return int(arm["depth"])


def _require_depths(arm: JsonDict) -> None:
    """Refuse a rule that shares a budget of drafts: it has a depth at no batch."""
    if arm.get("drafted"):
        raise _wrong(
            "--to",
            f"{arm['name']} shares a budget of drafts between requests and has no depth by batch: "
            "only vLLM verifies so (--to vllm)",
        )


def _served_schedule(document: JsonDict, chosen: JsonDict) -> list[BatchRange]:
    """Depths by running requests that a policy used, rounded; between them that of the fewer."""
    arm = _served_arm(document, chosen)
    _require_depths(arm)
    most = int(document["experiment"]["serving"]["max_requests"])
    used = arm["depths"] or [{"running": 1, "depth": _served_depth(document, chosen)}]
    schedule = engine_flags.running_ranges([(one["running"], one["depth"]) for one in used], most)
    if not any(depth for *_, depth in schedule):
        raise _wrong("--to", "MTP is off at every batch: there is nothing to set")
    return schedule


def _how(document: JsonDict) -> str:
    """How to add a sweep over the batch to the experiment."""
    sweep = 'add `[sweep]` with `"latency.batch" = [1, 16, 64, 256]`, from 1 to the greatest batch'
    again = "to the experiment, and run it again"
    if "batch" in document["experiment"]["latency"]:
        return f"{sweep}, {again}"
    return f"give [latency] a cost model, which `mtpsim fit` makes of step times; {sweep}, {again}"


def _tree(document: JsonDict, point: JsonDict) -> JsonDict | None:
    """The section ``[draft]`` of a point whose drafts are a tree, not a chain; else None."""
    parents = (point.get("tree") or {}).get("parents", [])
    if parents == list(range(len(parents))):
        return None
    return engine_flags.draft_section(document["experiment"], point["set"])


def _depth_and_survival(
    document: JsonDict, chosen: JsonDict, *, tree: bool = False
) -> tuple[int, list[float]]:
    """The advised depth of a point, and P(1..j accepted) at that depth; ``tree``: also of one."""
    point = _point(document, chosen)
    if _tree(document, point) and not tree:
        raise _wrong("--to", CHAINS)
    if point.get("serving"):
        return _served_depth(document, chosen), []
    _require_advice(point)
    depth = int(point["advice"]["depth"])
    if not depth:
        raise _wrong("--to", "the advice is depth 0 (MTP off): there is nothing to set")
    rates = point["diagnostics"]["rates_by_depth"][depth - 1]["mean"]
    return depth, [round(rate, 6) for rate in accumulate(rates, mul)]


def _require_advice(point: JsonDict) -> None:
    """Refuse a point at which the run recommends no depth, and give its reason."""
    advice = point["advice"]
    if advice.get("requests_needed") or not advice.get("times_known", True):
        raise _wrong("--to", f"the run recommends no depth: {advice['sentence']}")


def _json(value: JsonDict) -> str:
    return json.dumps(value, indent=2) + "\n"


def vllm(document: JsonDict, chosen: JsonDict) -> str:
    """The advised depth of a point, or adaptive verification."""
    if drafted := _adaptive(document, chosen):
        return _json({"speculative_config": engine_flags.adaptive_config(drafted)})
    depth, _ = _depth_and_survival(document, chosen)
    return _json({"speculative_config": engine_flags.vllm_config(depth)})


def _adaptive(document: JsonDict, chosen: JsonDict) -> int:
    """Drafts per request of a rule that shares a budget as vLLM does; 0 for another arm."""
    if not (document["points"] and document["points"][0].get("serving")):
        return 0
    arm = _served_arm(document, chosen)
    if not arm.get("drafted"):
        return 0
    rules = document["experiment"]["serving"]["policies"]
    if not engine_flags.is_vllm_adaptive(rules, arm["name"], bound=arm["bound"]):
        raise _wrong(
            "--to",
            f"{arm['rule']} is given; vLLM's adaptive verification is the rule budget with "
            'search = "global" and stale = 1',
        )
    return int(arm["drafted"])


def vllm_schedule(document: JsonDict, chosen: JsonDict) -> str:
    """Depth by ranges of the batch, both ends included."""
    return _json({"speculative_config": engine_flags.vllm_schedule(_schedule(document, chosen))})


def vllm_synthetic(document: JsonDict, chosen: JsonDict) -> str:
    """Survival rates for synthetic acceptance, without a draft model."""
    depth, survival = _depth_and_survival(document, chosen)
    if not survival:
        raise _wrong("--to", "a server's result has no acceptance rates by position")
    config = {
        "num_speculative_tokens": depth,
        "rejection_sample_method": "synthetic",
        "synthetic_acceptance_rates": survival,
    }
    return _json({"speculative_config": config})


def sglang(document: JsonDict, chosen: JsonDict) -> str:
    """Server arguments for a chain of drafts of the advised depth, or for a tree by ``topk``."""
    depth, _ = _depth_and_survival(document, chosen, tree=True)
    point = _point(document, chosen)
    draft = _tree(document, point)
    if not draft:
        return f"{engine_flags.sglang_flags(depth)}\n"
    if draft["tree"] != "topk":
        raise _wrong("--to", 'the run drafts a tree, and SGLang drafts those of tree = "topk"')
    shape = (point.get("advice") or {}).get("faster_shape")  # a server has none
    own = point["depths"][depth]["speedup"]["exact"] if shape else 0.0
    if shape and shape["chain_speedup"] > own:
        chain = shape["chain_depth"]
        raise _wrong(
            "--to",
            f"the run drafts a tree of {own:.3f}x at depth {depth}, and a chain of "
            f"{counted(chain, 'draft')} is faster, {shape['chain_speedup']:.3f}x (exact): "
            f"{engine_flags.sglang_flags(chain)}",
        )
    nodes = engine_flags.nodes_to(depth, point["tree"]["parents"])
    return f"{engine_flags.sglang_flags(depth, draft['topk'], nodes)}\n"


def llamacpp(document: JsonDict, chosen: JsonDict) -> str:
    """Server arguments for drafts of the advised depth."""
    depth, _ = _depth_and_survival(document, chosen)
    return f"{engine_flags.llamacpp_flags(depth)}\n"


def trtllm(document: JsonDict, chosen: JsonDict) -> str:
    """YAML: greatest batch of each draft length; no drafts above the last one."""
    return f"{engine_flags.trtllm_schedule(_schedule(document, chosen))}\n"


FORMATS: dict[str, Callable[[JsonDict, JsonDict], str]] = {
    "vllm": vllm,
    "vllm-schedule": vllm_schedule,
    "vllm-synthetic": vllm_synthetic,
    "sglang": sglang,
    "trtllm": trtllm,
    "llamacpp": llamacpp,
}
