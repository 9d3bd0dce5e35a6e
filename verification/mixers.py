"""Philox as the kernels read it, as NumPy computes it, and with one fault at a time.

A mixer is a function of an address: ``mixer(key, first, tick, purpose, ticks, lanes)`` gives the
words ``[ticks, lanes]`` uint32 of requests ``first`` .. and ticks ``tick`` .. (both in fours).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mtpsim.engine.simulate import random_key
from mtpsim.kernels.philox import ARMS, CALL, DRAFT, FATES, LANES, PATH, SCORES, STALE, TILE, VERIFY
from mtpsim.kernels.philox import words_at as kernel_words_at

Words = npt.NDArray[np.uint32]
Mixer = Callable[[int, int, int, int, int, int], Words]
LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
MULTIPLY = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)


def engine(key: int, first: int, tick: int, purpose: int, ticks: int, lanes: int) -> Words:
    """The words that the kernels read."""
    if ticks % CALL:
        raise ValueError(f"{ticks} ticks are no multiple of {CALL}")
    words = np.empty((ticks, lanes), np.int32)
    kernel_words_at(np.uint64(key), first, tick, purpose, words)
    return words.view(np.uint32)


@dataclass(frozen=True)
class Fault:
    """Philox with a fault; without one it is the engine's.

    Attributes:
        rounds: of the mixer; 10 is right.
        schedule: the key moves on from round to round.
        second_product: the second of the two multiplications of a round is made.
        high: the high halves of the products are used.
        keyed: the seed's key is used.
        address: what happens to (request, call, purpose) before they are mixed.

    """

    rounds: int = 10
    schedule: bool = True
    second_product: bool = True
    high: bool = True
    keyed: bool = True
    address: str = "right"

    def __call__(
        self, key: int, first: int, tick: int, purpose: int, ticks: int, lanes: int
    ) -> Words:
        request = np.arange(lanes, dtype=np.uint64) + np.uint64(first)
        call = np.arange(ticks // CALL, dtype=np.uint64)[:, None] + np.uint64(tick // CALL)
        out = np.stack(self.calls(request, call, np.uint64(purpose), key), axis=1)
        return out.astype(np.uint32).reshape(ticks, lanes)  # from [calls, 4, lanes]

    def calls(self, request, call, purpose, key):  # type: ignore[no-untyped-def]
        """Four words for each of many addresses, arrays that broadcast."""
        return self.mix(self._counter(request, call, purpose), key if self.keyed else 0)

    def _counter(self, request, call, purpose):  # type: ignore[no-untyped-def]
        low, high = request & LOW, request >> HALF
        if self.address == "requests overlap":  # the next request reads the same row, a call on
            low, call = np.zeros_like(low), call + request
        elif self.address == "request ignored":
            low = high = np.zeros_like(low)
        elif self.address == "request cut to 32 bits":
            high = np.zeros_like(high)
        elif self.address == "request cut to 16 bits":
            low, high = low & np.uint64(0xFFFF), np.zeros_like(high)
        elif self.address == "tick cut to 10 bits":
            call = call & np.uint64(0xFF)
        elif self.address == "purpose ignored":
            purpose = np.uint64(0)
        elif self.address == "purpose cut to 8 bits":
            purpose = purpose & np.uint64(0xFF)
        elif self.address == "purpose added to tick":
            call, purpose = call + purpose, np.uint64(0)
        parts = np.broadcast_arrays(low, high, call, purpose)
        return [np.array(part, np.uint64) for part in parts]

    def mix(self, counter, key):  # type: ignore[no-untyped-def]
        """Philox4x32 of counters (four arrays, or numbers) with a 64-bit key or an array of them"""
        c0, c1, c2, c3 = counter
        key = np.asarray(key, np.uint64)
        k0, k1 = key & LOW, key >> HALF
        for _ in range(self.rounds):
            p0 = MULTIPLY[0] * c0
            p1 = MULTIPLY[1] * c2 if self.second_product else c2
            upper = (p1 >> HALF, p0 >> HALF) if self.high else (np.uint64(0), np.uint64(0))
            c0, c1, c2, c3 = upper[0] ^ c1 ^ k0, p1 & LOW, upper[1] ^ c3 ^ k1, p0 & LOW
            if self.schedule:
                k0, k1 = (k0 + WEYL[0]) & LOW, (k1 + WEYL[1]) & LOW
        return c0, c1, c2, c3


RIGHT = Fault()
FAULTS = {
    **{f"{n} rounds": Fault(rounds=n) for n in (1, 2, 3, 4, 5, 6, 7)},
    "key schedule dropped": Fault(schedule=False),
    "second product dropped": Fault(second_product=False),
    "high halves dropped": Fault(high=False),
    "seed ignored": Fault(keyed=False),
    **{
        name: Fault(address=name)
        for name in (
            "requests overlap",
            "request ignored",
            "request cut to 16 bits",
            "request cut to 32 bits",
            "tick cut to 10 bits",
            "purpose ignored",
            "purpose cut to 8 bits",
            "purpose added to tick",
        )
    },
}

PURPOSES = (PATH, VERIFY, DRAFT, STALE, SCORES, SCORES + 1, FATES, FATES + 1)
FAR = 2**32  # requests on both sides of the counter's word boundary


def _ticks(mixer: Mixer, n: int, seed: int) -> Words:
    return mixer(random_key(seed), 12_345, 0, PATH, n, 1).ravel()


def _requests(mixer: Mixer, n: int, seed: int) -> Words:
    return mixer(random_key(seed), 0, 0, PATH, TILE, n // TILE).ravel()


def _tiles(mixer: Mixer, n: int, seed: int) -> Words:
    tiles = n // (TILE * LANES)
    return np.concatenate(
        [
            mixer(random_key(seed), LANES * (i % 4), TILE * (i // 4), PATH, TILE, LANES)
            for i in range(tiles)
        ]
    ).ravel()


def _rows(mixer: Mixer, n: int, seed: int) -> Words:
    """Request by request, 64 ticks of each."""
    return np.ascontiguousarray(mixer(random_key(seed), 0, 0, PATH, 64, n // 64).T).ravel()


def _interleaved(parts: list[Words]) -> Words:
    return np.stack([part.ravel() for part in parts], axis=1).ravel()


def _purposes(mixer: Mixer, n: int, seed: int) -> Words:
    side = n // len(PURPOSES) // 256
    return _interleaved([mixer(random_key(seed), 0, 0, p, 256, side) for p in PURPOSES])


def _arms(mixer: Mixer, n: int, seed: int) -> Words:
    arms = [VERIFY + ARMS * arm for arm in range(4)]
    return _interleaved([mixer(random_key(seed), 0, 0, p, 256, n // 1024) for p in arms])


def _seeds(mixer: Mixer, n: int, seed: int) -> Words:
    return _interleaved(
        [mixer(random_key(seed + s), 0, 0, PATH, 256, n // 4096) for s in range(16)]
    )


def _near_keys(mixer: Mixer, n: int, seed: int) -> Words:
    keys = [random_key(seed) ^ bit for bit in (0, *(1 << at for at in range(1, 64, 9)))]
    return _interleaved([mixer(k, 0, 0, PATH, 256, n // 2048) for k in keys])


def _far(mixer: Mixer, n: int, seed: int) -> Words:
    starts = (0, FAR, 2 * FAR, 2**40)
    return _interleaved(
        [mixer(random_key(seed), start, 0, PATH, 256, n // 1024) for start in starts]
    )


Stream = Callable[[Mixer, int, int], Words]  # of a mixer, a number of words and a seed
STREAMS: dict[str, Stream] = {
    "along ticks": _ticks,
    "along requests": _requests,
    "tiles, as kernels read": _tiles,
    "request by request": _rows,
    "purposes in turn": _purposes,
    "arms in turn": _arms,
    "seeds in turn": _seeds,
    "keys a bit apart": _near_keys,
    "requests 2^32 apart": _far,
}
