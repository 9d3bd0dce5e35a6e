"""The token clock: a tick is a position of the text, read by all depths at once.

Each depth decodes the same text in its own rounds: at a position it either verifies its next draft
or adds the target's own token and starts a new round. Bit j of a mask is draft j + 1. Masks and
marks are as narrow as the depth allows, so that a vector register holds many lanes.
"""

from __future__ import annotations

from collections import namedtuple
from functools import lru_cache

import numpy as np

from mtpsim.kernels.acceptance import (
    begin_path,
    find_masks_many,
    find_masks_two,
    new_path,
    note_outcomes,
)
from mtpsim.kernels.arrays import ENDLESS
from mtpsim.kernels.jit import bare, bare_kernel, with_globals
from mtpsim.kernels.noise import (
    draw_factors,
    draw_independent,
    fill_noise_words,
    new_scratch,
    slow_down,
)
from mtpsim.kernels.philox import PATH, TILE, fill_words, in_lanes
from mtpsim.kernels.totals import write_depths, write_windows

# Constants of a kernel: at most two states; transitions depend on outcomes, so that one depth goes
# tick by tick; states slow rounds down; noise of a depth depends on where its rounds began
TWO = BY_OUTCOME = SLOW = OWN_NOISE = False

# Progress of the lanes. By depth: `hit` [K+1, lanes], the draft accepted at the position before;
# `live` [K+1]; running totals `rounds`, `accepted`, `verify` and `draft`; `memory` of the noise.
# `ends` [lanes]: where the text ends. Of positions tried as starts: `starts` [M, lanes], `windows`
# [1 + M, lanes]. The rest is scratch. Of a tile: `masks` [TILE, lanes], the drafts that a position
# would be accepted as. Of one depth in it: `begin`, `hits` and `tried` [TILE, lanes], `left`,
# `until` and `found` [lanes]. Constants: `bits` [K] of each draft, `drafts` [K+1] of a depth.
Walk = namedtuple(
    "Walk",
    "hit live rounds accepted verify draft memory ends starts windows "
    "masks begin hits tried left until found rejected tokens bits drafts",
)


def _new_walk(deep, measured, n):
    def ints(*shape, dtype=np.int32):
        return np.zeros((*shape, n), dtype)

    narrow = next(t for t in (np.int8, np.int16, np.int32, np.int64) if deep <= 8 * t().itemsize)
    bits = [1 << j for j in range(deep)]
    return Walk(
        hit=ints(deep + 1, dtype=narrow),
        live=np.ones(deep + 1, np.int8),
        rounds=ints(deep + 1),
        accepted=ints(deep + 1, deep),
        verify=np.zeros((deep + 1, n)),
        draft=np.zeros((deep + 1, n)),
        memory=np.zeros((deep + 1, 2, n)),
        ends=ints(),
        starts=ints(measured, dtype=narrow),
        windows=ints(1 + measured),
        masks=ints(TILE, dtype=narrow),
        begin=ints(TILE, dtype=np.int8),
        hits=ints(TILE, dtype=narrow),
        tried=ints(TILE, dtype=narrow),
        left=ints(dtype=np.int8),
        until=ints(dtype=np.int8),
        found=ints(dtype=np.int8),
        rejected=ints(),
        tokens=ints(deep + 1),
        bits=np.array(bits, np.uint64).astype(narrow),
        drafts=np.array([sum(bits[:k]) for k in range(deep + 1)], np.uint64).astype(narrow),
    )


def simulate_positions(key, first, chain, noise, task, shallow, deep, out):
    """Simulate requests ``first`` .. at depths ``shallow`` .. ``deep``; a row of ``out`` each."""
    rows, states = chain.state_bounds.shape
    run = _kernel_of(
        two=bool(chain.two),
        by_outcome=rows > states + 1,
        slow=bool(chain.slow),
        correlated=noise.correlation != 0,
        own_noise=noise.persistence != 0,
    )
    ends = task.ends(len(out))
    for some, n in in_lanes(out):
        walk = _new_walk(deep, task.measured_at, n)
        at, path, s = first + some.start, new_path(n), new_scratch(n)
        run(key, at, chain, noise, task, shallow, path, s, walk, ends[some], out[some])


@lru_cache
def _kernel_of(**parts):
    """The kernel with only the parts that an experiment needs."""
    name = "_".join(["positions", *(part for part, needed in parts.items() if needed)])
    constants = {part.upper(): needed for part, needed in parts.items()}
    draw = draw_factors if parts["correlated"] or parts["own_noise"] else draw_independent
    return bare_kernel(with_globals(_read, name, **constants, draw_factors=draw))


