"""Recorded requests played again: drawn with replacement, walked by every depth at once.

A request that is longer than its record continues from the record's beginning.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from mtpsim.kernels.jit import bare, kernel
from mtpsim.kernels.noise import draw_factors, fill_noise_words, new_scratch
from mtpsim.kernels.philox import PATH, TILE, fill_words, in_lanes
from mtpsim.kernels.totals import write_depths, write_windows

# Progress of the lanes of a depth. `at` [K+1, lanes]: tick at which its next round begins; `tokens`
# to `draft` are running totals by depth. `drawn` [lanes]: the request that a lane plays;
# `most_rounds` and `most_tokens` [lanes]: where it ends; `begin` [TILE, lanes] and `memory` of the
# noise are scratch.
Play = namedtuple(
    "Play",
    "at tokens rounds accepted verify draft windows drawn most_rounds most_tokens begin memory",
)


def _new_play(deep, measured, n):
    def ints(*shape):
        return np.zeros((*shape, n), np.int32)

    totals = ints(deep + 1), ints(deep + 1), ints(deep + 1), ints(deep + 1, deep)
    seconds = np.zeros((deep + 1, n)), np.zeros((deep + 1, n))
    each = np.zeros(n, np.int64), ints(), ints()
    begin, memory = np.zeros((TILE, n), np.int8), np.zeros((deep + 1, 2, n))
    return Play(*totals, *seconds, ints(1 + measured), *each, begin, memory)


def simulate_recording(key, first, recording, noise, task, shallow, deep, out):
    """Simulate requests ``first`` .. at depths ``shallow`` .. ``deep``; a row of ``out`` each."""
    for some, n in in_lanes(out):
        play, s = _new_play(deep, task.measured_at, n), new_scratch(n)
        _play(key, first + some.start, recording, noise, task, shallow, s, play, out[some])


@kernel
def _play(key, first, recording, noise, task, shallow, s, play, out):
    lanes, deep = play.drawn.size, play.accepted.shape[1]
    for at in range(0, out.shape[0], lanes):
        play.at[:], play.tokens[:], play.rounds[:], play.accepted[:] = 0, 0, 0, 0
        play.verify[:], play.draft[:], play.windows[:] = 0.0, 0.0, 0
        draw_requests(key, first + at, recording, s.words, play.drawn)
        _set_horizon(recording, task, play)
        tick, live = 0, True
        while live:
            fill_noise_words(key, first + at, tick, TILE, noise, s)
            live = False
            for k in range(shallow, deep + 1):
                live |= _play_tile(recording, tick, k, play)
                # Persistent noise remembers the rounds of its own depth; other noise does not mind.
                draw_factors(noise, play.begin, tick == 0, TILE, play.memory[k], s)
                _charge(noise, k, s, play)
            tick += TILE
        _write(recording, task, shallow, play, out[at : at + lanes])


@bare
def _write(recording, task, shallow, play, out):
    if recording.by_position:
        _count_windows(recording, play.drawn, play, task, play.windows)
        write_windows(task, play.windows, out)
    for k in range(0 if recording.whole and task.tokens == 0 else play.tokens.shape[0]):
        for lane in range(play.tokens.shape[1]):
            play.tokens[k, lane] = min(play.tokens[k, lane], play.most_tokens[lane])
    deep = play.accepted.shape[1]
    write_depths(task, shallow, deep, play.tokens, play.rounds, play.accepted, play.verify,
                 play.draft, out)  # fmt: skip


@bare
def draw_requests(key, first, recording, words, drawn):
    """A recorded request for each lane, by the word that would choose a chain's first state."""
    fill_words(key, first, 0, TILE, PATH, words)
    requests = np.uint64(recording.offsets.size - 1)
    for lane in range(drawn.size):
        if recording.in_order:
            drawn[lane] = (np.int64(first) + lane) % np.int64(requests)
            continue
        word = np.uint64(np.uint32(words[0, lane]))
        drawn[lane] = np.int64((word * requests) >> np.uint64(32))


@bare
def _set_horizon(recording, task, play):
    """Most rounds and most tokens of each lane."""
    for lane in range(play.drawn.size):
        request = play.drawn[lane]
        length = np.int32(recording.offsets[request + 1] - recording.offsets[request])
        play.most_rounds[lane] = play.most_tokens[lane] = 2147483647
        if task.rounds > 0:
            play.most_rounds[lane] = task.rounds
        elif task.tokens > 0:
            play.most_tokens[lane] = task.tokens
        elif recording.by_position:
            play.most_tokens[lane] = length
        else:
            play.most_rounds[lane] = length


@bare
def _play_tile(recording, tick, k, play):
    """Play depth ``k`` through a tile and mark in ``play.begin`` where rounds begin."""
    live = False
    at, tokens, rounds, accepted = play.at[k], play.tokens[k], play.rounds[k], play.accepted[k]
    for lane in range(play.drawn.size):
        first = recording.offsets[play.drawn[lane]]
        length = recording.offsets[play.drawn[lane] + 1] - first
        most_rounds, most_tokens = play.most_rounds[lane], play.most_tokens[lane]
        for t in range(TILE):
            more = rounds[lane] < most_rounds and tokens[lane] < most_tokens
            begins = more and at[lane] == tick + t
            play.begin[t, lane] = np.int8(begins)
            if not begins:
                continue
            count = min(recording.accepted[first + (tick + t) % length], np.int32(k))
            for j in range(count):
                accepted[j, lane] += np.int32(1)
            tokens[lane] += count + np.int32(1)
            rounds[lane] += np.int32(1)
            at[lane] += count + np.int32(1) if recording.by_position else np.int32(1)
        live |= rounds[lane] < most_rounds and tokens[lane] < most_tokens
    return live


@bare
def _charge(noise, k, s, play):
    """Add the factors of the rounds that begin in the tile."""
    check = s.verify if noise.shared or k > 0 else s.target
    draft = s.verify if noise.shared else s.draft
    for t in range(TILE):
        for lane in range(play.drawn.size):
            if play.begin[t, lane] != 0:
                play.verify[k, lane] += check[t, lane]
                play.draft[k, lane] += draft[t, lane]


@bare
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
