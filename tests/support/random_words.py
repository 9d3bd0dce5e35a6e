"""The random words of an address, by another implementation of Philox."""

from functools import cache

from randomgen import Philox

from mtpsim.engine.simulate import random_key

SEED, FIRST, REQUESTS = 5, 2**32 - 2, 4  # a request's number crosses 2^32 on the way


PATH, VERIFY, DRAFT = 0, 1, 2


@cache
def word(request, tick, purpose):
    """The 32-bit word at an address: four ticks share a call of the generator."""
    counter = request | (tick // 4) << 64 | purpose << 96
    raw = Philox(counter=(counter - 1) % 2**128, key=random_key(SEED), number=4, width=32)
    return int(raw.random_raw(4)[tick % 4])
