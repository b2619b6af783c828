import functools
import importlib.util
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from jaxsed.errors import InputError
from jaxsed.plan import chips, collectives, compile, hlo
from jaxsed.training import sharding

WITHOUT_LIBTPU = importlib.util.find_spec("libtpu") is None


def summed_products(devices):
    """A program on all devices that takes an all-reduce."""
    mesh = sharding.make_mesh(devices=devices)
    split, everywhere = sharding.batch_sharding(mesh), sharding.replicated(mesh)
    function = jax.jit(
        lambda x, w: jnp.sum(x @ w, axis=0),
        in_shardings=(split, everywhere),
        out_shardings=everywhere,
    )
    shape = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    return function, (shape((1024, 256)), shape((256, 512)))


def check(topology):
    """Compiles for a topology; returns what the program is estimated to take."""
    devices = compile.devices(topology)
    assert len(devices) == topology.n_devices
    function, arguments = summed_products(devices)
    compiled = compile.compile_for(devices, function, *arguments)
    rows = 1024 // topology.n_devices
    assert compiled.argument_bytes == 4 * (rows * 256 + 256 * 512)
    assert 4 * 512 <= compiled.output_bytes < 4 * 512 + 64
    assert compiled.total_bytes >= compiled.argument_bytes + compiled.output_bytes
    assert compiled.flops == pytest.approx(2 * rows * 256 * 512, rel=0.1)
    module = hlo.parse(compiled.text)
    (sums,) = collectives.traffic(module, topology.n_devices).values()
    assert (sums.count, sums.n_bytes) == (1, 4 * 512)
    return hlo.cycles(module)


def test_fake_devices_are_compiled_for():
    assert check(chips.topology("cpu:8")) == 0


@pytest.mark.skipif(WITHOUT_LIBTPU, reason="libtpu, the TPU compiler, is not installed")
def test_a_slice_that_is_not_here_is_compiled_for():
    # In a process of its own: the compiler's environment must be there when it starts.
    topology = chips.topology("v5e:2x2")
    code = (
        "from tests.test_plan.test_compile import check, chips;"
        f"cycles = check(chips.topology({topology.name!r})); assert cycles > 100, cycles"
    )
    environment = {**os.environ, **topology.environment()}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


class Failing:
    """Stands for every stage of the compiler; the last one fails."""

    def __init__(self, message):
        self.message = message

    def trace(self, *arguments):
        return self

    def lower(self, lowering_platforms):
        return self

    def compile(self):
        raise jax.errors.JaxRuntimeError(f"RESOURCE_EXHAUSTED: {self.message}")


@pytest.mark.parametrize(
    "message, gib",
    [
        ("Ran out of memory in memory space hbm. Used 20.50G of 15.75G hbm.", 20.5),
        (
            "Ran out of memory on HBM, the total memory required for HLO temporaries "
            "(40.25G) exceeds available HBM (15.75G).",
            40.25,
        ),
        ("Ran out of memory.", None),
    ],
)
def test_what_does_not_fit_is_an_error_of_its_own(message, gib):
    with pytest.raises(compile.OutOfMemory) as refused:
        compile.compile_for(jax.devices(), Failing(message))
    assert refused.value.used_bytes == (gib and gib * 2**30)


def test_memory_on_the_chip_is_not_that_of_the_device():
    message = "Ran out of memory in memory space vmem. Used 16.12M of 16.00M vmem."
    with pytest.raises(
        InputError, match=r"needs 16\.12MB of the 16\.00MB of vector mem"
    ):
        compile.compile_for(jax.devices(), Failing(message))
