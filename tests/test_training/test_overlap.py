import types

import numpy as np
import pytest

from jaxsed.training import overlap, sharding


def mesh_of(platform, count):
    device = types.SimpleNamespace(platform=platform)
    return types.SimpleNamespace(devices=np.array([[device] * count]), size=count)


@pytest.mark.parametrize(
    "platform, count, told", [("tpu", 16, True), ("tpu", 1, False), ("gpu", 8, False)]
)
def test_tpus_that_talk_to_each_other_are_told_to_compute_meanwhile(
    platform, count, told
):
    assert bool(overlap.compiler_options(mesh_of(platform, count))) == told


def test_other_compilers_are_told_nothing():
    assert overlap.compiler_options(sharding.make_mesh()) == {}
