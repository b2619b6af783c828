"""The dense layer, whose three matrix products are most of what an encoder costs."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint


class Dense(nn.Module):
    """`x w + b`, summed in float32 (or better) whatever the type of the operands.

    Attributes:
        features: Number of features out.
        use_bias: Whether there is a `b`.
        kernel_init: Initialiser of `w`.
        bias_init: Initialiser of `b`.
        dtype: Type to multiply in and to give; parameters are float32.
    """

    features: int
    use_bias: bool = True
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    bias_init: nn.initializers.Initializer = nn.initializers.zeros
    dtype: Any = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[..., d]` to `[..., features]`."""
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        out = product(x.astype(self.dtype), kernel.astype(self.dtype))
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,))
            out = out + bias.astype(out.dtype)
        return out.astype(self.dtype)


# The dense layers of all blocks: nearly all parameters of an encoder.
BLOCK_KERNELS = ("qkv", "proj", "fc1", "fc2")


def multiplied_in(params: Any, dtype: Any) -> Any:
    """Stores the kernels of blocks in the type that they are multiplied in.

    Gives the same numbers. For inference: otherwise a bfloat16 model converts its
    float32 parameters anew for each batch, a quarter of its time on a CPU.

    Args:
        params: Parameters of a model.
        dtype: Its type of matrix products.
    """

    def store(path, leaf):
        names = [key.key for key in path]
        of_block = names[-1] == "kernel" and names[-2] in BLOCK_KERNELS
        return leaf.astype(dtype) if of_block else leaf

    return jax.tree.map_with_path(store, params)


@jax.custom_vjp
def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Matrix product with a backward pass that stays on the CPU's fast paths.

    XLA's CPU backend multiplies bfloat16 at twice the speed of float32, but only if it
    is asked for a float32 result and if no operand has to be read transposed
    (benchmarks/dense.py). It takes rows; on a TPU, making rows of clips moves them all
    in memory where the number of tokens does not divide into its tiles.

    Args:
        x: `[..., d]`.
        kernel: `[d, e]`, of the same type.

    Returns:
        `[..., e]`, float32 or better.
    """

    def by_rows(x, kernel):
        return _dot(_rows(x), kernel, 1, 0).reshape(*x.shape[:-1], kernel.shape[1])

    def direct(x, kernel):
        return _dot(x, kernel, x.ndim - 1, 0)

    return jax.lax.platform_dependent(x, kernel, cpu=by_rows, default=direct)


def _forward(x, kernel):
    return product(x, kernel), (x, kernel)


def _backward(residuals, grad):
    x, kernel = residuals
    grad = grad.astype(x.dtype)

    def by_rows(x, kernel, grad):
        grad = materialized(_rows(grad))
        grad_x = _dot(grad, kernel, 1, 1).reshape(x.shape)
        return grad_x, _dot(transposed(_rows(x)), grad, 1, 0)

    def direct(x, kernel, grad):
        axes = tuple(range(x.ndim - 1))
        return _dot(grad, kernel, x.ndim - 1, 1), _dot(x, grad, axes, axes)

    grad_x, grad_kernel = jax.lax.platform_dependent(
        x, kernel, grad, cpu=by_rows, default=direct
    )
    return grad_x.astype(x.dtype), grad_kernel.astype(kernel.dtype)


product.defvjp(_forward, _backward)


def _rows(x):
    return x.reshape(-1, x.shape[-1])


def _dot(a, b, axes_a, axes_b):
    axes = [(axis,) if isinstance(axis, int) else axis for axis in (axes_a, axes_b)]
    dimensions = (tuple(axes), ((), ()))
    accumulate = jnp.promote_types(a.dtype, jnp.float32)
    return jax.lax.dot_general(a, b, dimensions, preferred_element_type=accumulate)


def materialized(x: jax.Array) -> jax.Array:
    """On the CPU, has an array (and its gradient) computed once and kept.

    XLA otherwise computes element-wise work anew for each of its readers, and in the
    backward pass the sum of all branches above a block is read by every one below.
    """
    return jax.lax.platform_dependent(
        x, cpu=jax.lax.optimization_barrier, default=lambda x: x
    )


def transposed(x: jax.Array) -> jax.Array:
    """Swaps the last two axes; on the CPU in memory, not only in name.

    Otherwise XLA hands the operand to the product as it lies, and the product leaves
    the fast path. Accelerators transpose in the product for free.
    """
    if x.dtype.itemsize > 2:
        return jnp.swapaxes(materialized(x), -1, -2)
    return row_major(jnp.swapaxes(x, -1, -2))


def row_major(x: jax.Array) -> jax.Array:
    """On the CPU, has an array lie in memory in the order of its axes."""

    def laid_out(x):
        layout = Layout(major_to_minor=tuple(range(x.ndim)))
        barrier = jax.lax.optimization_barrier
        return barrier(with_layout_constraint(barrier(x), layout))

    return jax.lax.platform_dependent(x, cpu=laid_out, default=lambda x: x)
