"""The token clock: a tick is a position of the text, read by all depths at once.

Each depth decodes the same text in its own rounds: at a position it either verifies its next draft
or adds the target's own token and starts a new round.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from mtpsim.kernels.acceptance import begin_path, find_levels, new_path, note_outcomes
from mtpsim.kernels.arrays import ENDLESS
from mtpsim.kernels.jit import bare, kernel
from mtpsim.kernels.noise import draw_factors, fill_noise_words, new_scratch, slow_down
from mtpsim.kernels.philox import PATH, TILE, fill_words, in_lanes
from mtpsim.kernels.totals import write_depths, write_windows

# Progress of the lanes of a depth. `at` [K+1, lanes]: drafts accepted so far in the current
# round; `begin` [TILE, lanes] of the last depth advanced; `ends` [lanes]: where the text ends;
# `rounds`, `accepted`, `verify` and `draft` are running totals by depth. `trying` [M, lanes] and
# `windows` [1 + M, lanes] are of positions tried as starts; `levels` [K, TILE, lanes] and `memory`
# of the noise are scratch.
Walk = namedtuple(
    "Walk",
    "at begin active hit rejected ends rounds accepted verify draft trying windows levels memory",
)


def _new_walk(deep, measured, n):
    def ints(*shape):
        return np.zeros((*shape, n), np.int32)

    totals = ints(deep + 1), ints(deep + 1, deep), np.zeros((deep + 1, n)), np.zeros((deep + 1, n))
    windows = ints(measured), ints(1 + measured)
    scratch = ints(deep, TILE), np.zeros((deep + 1, 2, n))
    return Walk(
        ints(deep + 1), ints(TILE), ints(), ints(), ints(), ints(), *totals, *windows, *scratch
    )


def simulate_positions(key, first, chain, noise, task, shallow, deep, out):
    """Simulate requests ``first`` .. at depths ``shallow`` .. ``deep``; a row of ``out`` each."""
    ends = task.ends(len(out))
    for some, n in in_lanes(out):
        walk = _new_walk(deep, task.measured_at, n)
        at, path, s = first + some.start, new_path(n), new_scratch(n)
        _read(key, at, chain, noise, task, shallow, path, s, walk, ends[some], out[some])


@kernel
def _read(key, first, chain, noise, task, shallow, path, s, walk, ends, out):
    lanes, deep, measured = path.row.size, walk.levels.shape[0], task.measured_at
    own_noise = noise.persistence != 0  # then a depth's noise depends on where its rounds began
    states = chain.state_bounds.shape[1]
    by_outcome = chain.state_bounds.shape[0] > states + 1  # then all goes tick by tick
    stride = 1 if by_outcome else TILE
    for at in range(0, out.shape[0], lanes):
        begin_path(chain, path)
        walk.ends[:] = ends[at : at + lanes]
        walk.at[:], walk.rounds[:], walk.accepted[:] = 0, 0, 0
        walk.verify[:], walk.draft[:], walk.trying[:], walk.windows[:] = 0.0, 0.0, 0, 0
        tick, live = 0, True
        while live:
            fill_words(key, first + at, tick, TILE, PATH, s.words)
            fill_noise_words(key, first + at, tick, TILE, noise, s)
            if not own_noise:
                draw_factors(noise, s.everywhere, tick == 0, TILE, walk.memory[0], s)
            live = False
            for t in range(0, TILE, stride):
                end = t + stride
                find_levels(chain, s.words, tick == 0, t, end, path, walk.levels)
                if not own_noise and chain.slow and end == TILE:
                    slow_down(noise, chain.slowdown, path.state, TILE, s)
                for k in range(shallow, deep + 1):
                    live |= _walk_depth(task, tick, t, end, k, by_outcome, walk)
                    if end < TILE:
                        continue
                    if own_noise:
                        draw_factors(noise, walk.begin, tick == 0, TILE, walk.memory[k], s)
                        if chain.slow:
                            slow_down(noise, chain.slowdown, path.state, TILE, s)
                    _charge(noise, walk.begin, k, s, walk.verify[k], walk.draft[k])
                if by_outcome:
                    note_outcomes(chain, walk.rejected, path)
            tick += TILE
        _write(noise, task, shallow, measured, walk, out[at : at + lanes])


@bare
def _write(noise, task, shallow, measured, walk, out):
    deep = walk.levels.shape[0]
    if shallow <= measured <= deep:
        _count_windows(measured, walk, walk.windows)
        write_windows(task, walk.windows, out)
    draft = walk.verify if noise.shared else walk.draft
    _find_tokens(task, walk)
    write_depths(task, shallow, deep, walk.at, walk.rounds, walk.accepted, walk.verify, draft, out)


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
    """Tokens by depth into ``walk.at``: all of a finite request, else a bonus and the accepted."""
    for k in range(walk.at.shape[0]):
        for lane in range(walk.at.shape[1]):
            tokens = walk.rounds[k, lane]
            for j in range(k):
                tokens += walk.accepted[k, j, lane]
            walk.at[k, lane] = walk.ends[lane] if task.tokens > 0 else tokens


@bare
def _walk_depth(task, tick, first, last, k, by_outcome, walk):
    """Advance depth ``k`` over ticks ``first`` .. ``last - 1``; return whether any lane is live."""
    live = np.int32(0)
    for t in range(first, last):
        limit, now = np.int32(task.rounds if task.rounds > 0 else ENDLESS), np.int32(tick + t)
        _begin(limit, now, walk.ends, walk.at[k], walk.rounds[k], walk.begin[t], walk.active)
        _clear(walk.hit)
        for j in range(k):
            level, accepted = walk.levels[j, t], walk.accepted[k, j]
            _verify(level, np.int32(j), walk.at[k], walk.active, walk.hit, accepted)
        if k == task.measured_at:
            _count_starts(walk.levels, t, walk.active, walk.trying, walk.windows)
        if by_outcome:
            _reject(np.int32(k), walk.at[k], walk.active, walk.hit, walk.rejected)
        live |= _step_on(walk.active, walk.hit, walk.at[k])
    return live > 0


@bare
def _clear(row):
    for lane in range(row.size):
        row[lane] = 0


@bare
def _begin(limit, now, ends, at, rounds, begin, active):
    """Start rounds within the horizon only; complete a started round."""
    for lane in range(at.size):
        inside = (rounds[lane] < limit) & (now < ends[lane])
        start = np.int32((at[lane] == 0) & inside)
        begin[lane] = start
        rounds[lane] += start
        active[lane] = start | np.int32(at[lane] > 0)


@bare
def _verify(level, j, at, active, hit, accepted):
    for lane in range(at.size):
        good = active[lane] & level[lane] & np.int32(at[lane] == j)
        hit[lane] |= good
        accepted[lane] += good


@bare
def _count_starts(levels, t, active, trying, windows):
    """Count every position as the start of a hypothetical round.

    ``trying`` [M, lanes]: drafts accepted so far from the position i before this one; none where
    the request has no such position. A start counts once its M positions are all decoded.
    """
    last = trying.shape[0] - 1
    for i in range(last, 0, -1):
        _extend_prefix(trying[i - 1], levels[i, t], np.int32(i), trying[i])
    for lane in range(active.size):
        trying[0, lane] = levels[0, t, lane]
    for j in range(last + 1):
        _count_longer(trying[last], active, np.int32(j), windows[j + 1])


@bare
def _extend_prefix(before, level, i, after):
    for lane in range(after.size):
        after[lane] = before[lane] + (level[lane] & np.int32(before[lane] == i))


@bare
def _count_longer(accepted, active, j, total):
    for lane in range(total.size):
        total[lane] += active[lane] & np.int32(accepted[lane] > j)


@bare
def _reject(depth, at, active, hit, rejected):
    for lane in range(at.size):
        drafted = active[lane] & np.int32(at[lane] < depth)
        rejected[lane] = drafted & (hit[lane] ^ np.int32(1))


@bare
def _step_on(active, hit, at):
    """Advance to the next position; 1 while any lane is live."""
    live = np.int32(0)
    for lane in range(at.size):
        live |= active[lane]
        at[lane] = (at[lane] + np.int32(1)) * hit[lane]
    return live


@bare
def _charge(noise, begin, k, s, verify, draft):
    """Add the factors of the rounds that begin in the tile."""
    check = s.target if k == 0 and not noise.shared else s.verify
    _charge_rounds(begin, check, verify)
    if not noise.shared:
        _charge_rounds(begin, s.draft, draft)


@bare
def _charge_rounds(begin, factors, total):
    for t in range(TILE):
        for lane in range(total.size):
            total[lane] += factors[t, lane] if begin[t, lane] != 0 else 0.0
