"""JAX's activations for kernels_peers.py: values, derivatives and times; for an interpreter that has jax.

python benchmarks/kernels_jax.py INPUTS.npy RESULTS.npz     # RESULTS: "silu forward", "silu backward", ... and "times"
"""

from __future__ import annotations

import json
import sys
import time

import jax
import jax.numpy as jnp
import numpy

FUNCTIONS = {
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "mish": jax.nn.mish,
    "softplus": jax.nn.softplus,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "hard_swish": jax.nn.hard_swish,
    "relu": jax.nn.relu,
}


def nanoseconds(call: object, *arguments: jax.Array) -> list[float]:
    """Return the 20 %, 50 % and 80 % quantiles of the time an element over 15 calls."""
    call(*arguments).block_until_ready()
    times = []
    for _ in range(15):
        started = time.perf_counter()
        call(*arguments).block_until_ready()
        times.append((time.perf_counter() - started) / arguments[0].size * 1e9)
    return [round(float(q), 4) for q in numpy.quantile(times, [0.2, 0.5, 0.8])]


def main() -> None:
    """Compute everything for the inputs of the first file and write it to the second."""
    x = numpy.load(sys.argv[1])
    normal = jnp.asarray(numpy.random.default_rng(0).standard_normal(1 << 20), dtype=jnp.float32)
    results, times = {}, {}
    for name, function in FUNCTIONS.items():
        forward = jax.jit(function)
        backward = jax.jit(lambda x, g, function=function: jax.vjp(function, x)[1](g)[0])
        results[f"{name} forward"] = numpy.asarray(forward(x))
        results[f"{name} backward"] = numpy.asarray(backward(x, jnp.ones_like(x)))
        times[name] = {
            "forward": nanoseconds(forward, normal),
            "backward": nanoseconds(backward, normal, jnp.ones_like(normal)),
        }
    numpy.savez(sys.argv[2], times=json.dumps({"version": jax.__version__, "ns": times}), **results)


if __name__ == "__main__":
    main()
