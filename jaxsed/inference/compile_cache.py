"""Compiled programs kept from one command to the next."""

import jax

from jaxsed.weights import zoo


def enable() -> None:
    """Keeps what is compiled from now on in the cache folder, beside the checkpoints.

    A full-size encoder compiles in 5 to 20 s for each batch size, which a command on a
    few files would otherwise spend every time. `JAX_COMPILATION_CACHE_DIR` names
    another place; JAX itself only warns where it cannot write.
    """
    if jax.config.jax_compilation_cache_dir is None:
        folder = zoo.cache_folder().parent / "xla"
        jax.config.update("jax_compilation_cache_dir", str(folder))
