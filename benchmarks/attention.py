"""What the layout of the attention product is worth on this machine's CPU.

    python -m benchmarks.attention [--encoder tiny_atst_frame] [--batch 16]

Times one forward pass and one gradient of an encoder, with `models.attention.attend` and
with the einsum that defines it, in turn in one run; prints medians and their ratio.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from unittest import mock

import jax
import jax.numpy as jnp

from jaxsed.models import attention, relative_bias, sed


def definition(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None = None,
    dropout: float = 0.0,
    seeds: jax.Array | None = None,
    gated: relative_bias.GatedBias | None = None,
) -> jax.Array:
    """Softmax attention as written down, without dropout; arguments of `attend`."""
    del dropout, seeds
    scores = jnp.einsum("bqhe,bkhe->bhqk", query * query.shape[-1] ** -0.5, key)
    scores = scores if bias is None else scores + bias
    if gated is not None:
        gate = relative_bias.query_gate(query, gated.weights)
        scores = scores + gate[..., None] * gated.table
    return jnp.einsum("bhqk,bkhe->bqhe", jax.nn.softmax(scores), value)


def compiled(encoder: str, batch: int, attend: Callable) -> dict[str, Callable]:
    """Returns the compiled passes, ready to be called without arguments."""
    model = sed.build(encoder, 20)
    n_samples = round(model.encoder.clip_seconds * model.frontend.sample_rate)
    wave = 0.1 * jax.random.normal(jax.random.key(0), (batch, n_samples))
    mel = jax.jit(model.frontend)(wave)
    params = jax.jit(model.init)(jax.random.key(1), mel)

    def loss(params):
        return jax.nn.softplus(model.apply(params, mel)[0]).mean()

    passes = {}
    for name, function in (("forward", loss), ("gradient", jax.grad(loss))):
        with mock.patch.object(attention, "attend", attend):
            passes[name] = jax.jit(function).lower(params).compile()
    return {name: lambda run=run: run(params) for name, run in passes.items()}


def seconds(run: Callable) -> float:
    """Returns how long one call takes."""
    begin = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - begin


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="tiny_atst_frame")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    ours = compiled(args.encoder, args.batch, attention.attend)
    theirs = compiled(args.encoder, args.batch, definition)
    for name in ours:
        times = [
            (seconds(theirs[name]), seconds(ours[name])) for _ in range(args.rounds)
        ]
        before, after = (1e3 * statistics.median(t) / args.batch for t in zip(*times))
        print(
            f"{args.encoder} {name}: einsum {before:.2f} ms a clip, attend {after:.2f} ms, "
            f"{before / after:.2f} times as fast"
        )


if __name__ == "__main__":
    main()
