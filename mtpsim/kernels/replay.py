"""Recorded requests played again: drawn with replacement, walked by every depth at once.

A request that is longer than its record continues from the record's beginning.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from mtpsim.kernels.jit import helper, kernel
from mtpsim.kernels.noise import draw_factors, fill_noise_words, new_scratch
from mtpsim.kernels.philox import LANES, PATH, TILE, fill_words
from mtpsim.kernels.totals import write_depths, write_windows

# Progress of the lanes of a depth. `at` [K+1, lanes]: tick at which its next round begins; the
# rest are running totals by depth.
Play = namedtuple("Play", "at tokens rounds accepted verify draft")


@kernel
def simulate_recording(key, first, recording, noise, task, shallow, deep, out):
    """Simulate requests ``first`` .. at depths ``shallow`` .. ``deep``; a row of ``out`` each."""
    for at in range(0, out.shape[0], LANES):
        _play(key, first + at, recording, noise, task, shallow, deep, out[at : at + LANES])


@helper
def _play(key, first, recording, noise, task, shallow, deep, out):
    n = out.shape[0]
    drawn = draw_requests(key, first, recording, n)
    most_rounds, most_tokens = _horizon(recording, task, drawn)
    play, s = _new_play(deep, n), new_scratch(n)
    windows, begin = np.zeros((1 + task.measured_at, n), np.int32), np.ones((TILE, n), np.int32)
    memory = np.zeros((deep + 1, 2, n))
    tick, live = 0, True
    while live:
        fill_noise_words(key, first, tick, TILE, noise, s)
        live = False
        for k in range(shallow, deep + 1):
            live |= _play_tile(recording, drawn, tick, k, most_rounds, most_tokens, play, begin)
            # Persistent noise remembers the rounds of its own depth; other noise does not mind.
            draw_factors(noise, begin, tick == 0, TILE, memory[k], s)
            _charge(noise, begin, k, s, play)
        tick += TILE
    if recording.by_position:
        _count_windows(recording, drawn, play, task, windows)
        write_windows(task, windows, out)
    tokens = np.minimum(play.tokens, most_tokens)
    write_depths(
        task, shallow, deep, tokens, play.rounds, play.accepted, play.verify, play.draft, out
    )


@helper
def draw_requests(key, first, recording, n):
    """A recorded request for each lane, by the word that would choose a chain's first state."""
    words = np.empty((TILE, n), np.int32)
    fill_words(key, first, 0, TILE, PATH, words)
    requests = np.uint64(recording.offsets.size - 1)
    drawn = np.empty(n, np.int64)
    for lane in range(n):
        if recording.in_order:
            drawn[lane] = (first + lane) % np.int64(requests)
            continue
        word = np.uint64(np.uint32(words[0, lane]))
        drawn[lane] = np.int64((word * requests) >> np.uint64(32))
    return drawn


@helper
def _horizon(recording, task, drawn):
    """Most rounds and most tokens of each lane."""
    rounds = np.full(drawn.size, np.int32(2147483647))
    tokens = np.full(drawn.size, np.int32(2147483647))
    for lane in range(drawn.size):
        request = drawn[lane]
        length = np.int32(recording.offsets[request + 1] - recording.offsets[request])
        if task.rounds > 0:
            rounds[lane] = task.rounds
        elif task.tokens > 0:
            tokens[lane] = task.tokens
        elif recording.by_position:
            tokens[lane] = length
        else:
            rounds[lane] = length
    return rounds, tokens


@helper
def _new_play(deep, n):
    return Play(
        np.zeros((deep + 1, n), np.int32),
        np.zeros((deep + 1, n), np.int32),
        np.zeros((deep + 1, n), np.int32),
        np.zeros((deep + 1, deep, n), np.int32),
        np.zeros((deep + 1, n)),
        np.zeros((deep + 1, n)),
    )


@helper
def _play_tile(recording, drawn, tick, k, most_rounds, most_tokens, play, begin):
    """Play depth ``k`` through a tile and mark in ``begin`` where rounds begin."""
    live = False
    at, tokens, rounds, accepted = play.at[k], play.tokens[k], play.rounds[k], play.accepted[k]
    for lane in range(drawn.size):
        first = recording.offsets[drawn[lane]]
        length = recording.offsets[drawn[lane] + 1] - first
        for t in range(TILE):
            more = rounds[lane] < most_rounds[lane] and tokens[lane] < most_tokens[lane]
            begin[t, lane] = np.int32(more and at[lane] == tick + t)
            if begin[t, lane] == 0:
                continue
            count = min(recording.accepted[first + (tick + t) % length], np.int32(k))
            for j in range(count):
                accepted[j, lane] += np.int32(1)
            tokens[lane] += count + np.int32(1)
            rounds[lane] += np.int32(1)
            at[lane] += count + np.int32(1) if recording.by_position else np.int32(1)
        live |= rounds[lane] < most_rounds[lane] and tokens[lane] < most_tokens[lane]
    return live


@helper
def _charge(noise, begin, k, s, play):
    """Add the factors of the rounds that begin in the tile."""
    for t in range(TILE):
        for lane in range(begin.shape[1]):
            if begin[t, lane] == 0:
                continue
            own = noise.shared or k > 0
            play.verify[k, lane] += s.verify[t, lane] if own else s.target[t, lane]
            play.draft[k, lane] += s.verify[t, lane] if noise.shared else s.draft[t, lane]


@helper
def _count_windows(recording, drawn, play, task, windows):
    """Every position of the text that depth M decoded, as the start of a round."""
    measured = task.measured_at
    for lane in range(drawn.size):
        first = recording.offsets[drawn[lane]]
        length = recording.offsets[drawn[lane] + 1] - first
        for position in range(play.at[measured, lane] - measured + 1):
            windows[0, lane] += np.int32(1)
            for j in range(min(recording.accepted[first + position % length], measured)):
                windows[j + 1, lane] += np.int32(1)
