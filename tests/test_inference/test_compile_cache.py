import os
import subprocess
import sys

CODE = """
import jax, jax.numpy as jnp
from jaxsed.inference import compile_cache
compile_cache.enable()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((3, 3)))
"""


def run(**variables):
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JAX_COMPILATION", "JAXSED"))
    }
    subprocess.run(
        [sys.executable, "-c", CODE], env={**environment, **variables}, check=True
    )


def test_programs_are_kept_in_the_cache_folder(tmp_path):
    run(JAXSED_CACHE=str(tmp_path / "jaxsed"))
    assert list((tmp_path / "jaxsed" / "xla").iterdir())


def test_a_place_named_by_the_user_is_left_alone(tmp_path):
    run(
        JAXSED_CACHE=str(tmp_path / "jaxsed"),
        JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own"),
    )
    assert list((tmp_path / "own").iterdir())
    assert not (tmp_path / "jaxsed").exists()
