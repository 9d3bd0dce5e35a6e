"""The depth to run as settings of inference engines."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mtpsim.acceptance.trees import Tree
from mtpsim.common.arrays import JsonDict
from mtpsim.report.document import BatchGroup, PointResult, ResultDocument
from mtpsim.report.formatting import advised_depth, set_label, short_names
from mtpsim.report.serving_document import ServedArm, ServedPoint
from mtpsim.report.tables.serving import at_load

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
            "llama.cpp", llamacpp_flags(depth), "flags of llama-server; --draft-max in older builds"
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


def point_flags(result: ResultDocument) -> list[EngineFlags]:
    """Settings of the arm to run on a server at each load, or of the advised depth of each tree.

    Those that several points share are named by all of them; more than four have none. Points
    without settings have a note that says why, where others have some.
    """
    places: dict[tuple[EngineFlags, ...], list[PointResult]] = {}
    for point in result.points:
        found = _served_flags(result, point) if point.serving else _tree_flags(result, point)
        places.setdefault(tuple(found), []).append(point)
    settings = [found for found in places if any(one.engine for one in found)]
    if not settings or len(settings) > MOST_GROUPS:
        return []
    flags = []
    for shared, points in places.items():
        where = "; ".join(map(_where, points)) if len(places) > 1 else ""
        remarks = [_arm_to_run(point.serving)[1] for point in points if point.serving]
        for one in shared:
            engine = f"{one.engine}, {where}" if one.engine and where else one.engine
            note = "; ".join(filter(None, [one.note, *remarks]))
            flags.append(
                replace(one, engine=engine or f"{where[:1].upper()}{where[1:]}", note=note)
            )
    return flags


def _where(point: PointResult) -> str:
    """The load of a server, if it is swept, and the other swept values."""
    served, values = point.serving, dict(point.set)
    load = served and values.pop(f"serving.arrivals.{served.arrivals}", None)
    start = f"{at_load(served).lower()}, " if served and load is not None else ""
    return (start + set_label(values, short_names([*values]))).removesuffix(", ")


def _served_flags(result: ResultDocument, point: PointResult) -> list[EngineFlags]:
    """Settings of the best arm, or of a fixed depth that is as good as one that shares a budget.

    A note without an engine where no arm serves the load, or no engine has its rule.
    """
    if not point.serving:
        return []
    if not point.serving.served:
        why = "no arm serves the load" if point.serving.overloaded else "no arm meets the goals"
        return [EngineFlags("", "", f"no settings: {why}")]
    arm, serving = _arm_to_run(point.serving)[0], result.experiment["serving"]
    if arm.drafted:
        as_good = map(point.serving.arm, [arm.name, *point.serving.candidates])
        rules = (
            rule.drafted
            for rule in as_good
            if rule.drafted and is_vllm_adaptive(serving["policies"], rule.name, bound=rule.bound)
        )
        drafted = next(rules, None)
        if drafted:
            return [_vllm(adaptive_config(drafted))]
        return [EngineFlags("", "", f"no settings: no engine has the rule of {arm.name}")]
    if point.tree and not point.tree.is_chain:
        return _sglang_tree(result, point, arm.depth)
    if arm.depth is not None:
        return engine_flags(arm.depth)
    ranges = _arm_ranges(arm, int(serving["max_requests"]))
    return schedule_flags(ranges) if any(depth for *_, depth in ranges) else engine_flags(0)


def _arm_to_run(point: ServedPoint) -> tuple[ServedArm, str]:
    """The best arm, or the fixed depth that it gains nothing over, and a remark on that.

    As in the advice, it is the depth over which the gain is certainly the least.
    """
    arm = point.arm(point.best)
    own = next((one for one in point.budgets if one.name == arm.name), None)
    gains = [g for g in own.gains if point.arm(g.over).depth is not None] if own else []
    least = min(gains, key=lambda gain: (gain.high or 0.0, gain.over), default=None)
    if not point.served or not least or least.verdict not in ("equal", "slower"):
        return arm, ""
    place = at_load(point)
    remark = f"{place[0].lower()}{place[1:]} {arm.name} gains nothing that matters over it"
    return point.arm(least.over), remark


def _arm_ranges(arm: ServedArm, most: int) -> list[BatchRange]:
    return running_ranges([(used.running, used.depth) for used in arm.depths], most)


def _tree_flags(result: ResultDocument, point: PointResult) -> list[EngineFlags]:
    """Settings of a shape at its advised depth; none where a tree, or a chain, is faster."""
    depth, shape = advised_depth(point), point.advice and point.advice.faster_shape
    own = point.depths[depth].speedup if depth is not None else None
    if depth is None or not own:
        return []
    if not point.tree or point.tree.is_chain:
        return [] if shape and shape.kind == "tree" else engine_flags(depth)
    slower = shape and shape.chain_speedup > (own.exact or 0.0)
    return [] if slower else _sglang_tree(result, point, depth)


def _sglang_tree(
    result: ResultDocument, point: PointResult, depth: int | None
) -> list[EngineFlags]:
    draft = draft_section(result.experiment, point.set)
    if not depth or not point.tree or draft.get("tree") != "topk":
        return engine_flags(0) if depth == 0 else []
    text = sglang_flags(depth, draft["topk"], nodes_to(depth, point.tree.parents))
    return [EngineFlags("SGLang", text, "flags of sglang.launch_server")]


def draft_section(experiment: JsonDict, chosen: JsonDict) -> JsonDict:
    """The section ``[draft]`` of a point.

    Args:
        experiment (JsonDict): The experiment of all points.
        chosen (JsonDict): Swept keys of the point and their values.
    """
    draft: JsonDict = {**(experiment.get("draft") or {}), **chosen.get("draft", {})}
    return draft | {key[6:]: chosen[key] for key in chosen if key.startswith("draft.")}


def drafter_note(experiment: JsonDict, points: Sequence[PointResult]) -> str:
    """What to change in settings for the model's MTP head if the drafts are not its own."""
    if not any(draft_section(experiment, point.set).get("lengths") for point in points):
        return ""
    return (
        "the run's drafts have random lengths ([draft] lengths), and this configuration drafts "
        'with the model\'s MTP head: set your drafter in its place, as "method": "ngram" in '
        "vLLM, and the depth as the most drafts that it proposes"
    )


