"""The same simulations in JAX: compiled, vectorised over requests, a scan over rounds."""

from functools import partial

import jax
import jax.numpy as jnp


def _noise(key, requests, sigma):
    return jnp.exp(sigma * jax.random.normal(key, (requests,)) - sigma**2 / 2)


def _scan(one_round, key, requests, rounds):
    first, rest = jax.random.split(key)
    state = (jax.random.uniform(first, (requests,)) < 0.5).astype(jnp.int32)
    begin = state, jnp.zeros(requests, jnp.int32), jnp.zeros(requests)
    (_, tokens, seconds), _ = jax.lax.scan(one_round, begin, jax.random.split(rest, rounds))
    return tokens, seconds


@partial(jax.jit, static_argnums=(1, 2))
def independent(key, requests, rounds, _leave, survival, sigma):
    def one_round(carry, key):
        state, tokens, seconds = carry
        accept, noise = jax.random.split(key)
        u = jax.random.uniform(accept, (requests,))
        tokens += 1 + (u[:, None] < survival[0]).sum(1)
        return (state, tokens, seconds + _noise(noise, requests, sigma)), None

    return _scan(one_round, key, requests, rounds)


@partial(jax.jit, static_argnums=(1, 2))
def rounds_of(key, requests, rounds, leave, survival, sigma):
    def one_round(carry, key):
        state, tokens, seconds = carry
        accept, noise, move = jax.random.split(key, 3)
        u = jax.random.uniform(accept, (requests,))
        tokens += 1 + (u[:, None] < survival[state]).sum(1)
        moves = jax.random.uniform(move, (requests,)) < leave[state]
        state = jnp.where(moves, 1 - state, state)
        return (state, tokens, seconds + _noise(noise, requests, sigma)), None

    return _scan(one_round, key, requests, rounds)


@partial(jax.jit, static_argnums=(1, 2))
def positions(key, requests, rounds, leave, accept, sigma):
    depth = accept.shape[1]

    def one_round(carry, key):
        state, tokens, seconds = carry
        noise, drafts = jax.random.split(key)
        u = jax.random.uniform(drafts, (depth + 1, 2, requests))
        alive = jnp.ones(requests, bool)
        for at in range(depth + 1):
            tokens += alive
            good = u[at, 0] < accept[state, at] if at < depth else False
            moves = alive & (u[at, 1] < leave[state])
            state = jnp.where(moves, 1 - state, state)
            alive &= good
        return (state, tokens, seconds + _noise(noise, requests, sigma)), None

    return _scan(one_round, key, requests, rounds)
