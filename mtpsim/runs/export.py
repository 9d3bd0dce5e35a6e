"""A result as the configuration of an inference engine.

vLLM: speculative config of one depth, of adaptive verification (``enable_adaptive_verification``,
as in its documentation of release 0.32), of depths by batch
(``num_speculative_tokens_per_batch_size``) and of synthetic acceptance; SGLang and llama.cpp:
server arguments; TensorRT-LLM: ``draft_len_schedule``. All but synthetic acceptance draft with the
model's own MTP head.
"""

import json
import shlex
from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import mul
from typing import Any, TypeVar

from mtpsim.common.arrays import JsonDict
from mtpsim.common.errors import InputError, nearest
from mtpsim.common.text import counted
from mtpsim.config.sweep import parse_value
from mtpsim.report import engine_flags
from mtpsim.report.document import Advice, BatchGroup, PointResult, ResultDocument
from mtpsim.report.engine_flags import BatchRange
from mtpsim.report.serving_document import ServedArm
from mtpsim.results.document import Result

POLICY = "policy"  # names an arm of a server
MOST_LISTED = 12  # points, or values of a key, of an error message
Entry = TypeVar("Entry", PointResult, BatchGroup)
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
    return FORMATS[to](result.data, dict(_pair(text) for text in chosen))


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


def _one(entries: Sequence[Entry], chosen: JsonDict, what: str) -> Entry:
    found = [entry for entry in entries if _fits(entry.set, chosen)]
    if len(found) == 1:
        return found[0]
    some = found or entries
    known = [", ".join(_set_text(key, value) for key, value in entry.set.items()) for entry in some]
    if len(known) > MOST_LISTED:
        advice = _choices(some)
    else:
        listed = "; ".join(known)
        advice = f"choose one of: {listed}" if listed else "the run has no sweep: leave --set out"
    raise _wrong("--set", f"{len(found)} {what} match; {advice}")


def _choices(entries: Sequence[Entry]) -> str:
    """The swept keys of many points with their values, and one example."""
    parts = []
    for key in entries[0].set:
        different = list(dict.fromkeys(json.dumps(entry.set.get(key)) for entry in entries))
        shown = ", ".join(different[:MOST_LISTED])
        if len(different) > MOST_LISTED:
            shown += f", ... {different[-1]} ({len(different)} values)"
        parts.append(f"{key}: {shown}")
    example = " ".join(f"--set {shlex.quote(_plain(k, v))}" for k, v in entries[0].set.items())
    return f"choose one by its swept values ({'; '.join(parts)}), such as {example}"


def _plain(key: str, value: Any) -> str:
    """The value as ``--set`` takes it, without the quotes of a shell."""
    return _set_text(key, value).strip("'")


def _schedule(result: ResultDocument, chosen: JsonDict) -> list[BatchRange]:
    """Depths by batch, from 1 on; of a server by running requests."""
    if _is_served(result):
        if _tree(result, _point(result, chosen)):
            raise _wrong("--to", CHAINS)
        schedule = _served_schedule(result, chosen)
    elif not result.by_batch:
        raise _wrong("--to", f"needs a result with a sweep over `latency.batch`: {_how(result)}")
    else:
        for point in result.points:
            _advice(point)
            if _tree(result, point):
                raise _wrong("--to", CHAINS)
        group = _one(result.by_batch, chosen, "groups of batches")
        schedule = [(step.from_, step.to, step.depth) for step in group.schedule]
        first = schedule[0][0] if schedule else "no whole number"
        if first != 1:
            raise _wrong(
                "--to", f"the sweep starts at a batch of {first}; engines need it from 1 on"
            )
    if not any(depth for *_, depth in schedule):
        raise _wrong("--to", "MTP is off at every batch: there is nothing to set")
    return schedule


def _is_served(result: ResultDocument) -> bool:
    return any(point.serving for point in result.points)


def _point(result: ResultDocument, chosen: JsonDict) -> PointResult:
    """The chosen point; of a server ``policy`` names an arm, not a point."""
    served = _is_served(result)
    swept = {key: value for key, value in chosen.items() if not (served and key == POLICY)}
    return _one(result.points, swept, "points")


def _served_arm(point: PointResult, chosen: JsonDict) -> ServedArm:
    """The arm of a server that ``policy`` names, or the best one."""
    assert point.serving is not None
    arms = {arm.name: arm for arm in point.serving.arms}
    name = str(chosen.get(POLICY, point.serving.best))
    if name not in arms:
        known = ", ".join(arms)
        raise _wrong("--set", f"{name!r} is given; it must be one of {known}{nearest(name, arms)}")
    return arms[name]


def _served_depth(arm: ServedArm) -> int:
    if arm.depth is None:
        _require_depths(arm)
        raise _wrong(
            "--to",
            f"{arm.name} has several depths, and this format takes one: choose a fixed depth by "
            '--set "policy=depth K", or export depths by batch (vllm-schedule, trtllm)',
        )
    if not arm.depth:
        raise _wrong("--to", "the best depth is 0 (MTP off): there is nothing to set")
    return arm.depth


def _require_depths(arm: ServedArm) -> None:
    """Refuse a rule that shares a budget of drafts: it has a depth at no batch."""
    if arm.drafted:
        raise _wrong(
            "--to",
            f"{arm.name} shares a budget of drafts between requests and has no depth by batch: "
            "only vLLM verifies so (--to vllm)",
        )


def _served_schedule(result: ResultDocument, chosen: JsonDict) -> list[BatchRange]:
    """Depths by running requests that a policy used, rounded; between them that of the fewer."""
    arm = _served_arm(_point(result, chosen), chosen)
    _require_depths(arm)
    used = [(one.running, one.depth) for one in arm.depths] or [(1, float(_served_depth(arm)))]
    return engine_flags.running_ranges(used, int(result.experiment["serving"]["max_requests"]))