def nodes_to(depth: int, parents: Sequence[int]) -> int:
    """Nodes of a tree down to a depth; ``parents`` is the parent of each node, 0 the root."""
    return int((Tree(tuple(parents)).levels <= depth).sum())


def is_vllm_adaptive(policies: Sequence[JsonDict], name: str, *, bound: bool) -> bool:
    """Whether a rule that shares a budget of drafts does so as vLLM does.

    Args:
        policies (Sequence[JsonDict]): Those of ``[serving]``.
        name (str): Of the rule.
        bound (bool): Whether it knows what no engine can know.
    """
    rule = next((one for one in policies if (one.get("name") or one["rule"]) == name), {})
    return not bound and rule.get("search", "global") == "global" and not rule.get("per_request")


def adaptive_config(drafted: int) -> JsonDict:
    """VLLM's speculative config of adaptive verification; ``drafted`` per request, at least 1."""
    return vllm_config(drafted) | {"enable_adaptive_verification": True}


def running_ranges(used: Sequence[tuple[int, float]], most: int) -> list[BatchRange]:
    """Depths by running requests, rounded; between two numbers that of the fewer requests.

    Args:
        used (Sequence[tuple[int, float]]): Running requests, ascending, and mean depth.
        most (int): Running requests at which the last range ends.

    Examples:
        >>> running_ranges([(2, 3.1), (8, 2.9), (64, 0.0)], 256)
        [(1, 63, 3), (64, 256, 0)]
    """
    schedule: list[BatchRange] = []
    for number, (running, depth) in enumerate(used):
        first = running if number else 1
        last = used[number + 1][0] - 1 if number + 1 < len(used) else most
        if schedule and schedule[-1][2] == round(depth):
            first = schedule.pop()[0]
        schedule.append((first, last, round(depth)))
    return schedule


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
