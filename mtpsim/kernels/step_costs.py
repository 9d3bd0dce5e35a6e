"""The time of an engine's step, looked up in :class:`mtpsim.latency.step_costs.StepCosts`."""

import math

from mtpsim.kernels.jit import bare, bare_inlined


@bare_inlined
def draft_ms(costs, depth, requests):
    """Time of drafting ``depth`` tokens for ``requests`` requests; NaN beyond the tables."""
    if depth == 0 or requests == 0:
        return 0.0
    requests = (requests + costs.ranks - 1) // costs.ranks
    if depth >= costs.draft.shape[0] or requests >= costs.draft.shape[1]:
        return math.nan
    return costs.draft[depth, requests]


@bare_inlined
def verify_ms(costs, tokens, requests, cached, reads=-1.0):
    """Time of a pass of the target over ``tokens`` of ``requests`` requests; NaN beyond the tables.

    ``cached`` is the sum of the requests' contexts. ``reads`` is the sum over requests of context
    times tokens of the pass; below 0, every request is taken to have the mean number of tokens.
    """
    if tokens == 0 or requests == 0:
        return 0.0
    if reads < 0.0:
        reads = cached * (tokens / requests)
    if costs.ranks > 1:
        fullest = (requests + costs.ranks - 1) // costs.ranks
        part = fullest / requests
        tokens = min(tokens, math.ceil(tokens * part - 1e-9))
        requests, cached, reads = fullest, cached * part, reads * part
    if tokens >= costs.compute.size or requests >= costs.row.size:
        return math.nan
    row, share = costs.row[requests], costs.share[requests]
    memory = costs.memory[row, tokens]
    if share > 0.0:
        memory += share * (costs.memory[row + 1, tokens] - memory)
    memory -= costs.unread_by_tokens[tokens] * costs.unread_by_requests[requests]
    memory += costs.per_cached * cached + costs.per_cached_token * reads
    fixed = costs.overhead + costs.per_request * requests
    return fixed + max(memory, costs.compute[tokens])


@bare_inlined
def step_ms(costs, depth, drafting, speculates, verify):
    """Time of a step: its pass of ``verify`` ms, and drafting for ``drafting`` requests.

    ``depth`` is the greatest depth of the batch; ``speculates`` says whether the engine has
    speculation enabled, so that a step without drafts takes longer.
    """
    draft = draft_ms(costs, depth, drafting)
    if draft == 0.0:
        return verify * (1.0 + costs.overhead_off) if speculates else verify
    return max(verify, draft) if costs.overlap else verify + draft


@bare
def fill_step_ms(costs, depth, drafting, speculates, tokens, requests, cached, context, times):
    """Set ``times[b]`` to the time of a step that verifies ``b`` drafts beside ``tokens`` tokens.

    The same numbers as by :func:`verify_ms` and :func:`step_ms`; ``context`` is the sum of the
    contexts of the ``drafting`` requests.
    """
    draft = draft_ms(costs, depth, drafting)
    most = tokens + times.size - 1
    if costs.ranks > 1 or most >= costs.compute.size or requests >= costs.row.size or draft == 0.0:
        for b in range(times.size):
            reads = cached + context * (b / drafting)
            verify = verify_ms(costs, tokens + b, requests, cached, reads)
            times[b] = step_ms(costs, depth, drafting, speculates, verify)
        return
    row, share = costs.row[requests], costs.share[requests]
    here, compute = costs.memory[row, tokens:], costs.compute[tokens:]
    following, saved = (
        costs.memory[row + int(share > 0.0), tokens:],
        costs.unread_by_tokens[tokens:],
    )
    unread, read = costs.unread_by_requests[requests], costs.per_cached * cached
    fixed = costs.overhead + costs.per_request * requests
    for b in range(times.size):
        memory = here[b]
        if share > 0.0:
            memory += share * (following[b] - memory)
        memory -= saved[b] * unread
        memory += read + costs.per_cached_token * (cached + context * (b / drafting))
        verify = fixed + max(memory, compute[b])
        times[b] = max(verify, draft) if costs.overlap else verify + draft
