"""The token clock: a tick is a position of the text, read by all depths at once.

Each depth decodes the same text in its own rounds: at a position it either verifies its next draft
or adds the target's own token and starts a new round.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from mtpsim.kernels.acceptance import find_levels, new_path, note_outcomes
from mtpsim.kernels.jit import helper, kernel
from mtpsim.kernels.noise import draw_factors, fill_noise_words, new_scratch, slow_down
from mtpsim.kernels.philox import LANES, PATH, TILE, fill_words
from mtpsim.kernels.totals import write_depths, write_windows

# Progress of the lanes of a depth. `at` [K+1, lanes]: drafts accepted so far in the current
# round; `begin` [TILE, lanes] of the last depth advanced; the rest are running totals by depth.
Walk = namedtuple("Walk", "at begin active hit rejected rounds accepted verify draft")


@helper
def _new_walk(deep, n):
    return Walk(
        np.zeros((deep + 1, n), np.int32),
        np.ones((TILE, n), np.int32),
        np.ones(n, np.int32),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
        np.zeros((deep + 1, n), np.int32),
        np.zeros((deep + 1, deep, n), np.int32),
        np.zeros((deep + 1, n)),
        np.zeros((deep + 1, n)),
    )


@kernel
def simulate_positions(key, first, chain, noise, task, shallow, deep, out):
    """Simulate requests ``first`` .. at depths ``shallow`` .. ``deep``; a row of ``out`` each."""
    for at in range(0, out.shape[0], LANES):
        _read(key, first + at, chain, noise, task, shallow, deep, out[at : at + LANES])


@helper
def _read(key, first, chain, noise, task, shallow, deep, out):
    n = out.shape[0]
    path, s, words = new_path(chain, n), new_scratch(n), np.empty((TILE, n), np.int32)
    levels, walk = np.empty((deep, TILE, n), np.int32), _new_walk(deep, n)
    measured = task.measured_at
    trying, windows = np.zeros((measured, n), np.int32), np.zeros((1 + measured, n), np.int32)
    everywhere, memory = np.ones((TILE, n), np.int32), np.zeros((deep + 1, 2, n))
    own_noise = noise.persistence != 0  # then a depth's noise depends on where its rounds began
    by_outcome = (
        chain.state_bounds.shape[0] > chain.state_bounds.shape[1] + 1
    )  # by outcomes: tick by tick
    stride = 1 if by_outcome else TILE
    tick, live = 0, True
    while live:
        fill_words(key, first, tick, TILE, PATH, words)
        fill_noise_words(key, first, tick, TILE, noise, s)
        if not own_noise:
            draw_factors(noise, everywhere, tick == 0, TILE, memory[0], s)
        live = False
        for t in range(0, TILE, stride):
            find_levels(chain, words, tick == 0, t, t + stride, path, levels)
            if not own_noise and chain.slow and t + stride == TILE:
                slow_down(noise, chain.slowdown, path.state, TILE, s)
            for k in range(shallow, deep + 1):
                live |= _walk_depth(
                    task, tick, t, t + stride, k, levels, by_outcome, walk, trying, windows
                )
                if t + stride < TILE:
                    continue
                if own_noise:
                    draw_factors(noise, walk.begin, tick == 0, TILE, memory[k], s)
                    if chain.slow:
                        slow_down(noise, chain.slowdown, path.state, TILE, s)
                _charge(noise, walk.begin, k, s, walk.verify[k], walk.draft[k])
            if by_outcome:
                note_outcomes(chain, walk.rejected, path)
        tick += TILE
    tokens = _tokens(task, walk)
    draft = walk.verify if noise.shared else walk.draft
    write_depths(task, shallow, deep, tokens, walk.rounds, walk.accepted, walk.verify, draft, out)
    if shallow <= measured <= deep:
        _count_windows(measured, walk, windows)
        write_windows(task, windows, out)


@helper
def _count_windows(measured, walk, windows):
    """Starts that had all their positions decoded: each but the last M - 1."""
    for lane in range(windows.shape[1]):
        positions = walk.rounds[measured, lane] + walk.accepted[measured, :, lane].sum()
        windows[0, lane] = max(positions - measured + 1, 0)


@helper
def _tokens(task, walk):
    """Tokens by depth ``[K+1, lanes]``: all of a finite request, else a bonus and the accepted."""
    if task.tokens > 0:
        return np.full(walk.rounds.shape, np.int32(task.tokens))
    tokens = walk.rounds.copy()
    for k in range(tokens.shape[0]):
        for j in range(k):
            tokens[k] += walk.accepted[k, j]
    return tokens


@helper
def _walk_depth(task, tick, first, last, k, levels, by_outcome, walk, trying, windows):
    """Advance depth ``k`` over ticks ``first`` .. ``last - 1``; return whether any lane is live."""
    live = np.int32(0)
    for t in range(first, last):
        inside = task.tokens == 0 or tick + t < task.tokens
        limit = np.int32(task.rounds if task.rounds > 0 else 2147483647) if inside else np.int32(0)
        _begin(limit, walk.at[k], walk.rounds[k], walk.begin[t], walk.active)
        walk.hit[:] = 0
        for j in range(k):
            _verify(
                levels[j, t], np.int32(j), walk.at[k], walk.active, walk.hit, walk.accepted[k, j]
            )
        if k == task.measured_at:
            _count_starts(levels, t, walk.active, trying, windows)
        if by_outcome:
            _reject(np.int32(k), walk.at[k], walk.active, walk.hit, walk.rejected)
        live |= _step_on(walk.active, walk.hit, walk.at[k])
    return live > 0


@helper
def _begin(limit, at, rounds, begin, active):
    """Start rounds within the horizon only; complete a started round."""
    for lane in range(at.size):
        start = np.int32((at[lane] == 0) & (rounds[lane] < limit))
        begin[lane] = start
        rounds[lane] += start
        active[lane] = start | np.int32(at[lane] > 0)


@helper
def _verify(level, j, at, active, hit, accepted):
    for lane in range(at.size):
        good = active[lane] & level[lane] & np.int32(at[lane] == j)
        hit[lane] |= good
        accepted[lane] += good


@helper
def _count_starts(levels, t, active, trying, windows):
    """Count every position as the start of a hypothetical round.

    ``trying`` [M, lanes]: drafts accepted so far from the position i before this one; none where
    the request has no such position. A start counts once its M positions are all decoded.
    """
    last = trying.shape[0] - 1
    for i in range(last, 0, -1):
        _extend_prefix(trying[i - 1], levels[i, t], np.int32(i), trying[i])
    trying[0] = levels[0, t]
    for j in range(last + 1):
        _count_longer(trying[last], active, np.int32(j), windows[j + 1])


@helper
def _extend_prefix(before, level, i, after):
    for lane in range(after.size):
        after[lane] = before[lane] + (level[lane] & np.int32(before[lane] == i))


@helper
def _count_longer(accepted, active, j, total):
    for lane in range(total.size):
        total[lane] += active[lane] & np.int32(accepted[lane] > j)


@helper
def _reject(depth, at, active, hit, rejected):
    for lane in range(at.size):
        drafted = active[lane] & np.int32(at[lane] < depth)
        rejected[lane] = drafted & (hit[lane] ^ np.int32(1))


@helper
def _step_on(active, hit, at):
    """Advance to the next position; 1 while any lane is live."""
    live = np.int32(0)
    for lane in range(at.size):
        live |= active[lane]
        at[lane] = (at[lane] + np.int32(1)) * hit[lane]
    return live


@helper
def _charge(noise, begin, k, s, verify, draft):
    """Add the factors of the rounds that begin in the tile."""
    check = s.target if k == 0 and not noise.shared else s.verify
    _charge_rounds(begin, check, verify)
    if not noise.shared:
        _charge_rounds(begin, s.draft, draft)


@helper
def _charge_rounds(begin, factors, total):
    for t in range(TILE):
        for lane in range(total.size):
            total[lane] += factors[t, lane] if begin[t, lane] != 0 else 0.0
