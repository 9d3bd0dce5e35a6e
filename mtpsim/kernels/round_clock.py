"""The round clock: a tick is a round, and every depth up to the deepest sees the same one.

Three stages over a tile of (ticks x lanes): random words, accepted drafts, seconds. Lanes are
requests in lockstep.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mtpsim.kernels.acceptance import begin_path, count_many, counter, find_lengths, new_path
from mtpsim.kernels.jit import bare, kernel, with_globals
from mtpsim.kernels.noise import (
    CELLS,
    add_cells,
    draw_factors,
    fill_noise_words,
    new_scratch,
    slow_down,
    sums_alone,
)
from mtpsim.kernels.philox import ARMS, BLOCK, PATH, TILE, VERIFY, fill_words, in_lanes, lanes_of
from mtpsim.kernels.totals import column_of_accepted, write_depths

SUMS_ONLY = False  # whether nothing but sums over rounds is wanted
SLOW = False  # whether states slow rounds down
count = count_many


def simulate_rounds(key, first, chain, noise, task, shallow, deep, out):
    """Simulate requests ``first`` .. at depths ``shallow`` .. ``deep``; a row of ``out`` each."""
    n = -(-lanes_of(len(out)) // BLOCK) * BLOCK
    reached, total = np.empty((deep, n), np.int32), np.empty((3, n))
    memory = np.empty((2, n))
    slow, drafts = bool(chain.slow), min(deep, deep % 3 + 3) if chain.two else 0
    run = _kernel_of(bool(not slow and sums_alone(noise)), slow, drafts)
    run(key, first, chain, noise, task, shallow, new_path(n), new_scratch(n), memory,
        reached, total, out)  # fmt: skip


@lru_cache
def _kernel_of(sums_only, slow, deep):
    """The kernel for ``deep`` drafts of a chain of at most two states; 0: for any other."""
    inner = {"count": counter(deep, slow)} if deep else {}
    name = f"rounds_{deep}{'_sums' * sums_only}{'_slow' * slow}"
    return kernel(with_globals(_rounds, name, SUMS_ONLY=sums_only, SLOW=slow, **inner))


def _rounds(key, first, chain, noise, task, shallow, path, s, memory, reached, total, out):
    """A fixed number of rounds: sums over rounds serve all depths, since accepts are nested."""
    lanes = path.row.size
    for at in range(0, out.shape[0], lanes):
        begin_path(chain, path)
        reached[:], total[:] = 0, 0.0
        for tick in range(0, task.rounds, TILE):
            ticks, fresh = min(TILE, task.rounds - tick), tick == 0
            fill_words(key, first + at, tick, ticks, PATH, s.words)
            count(chain, s.words, fresh, ticks, path, reached)
            if SUMS_ONLY:
                if noise.kinds[1] == CELLS:
                    fill_words(key, first + at, tick, ticks, VERIFY + ARMS * noise.arm, s.words)
                    add_cells(noise.verify, s.words, ticks, total[1])
                else:
                    _add_ones(ticks, total)
                continue
            fill_noise_words(key, first + at, tick, ticks, noise, s)
            draw_factors(noise, s.everywhere, fresh, ticks, memory, s)
            if SLOW:
                slow_down(noise, chain.slowdown, path.state, ticks, s)
            _add(s.verify, ticks, total[1])
            if not noise.shared:
                _add(s.target, ticks, total[0])
                _add(s.draft, ticks, total[2])
        _write_rounds(task, noise.shared, shallow, reached, total, out[at : at + lanes])


@bare
def _add_ones(ticks, total):
    for row in range(total.shape[0]):
        for lane in range(total.shape[1]):
            total[row, lane] += ticks


@bare
def _add(factors, ticks, total):
    for t in range(ticks):
        for lane in range(total.size):
            total[lane] += factors[t, lane]


@bare
def _write_rounds(task, shared, shallow, reached, total, out):
    depths, deep = task.times.shape[1], reached.shape[0]
    column = column_of_accepted(depths - 1, deep, task.every)
    for lane in range(out.shape[0]):
        tokens = task.rounds
        for k in range(deep + 1):
            if k > 0:
                tokens += reached[k - 1, lane]
                out[lane, column + k - 1] = reached[k - 1, lane]
            if k < shallow:
                continue
            check = total[1 if shared or k > 0 else 0, lane]
            draft = total[1 if shared else 2, lane]
            out[lane, k] = tokens
            out[lane, depths + k] = task.times[0, k] * check + task.times[1, k] * draft
            out[lane, 2 * depths + k] = task.rounds


def simulate_rounds_to_tokens(key, first, chain, noise, task, shallow, deep, out):
    """The same for requests that end at a number of tokens."""
    ends = task.ends(len(out))
    for some, n in in_lanes(out):
        length, memory = np.empty((TILE, n), np.int32), np.empty((2, n))
        counts = np.empty((2, deep + 1, n), np.int32)
        accepted, seconds = np.empty((deep + 1, deep, n), np.int32), np.empty((2, deep + 1, n))
        _play_tokens(key, first + some.start, chain, noise, task, shallow, new_path(n), length,
                     new_scratch(n), memory, counts, accepted, seconds, ends[some],
                     out[some])  # fmt: skip


@kernel
def _play_tokens(
    key, first, chain, noise, task, shallow, path, length, s, memory, counts, accepted, seconds,
    ends, out,
):  # fmt: skip
    """A fixed number of tokens: each depth stops in its own round, cut at the limit."""
    lanes, deep = path.row.size, accepted.shape[1]
    left, rounds = counts
    for at in range(0, out.shape[0], lanes):
        begin_path(chain, path)
        rounds[:], accepted[:], seconds[:] = 0, 0, 0.0
        _copy_to_rows(ends[at : at + lanes], left)
        tick, live = 0, True
        while live:
            fill_words(key, first + at, tick, TILE, PATH, s.words)
            find_lengths(chain, s.words, tick == 0, TILE, deep, path, length)
            fill_noise_words(key, first + at, tick, TILE, noise, s)
            draw_factors(noise, s.everywhere, tick == 0, TILE, memory, s)
            if chain.slow:
                slow_down(noise, chain.slowdown, path.state, TILE, s)
            live = False
            for k in range(shallow, deep + 1):
                check = s.verify if k > 0 or noise.shared else s.target
                propose = s.verify if noise.shared else s.draft
                live |= _advance(length, k, check, propose, left[k], rounds[k], accepted[k],
                                 seconds[0, k], seconds[1, k])  # fmt: skip
            tick += TILE
        _copy_to_rows(ends[at : at + lanes], left)
        write_depths(task, shallow, deep, left, rounds, accepted, seconds[0], seconds[1],
                     out[at : at + lanes])  # fmt: skip


@bare
def _copy_to_rows(row, rows):
    for k in range(rows.shape[0]):
        for lane in range(row.size):
            rows[k, lane] = row[lane]


@bare
def _advance(length, k, check, propose, left, rounds, accepted, verify, draft):
    """Play a tile at depth ``k``; lanes with no tokens ``left`` stand still. Is any lane live?"""
    for t in range(TILE):
        for lane in range(left.size):
            live = left[lane] > 0
            verify[lane] += check[t, lane] if live else 0.0
            draft[lane] += propose[t, lane] if live else 0.0
        for j in range(k):
            for lane in range(left.size):
                accepted[j, lane] += np.int32((left[lane] > 0) & (length[t, lane] > j))
        for lane in range(left.size):
            gain = np.int32(min(length[t, lane], np.int32(k)) + 1)
            rounds[lane] += np.int32(left[lane] > 0)
            left[lane] = max(np.int32(left[lane] - gain), np.int32(0))
    live = False
    for lane in range(left.size):
        live |= left[lane] > 0
    return live
