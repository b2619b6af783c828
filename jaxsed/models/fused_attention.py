"""Attention for TPUs as one kernel, forward and backward: scores stay on the chip.

Written down plainly, the scores of a layer of 16 clips go through memory ten times in a
training step. Here a clip's scores of one head are computed, normalised and used up
within the chip's vector memory, and once more in the backward pass: nothing but queries,
keys and values is kept for it.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from jaxsed.models.attention_kernels import (
    LANES,
    QKV,
    backward_kernel,
    forward_kernel,
)
from jaxsed.models.clipwise import clipwise
from jaxsed.models.relative_bias import GatedBias

CLIPS = 4  # at most, of a step of the kernel
# Of 16 MiB, BEATs' bias and its gradient leave less: with 4 clips, a step takes 18.
SMALL_CLIPS = {"TPU v4": 2}
# Of the 128 MiB of vector memory (v5e, v6e); a step of 497 tokens takes 20.
VECTOR_MEMORY_BYTES = 64 * 2**20


def fits(width: int, heads: int) -> bool:
    """Whether heads can be taken together by 128 features."""
    return width % LANES == 0 and LANES % (width // heads) == 0


def fused_attention(
    qkv: jax.Array,
    heads: int,
    gated: GatedBias | None = None,
    seeds: jax.Array | None = None,
    rate: float = 0.0,
    interpret: bool = False,
) -> jax.Array:
    """Self-attention of tokens; the scores are scaled as in `attention.attend`.

    Args:
        qkv: `[b, s, 3 * d]`: queries, keys and values of all heads.
        heads: Number of heads; see `fits`.
        gated: A bias that is added to the scores.
        seeds: int32 `[b, heads, 2]` for dropout, see `dropout.keep`; None for none.
        rate: At which weights are dropped.
        interpret: Run the kernels as plain JAX, on any device: for tests.

    Returns:
        `[b, s, d]`, of the type of `qkv`.
    """
    mesh = jax.sharding.get_abstract_mesh()
    shared = {} if gated is None else _shared(gated, heads)
    return _attention(qkv, shared, seeds, mesh, (heads, rate, interpret))


SHARED = ("table", "gate_rows", "gate_scalars")  # by all clips


def _shared(gated, heads):
    """A gated bias as `attention_kernels` want it, keys before queries."""
    (kernel, bias, scale), table = gated
    rows = jnp.kron(jnp.eye(LANES // len(kernel), dtype=kernel.dtype), kernel.T)
    biases = jnp.broadcast_to(bias, (heads, 2))
    scalars = jnp.concatenate([biases, scale[:, None]], axis=1)
    return dict(zip(SHARED, (jnp.swapaxes(table, 1, 2), rows, scalars)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _attention(qkv, shared, seeds, mesh, options):
    arrays = _named(qkv, shared, seeds)
    forward = functools.partial(_forward, options=options)
    return clipwise(forward, arrays, mesh, whole=SHARED)["attended"]


def _attention_forward(qkv, shared, seeds, mesh, options):
    return _attention(qkv, shared, seeds, mesh, options), (qkv, shared, seeds)


def _attention_backward(mesh, options, residuals, grad):
    qkv, shared, seeds = residuals
    arrays = {**_named(qkv, shared, seeds), "grad": grad}
    backward = functools.partial(_backward, options=options)
    summed = [f"grad_{name}" for name in SHARED]
    grads = clipwise(backward, arrays, mesh, whole=SHARED, summed=summed)
    grad_shared = {name: grads[f"grad_{name}"] for name in shared}
    return grads["grad_qkv"], grad_shared, None


_attention.defvjp(_attention_forward, _attention_backward)


def _named(qkv, shared, seeds):
    return {"qkv": qkv, **shared} | ({} if seeds is None else {"seeds": seeds})


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
        if name in ("qkv", "table")
    }
    if "table" not in arrays:
        return _call(backward_kernel, arrays, results, options)
    # What steps of the kernel give apart is added up here.
    (rows, lanes), (heads, scalars) = (arrays[name].shape for name in SHARED[1:])
    groups, n_tokens = arrays["qkv"].shape[2] // (3 * lanes), arrays["qkv"].shape[1]
    for name, shape in (
        ("grad_gate_rows", (groups, rows, lanes)),
        ("grad_gate_scalars", (groups, heads // groups * scalars, n_tokens)),
    ):
        results[name] = jax.ShapeDtypeStruct(shape, jnp.float32)
    found = _call(backward_kernel, arrays, results, options)
    found["grad_gate_rows"] = found["grad_gate_rows"].sum(0)
    by_head = found["grad_gate_scalars"].sum(-1)
    found["grad_gate_scalars"] = by_head.reshape(heads, scalars)
    return found


def _call(kernel, arrays, results, options):
    heads, rate, interpret = options
    qkv = arrays["qkv"]
    n_clips, n_tokens, features = qkv.shape
    groups = features // (3 * LANES)
    most = _most_clips()
    clips = next(count for count in range(most, 0, -1) if n_clips % count == 0)
    backward = kernel is backward_kernel
    specs = _specs(groups, clips, n_tokens)

    # Arrays by head get an axis for the heads that are taken together.
    def split(name, shape):
        axis = {"seeds": 1, "table": 0, "grad_table": 0, "gate_scalars": 0}.get(name)
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


def _most_clips():
    device = jax.sharding.get_abstract_mesh().abstract_device
    return CLIPS if device is None else SMALL_CLIPS.get(device.device_kind, CLIPS)


def _specs(groups, clips, n_tokens):
    """What of an array, by name, a step `(group, clip, part)` of a kernel sees."""

    def spec(name, shape):
        space = pltpu.SMEM if name in ("seeds", "gate_scalars") else pltpu.VMEM
        inner = (0,) * (len(shape) - 1)
        if name == "gate_rows":
            index = lambda group, clip, part: (0, 0)  # noqa: E731
            return pl.BlockSpec(shape, index, memory_space=space)
        if name.removeprefix("grad_") in SHARED:
            index = lambda group, clip, part: (group, *inner)  # noqa: E731
            return pl.BlockSpec((None, *shape[1:]), index, memory_space=space)
        if name == "seeds":
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