def _read(key, first, chain, noise, task, shallow, path, s, walk, ends, out):
    lanes, deep = path.row.size, walk.accepted.shape[1]
    for at in range(0, out.shape[0], lanes):
        begin_path(chain, path)
        _begin_walk(ends[at : at + lanes], walk)
        tick, live = 0, True
        while live:
            fill_words(key, first + at, tick, TILE, PATH, s.words)
            fill_noise_words(key, first + at, tick, TILE, noise, s)
            if BY_OUTCOME:
                _walk_by_outcome(chain, s.words, task, tick, deep, path, walk)
            elif TWO:
                find_masks_two(chain, s.words, tick == 0, 0, TILE, path, walk.masks)
            else:
                find_masks_many(chain, s.words, tick == 0, 0, TILE, path, walk.masks)
            if not OWN_NOISE:
                draw_factors(noise, s.everywhere, tick == 0, TILE, walk.memory[0], s)
                if SLOW:
                    slow_down(noise, chain.slowdown, path.state, TILE, s)
            live = False
            for k in range(shallow, deep + 1):
                if walk.live[k] == 0:
                    continue
                if not BY_OUTCOME:
                    _walk_depth(task, tick, k, walk)
                _count(k, walk)
                live |= _note_live(walk.hit[k], walk.left, walk.until, walk.live, k)
                if OWN_NOISE:
                    draw_factors(noise, walk.begin, tick == 0, TILE, walk.memory[k], s)
                    if SLOW:
                        slow_down(noise, chain.slowdown, path.state, TILE, s)
                _charge(noise, walk.begin, k, s, walk.verify[k], walk.draft[k])
            tick += TILE
        _write(noise, task, shallow, task.measured_at, walk, out[at : at + lanes])


@bare
def _begin_walk(ends, walk):
    """Put lanes at the start of a request."""
    walk.hit[:], walk.rounds[:], walk.accepted[:], walk.live[:] = 0, 0, 0, 1
    walk.verify[:], walk.draft[:], walk.starts[:], walk.windows[:] = 0.0, 0.0, 0, 0
    for lane in range(ends.size):
        walk.ends[lane] = ends[lane]


@bare
def _write(noise, task, shallow, measured, walk, out):
    deep = walk.accepted.shape[1]
    if shallow <= measured <= deep:
        _count_windows(measured, walk, walk.windows)
        write_windows(task, walk.windows, out)
    draft = walk.verify if noise.shared else walk.draft
    _find_tokens(task, walk)
    write_depths(
        task, shallow, deep, walk.tokens, walk.rounds, walk.accepted, walk.verify, draft, out
    )


@bare
def _count_windows(measured, walk, windows):
    """Starts that had all their positions decoded: each but the last M - 1."""
    for lane in range(windows.shape[1]):
        positions = walk.rounds[measured, lane]
        for j in range(measured):
            positions += walk.accepted[measured, j, lane]
        windows[0, lane] = max(positions - measured + 1, 0)


@bare
def _find_tokens(task, walk):
    """Tokens by depth: all of a finite request, else the bonus and the accepted ones."""
    for k in range(walk.tokens.shape[0]):
        for lane in range(walk.tokens.shape[1]):
            tokens = walk.rounds[k, lane]
            for j in range(k):
                tokens += walk.accepted[k, j, lane]
            walk.tokens[k, lane] = walk.ends[lane] if task.tokens > 0 else tokens


@bare
def _walk_depth(task, tick, k, walk):
    """Advance depth ``k`` over the positions of a tile."""
    _begin_tile(task, tick, walk.ends, walk.rounds[k], walk.left, walk.until)
    for t in range(TILE):
        _step(walk.masks[t], t, k, walk)
    _end_tile(walk.hits, walk.hit[k])


@bare
def _walk_by_outcome(chain, words, task, tick, k, path, walk):
    """The same where the next state depends on the outcome of a position."""
    _begin_tile(task, tick, walk.ends, walk.rounds[k], walk.left, walk.until)
    for t in range(TILE):
        find_masks_many(chain, words, tick == 0, t, t + 1, path, walk.masks)
        _step(walk.masks[t], t, k, walk)
        before = walk.hit[k] if t == 0 else walk.hits[t - 1]
        _reject(walk.drafts[k], before, walk.begin[t], walk.hits[t], walk.rejected)
        note_outcomes(chain, walk.rejected, path)
    _end_tile(walk.hits, walk.hit[k])


