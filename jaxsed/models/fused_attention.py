"""Attention for TPUs as one kernel, forward and backward: scores stay on the chip.

Written down plainly, the scores of a layer of 16 clips go through memory ten times in a
training step. Here a clip's scores of one head are computed, normalised and used up
within the chip's vector memory, and once more in the backward pass: nothing but queries,
keys and values is kept for it.
"""

import functools

import jax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from jaxsed.models.attention_kernels import (
    LANES,
    QKV,
    backward_kernel,
    forward_kernel,
)
from jaxsed.models.clipwise import clipwise

CLIPS = 4  # at most, of a step of the kernel
# Of the 128 MiB of vector memory (v5e, v6e); a step of 497 tokens takes 20.
VECTOR_MEMORY_BYTES = 64 * 2**20


def fits(width: int, heads: int) -> bool:
    """Whether heads can be taken together by 128 features."""
    return width % LANES == 0 and LANES % (width // heads) == 0


def fused_attention(
    qkv: jax.Array,
    heads: int,
    bias: tuple[jax.Array, jax.Array] | None = None,
    seeds: jax.Array | None = None,
    rate: float = 0.0,
    interpret: bool = False,
) -> jax.Array:
    """Self-attention of tokens; the scores are scaled as in `attention.attend`.

    Args:
        qkv: `[b, s, 3 * d]`: queries, keys and values of all heads.
        heads: Number of heads; see `fits`.
        bias: Added to the scores, in two factors: by query, float32 `[b, heads, s]`,
            and for all clips, float32 `[heads, s, s]`, keys before queries.
        seeds: int32 `[b, heads, 2]` for dropout, see `dropout.keep`; None for none.
        rate: At which weights are dropped.
        interpret: Run the kernels as plain JAX, on any device: for tests.

    Returns:
        `[b, s, d]`, of the type of `qkv`.
    """
    mesh = jax.sharding.get_abstract_mesh()
    return _attention(qkv, bias, seeds, mesh, (heads, rate, interpret))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _attention(qkv, bias, seeds, mesh, options):
    arrays = _named(qkv, bias, seeds)
    forward = functools.partial(_forward, options=options)
    return clipwise(forward, arrays, mesh, whole=["table"])["attended"]


def _attention_forward(qkv, bias, seeds, mesh, options):
    return _attention(qkv, bias, seeds, mesh, options), (qkv, bias, seeds)


def _attention_backward(mesh, options, residuals, grad):
    qkv, bias, seeds = residuals
    arrays = {**_named(qkv, bias, seeds), "grad": grad}
    backward = functools.partial(_backward, options=options)
    grads = clipwise(backward, arrays, mesh, whole=["table"], summed=["grad_table"])
    grad_bias = None
    if bias is not None:
        grad_bias = grads["grad_gate"], grads["grad_table"]
    return grads["grad_qkv"], grad_bias, None


_attention.defvjp(_attention_forward, _attention_backward)


def _named(qkv, bias, seeds):
    arrays = {"qkv": qkv}
    if bias is not None:
        arrays["gate"], arrays["table"] = bias
    if seeds is not None:
        arrays["seeds"] = seeds
    return arrays


def _forward(arrays, options):
    n_clips, n_tokens, features = arrays["qkv"].shape
    attended = jax.ShapeDtypeStruct(
        (n_clips, n_tokens, features // 3), arrays["qkv"].dtype
    )
    return _call(forward_kernel, arrays, {"attended": attended}, options)


def _backward(arrays, options):
    results = {
        f"grad_{name}": jax.ShapeDtypeStruct(array.shape, array.dtype)
        for name, array in arrays.items()
        if name in ("qkv", "gate", "table")
    }
    return _call(backward_kernel, arrays, results, options)


def _call(kernel, arrays, results, options):
    heads, rate, interpret = options
    qkv = arrays["qkv"]
    n_clips, n_tokens, features = qkv.shape
    groups = features // (3 * LANES)
    clips = next(count for count in range(CLIPS, 0, -1) if n_clips % count == 0)
    backward = kernel is backward_kernel
    specs = _specs(groups, clips, n_tokens)

    # Arrays by head get an axis for the heads that are taken together.
    def split(name, shape):
        axis = {"gate": 1, "seeds": 1, "table": 0}.get(name.removeprefix("grad_"))
        if axis is None:
            return shape
        return (*shape[:axis], groups, heads // groups, *shape[axis + 1 :])

    inputs = dict.fromkeys(QKV, qkv)
    for name in sorted(arrays.keys() - {"qkv"}):
        inputs[name] = arrays[name].reshape(split(name, arrays[name].shape))
    scratch = (3, clips, n_tokens, LANES)
    names = (*inputs, *results, "parts")

    def body(*refs):
        kernel(dict(zip(names, refs)), features // 3 // heads, rate)

    scores = n_clips * heads * n_tokens**2
    n_bytes = [x.size * x.dtype.itemsize for x in (*arrays.values(), *results.values())]
    call = pl.pallas_call(
        body,
        grid=(groups, n_clips // clips, 3 if backward else 1),
        in_specs=[specs(name, array.shape) for name, array in inputs.items()],
        out_specs=[specs(name, split(name, r.shape)) for name, r in results.items()],
        out_shape=[
            jax.ShapeDtypeStruct(split(name, result.shape), result.dtype)
            for name, result in results.items()
        ],
        scratch_shapes=[pltpu.VMEM(scratch, qkv.dtype)] if backward else [],
        compiler_params=pltpu.CompilerParams(
            # The table's gradient is summed over the steps of a group.
            dimension_semantics=("parallel", "arbitrary", "arbitrary"),
            vmem_limit_bytes=VECTOR_MEMORY_BYTES,
        ),
        cost_estimate=pl.CostEstimate(
            # As wide as the matrix units are, which narrower heads do not fill.
            flops=2 * (5 if backward else 2) * scores * LANES,
            transcendentals=scores,
            bytes_accessed=sum(n_bytes),
        ),
        interpret=interpret,
        name=kernel.__name__.replace("kernel", "attention"),
    )
    found = call(*inputs.values())
    return {
        name: array.reshape(result.shape)
        for (name, result), array in zip(results.items(), found)
    }


def _specs(groups, clips, n_tokens):
    """What of an array, by name, a step `(group, clip, part)` of a kernel sees."""

    def spec(name, shape):
        name = name.removeprefix("grad_") if name != "grad_qkv" else name
        if name == "table":
            block = (None, *shape[1:])
            return pl.BlockSpec(block, lambda group, clip, part: (group, 0, 0, 0))
        if name in ("gate", "seeds"):
            space = pltpu.SMEM if name == "seeds" else pltpu.VMEM
            block = (clips, None, *shape[2:])
            index = lambda group, clip, part: (clip, group, 0, 0)  # noqa: E731
            return pl.BlockSpec(block, index, memory_space=space)
        first = QKV.index(name) * groups if name in QKV else 0
        of_part = groups if name == "grad_qkv" else 0
        return pl.BlockSpec(
            (clips, n_tokens, LANES),
            lambda group, clip, part: (clip, 0, first + of_part * part + group),
        )

    return spec
