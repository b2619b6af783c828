import types

import numpy as np
import pytest

from jaxsed.training import overlap, sharding


def mesh_of(platform, count, kind="TPU v5 lite"):
    device = types.SimpleNamespace(platform=platform, device_kind=kind)
    return types.SimpleNamespace(devices=np.array([[device] * count]), size=count)


@pytest.mark.parametrize(
    "platform, count, told", [("tpu", 16, True), ("tpu", 1, False), ("gpu", 8, False)]
)
def test_tpus_that_talk_to_each_other_are_told_to_compute_meanwhile(
    platform, count, told
):
    assert bool(overlap.compiler_options(mesh_of(platform, count))) == told


def test_v4_is_not_told_to_fuse_exchanges():
    found = overlap.compiler_options(mesh_of("tpu", 16, "TPU v4"))
    assert found and not any("async" in name for name in found)


def test_other_compilers_are_told_nothing():
    assert overlap.compiler_options(sharding.make_mesh()) == {}