@bare
def _begin_tile(task, tick, ends, rounds, left, until):
    """Rounds ``left`` and where the text ends, as far as this tile and the next position see."""
    limit, most = np.int32(task.rounds if task.rounds > 0 else ENDLESS), np.int32(TILE + 1)
    for lane in range(rounds.size):
        left[lane] = min(np.int32(limit - rounds[lane]), most)
        until[lane] = max(min(np.int32(ends[lane] - np.int32(tick)), most), np.int32(0))


@bare
def _step(mask, t, k, walk):
    before = walk.hit[k] if t == 0 else walk.hits[t - 1]
    _begin(np.int8(t), before, walk.left, walk.until, walk.begin[t])
    _verify(walk.drafts[k], mask, before, walk.begin[t], walk.hits[t])
    if k == walk.starts.shape[0]:
        _try_start(walk.bits, mask, walk.starts)
        _keep_active(walk.starts[k - 1], before, walk.begin[t], walk.tried[t])


@bare
def _begin(t, before, left, until, begin):
    """Where no draft was accepted before position ``t``, begin a round within the horizon."""
    for lane in range(begin.size):
        start = np.int8((before[lane] == 0) & (left[lane] > 0) & (until[lane] > t))
        begin[lane] = start
        left[lane] -= start


@bare
def _verify(drafts, mask, before, begin, hit):
    """The draft accepted at a position, if any; none after the last draft of a round."""
    for lane in range(hit.size):
        hit[lane] = ((before[lane] << 1) | begin[lane]) & mask[lane] & drafts


@bare
def _end_tile(hits, hit):
    for lane in range(hit.size):
        hit[lane] = hits[TILE - 1, lane]


@bare
def _try_start(bits, mask, starts):
    """Count every position as the start of a hypothetical round.

    ``starts`` [M, lanes]: drafts accepted so far from i positions before this one; none where the
    request has no such position.
    """
    for i in range(starts.shape[0] - 1, 0, -1):
        _extend_start(bits[i], mask, starts[i - 1], starts[i])
    for lane in range(mask.size):
        starts[0, lane] = mask[lane] & 1


@bare
def _extend_start(draft, mask, before, after):
    for lane in range(after.size):
        after[lane] = before[lane] | ((before[lane] << 1) & mask[lane] & draft)


@bare
def _keep_active(start, before, begin, tried):
    """A start counts once its M positions are all decoded."""
    for lane in range(tried.size):
        tried[lane] = start[lane] if (begin[lane] != 0) | (before[lane] != 0) else 0


@bare
def _reject(drafts, before, begin, hit, rejected):
    for lane in range(hit.size):
        drafted = (((before[lane] << 1) | begin[lane]) & drafts) != 0
        rejected[lane] = np.int32(drafted & (hit[lane] == 0))


@bare
def _count(k, walk):
    """Add the rounds and accepted drafts of a tile to the totals of depth ``k``."""
    _add_marks(walk.begin, np.int8(1), walk.found, walk.rounds[k])
    for j in range(k):
        _add_marks(walk.hits, walk.bits[j], walk.found, walk.accepted[k, j])
        if k == walk.starts.shape[0]:
            _add_marks(walk.tried, walk.bits[j], walk.found, walk.windows[j + 1])


@bare
def _add_marks(masks, bit, found, total):
    """Add to ``total`` [lanes] at how many positions ``masks`` [TILE, lanes] have a ``bit``."""
    for lane in range(found.size):
        count = np.int8(0)
        for t in range(TILE):
            count += np.int8((masks[t, lane] & bit) != 0)
        found[lane] = count
    for lane in range(found.size):
        total[lane] += np.int32(found[lane])


@bare
def _note_live(hit, left, until, live, k):
    """Whether any lane has a round to continue or to begin after the tile."""
    any_live = np.int8(0)
    for lane in range(hit.size):
        any_live |= np.int8((hit[lane] != 0) | ((left[lane] > 0) & (until[lane] > TILE)))
    live[k] = any_live
    return any_live != 0


@bare
def _charge(noise, begin, k, s, verify, draft):
    """Add the factors of the rounds that begin in the tile."""
    check = s.target if k == 0 and not noise.shared else s.verify
    _charge_rounds(begin, check, verify)
    if not noise.shared:
        _charge_rounds(begin, s.draft, draft)


@bare
def _charge_rounds(begin, factors, total):
    for lane in range(total.size):
        time = total[lane]
        for t in range(TILE):
            time = time + factors[t, lane] if begin[t, lane] != 0 else time
        total[lane] = time
