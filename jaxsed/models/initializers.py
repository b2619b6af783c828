"""How parameters start where Linen's own initialisers differ from the originals'."""

import flax.linen as nn
import jax
import jax.numpy as jnp


def fan_in_uniform(fan_in: int) -> nn.initializers.Initializer:
    """Uniform in +-1/sqrt(fan_in): PyTorch's default for kernels *and* biases.

    Args:
        fan_in: Number of inputs that a unit sums over (for recurrent layers, PyTorch
            takes the size of the state).

    Returns:
        An initialiser for arrays of any shape.
    """
    bound = fan_in**-0.5

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init