def _how(result: ResultDocument) -> str:
    """How to add a sweep over the batch to the experiment."""
    sweep = 'add `[sweep]` with `"latency.batch" = [1, 16, 64, 256]`, from 1 to the greatest batch'
    again = "to the experiment, and run it again"
    if "batch" in result.experiment["latency"]:
        return f"{sweep}, {again}"
    return f"give [latency] a cost model, which `mtpsim fit` makes of step times; {sweep}, {again}"


def _tree(result: ResultDocument, point: PointResult) -> JsonDict | None:
    """The section ``[draft]`` of a point whose drafts are a tree, not a chain; else None."""
    if point.tree is None or point.tree.is_chain:
        return None
    return engine_flags.draft_section(result.experiment, point.set)


def _depth(
    result: ResultDocument, chosen: JsonDict, *, tree: bool = False
) -> tuple[int, PointResult]:
    """The depth to run at the chosen point, and the point; ``tree``: also of a tree."""
    point = _point(result, chosen)
    if _tree(result, point) and not tree:
        raise _wrong("--to", CHAINS)
    if point.serving:
        return _served_depth(_served_arm(point, chosen)), point
    if depth := _advice(point).depth:
        return depth, point
    raise _wrong("--to", "the advice is depth 0 (MTP off): there is nothing to set")


def _advice(point: PointResult) -> Advice:
    """The advice of a point; a point at which the run recommends no depth is refused."""
    advice = point.advice
    if advice is None or advice.recommended is None:
        raise _wrong("--to", f"the run recommends no depth: {advice.sentence if advice else ''}")
    return advice


def _json(value: JsonDict) -> str:
    return json.dumps({"speculative_config": value}, indent=2) + "\n"


def vllm(result: ResultDocument, chosen: JsonDict) -> str:
    """The advised depth of a point, or adaptive verification."""
    if drafted := _adaptive(result, chosen):
        return _json(engine_flags.adaptive_config(drafted))
    return _json(engine_flags.vllm_config(_depth(result, chosen)[0]))


def _adaptive(result: ResultDocument, chosen: JsonDict) -> int:
    """Drafts per request of a rule that shares a budget as vLLM does; 0 for another arm."""
    arm = _served_arm(_point(result, chosen), chosen) if _is_served(result) else None
    if arm is None or not arm.drafted:
        return 0
    rules = result.experiment["serving"]["policies"]
    if not engine_flags.is_vllm_adaptive(rules, arm.name, bound=arm.bound):
        raise _wrong(
            "--to",
            f"{arm.rule} is given; vLLM's adaptive verification is the rule budget with "
            'search = "global" and stale = 1',
        )
    return arm.drafted


def vllm_schedule(result: ResultDocument, chosen: JsonDict) -> str:
    """Depth by ranges of the batch, both ends included."""
    return _json(engine_flags.vllm_schedule(_schedule(result, chosen)))


def vllm_synthetic(result: ResultDocument, chosen: JsonDict) -> str:
    """P(1..j accepted) at the advised depth for synthetic acceptance, without a draft model."""
    depth, point = _depth(result, chosen)
    if not point.diagnostics:
        raise _wrong("--to", "a server's result has no acceptance rates by position")
    rates = [rate or 0.0 for rate in point.diagnostics.rates_by_depth[depth - 1].mean]
    config = {
        "num_speculative_tokens": depth,
        "rejection_sample_method": "synthetic",
        "synthetic_acceptance_rates": [round(rate, 6) for rate in accumulate(rates, mul)],
    }
    return _json(config)


def sglang(result: ResultDocument, chosen: JsonDict) -> str:
    """Server arguments for a chain of drafts of the advised depth, or for a tree by ``topk``."""
    depth, point = _depth(result, chosen, tree=True)
    draft = _tree(result, point)
    if not draft or not point.tree:
        return f"{engine_flags.sglang_flags(depth)}\n"
    if draft["tree"] != "topk":
        raise _wrong("--to", 'the run drafts a tree, and SGLang drafts those of tree = "topk"')
    shape = point.advice and point.advice.faster_shape  # a server has none
    own = point.depths[depth].speedup.exact or 0.0 if shape else 0.0
    if shape and shape.chain_speedup > own:
        raise _wrong(
            "--to",
            f"the run drafts a tree of {own:.3f}x at depth {depth}, and a chain of "
            f"{counted(shape.chain_depth, 'draft')} is faster, {shape.chain_speedup:.3f}x (exact): "
            f"{engine_flags.sglang_flags(shape.chain_depth)}",
        )
    nodes = engine_flags.nodes_to(depth, point.tree.parents)
    return f"{engine_flags.sglang_flags(depth, draft['topk'], nodes)}\n"


def llamacpp(result: ResultDocument, chosen: JsonDict) -> str:
    """Server arguments for drafts of the advised depth."""
    return f"{engine_flags.llamacpp_flags(_depth(result, chosen)[0])}\n"


def trtllm(result: ResultDocument, chosen: JsonDict) -> str:
    """YAML: greatest batch of each draft length; no drafts above the last one."""
    return f"{engine_flags.trtllm_schedule(_schedule(result, chosen))}\n"


FORMATS: dict[str, Callable[[ResultDocument, JsonDict], str]] = {
    "vllm": vllm,
    "vllm-schedule": vllm_schedule,
    "vllm-synthetic": vllm_synthetic,
    "sglang": sglang,
    "trtllm": trtllm,
    "llamacpp": llamacpp,
}
