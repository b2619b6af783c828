import importlib.util

import pytest

from jaxsed.errors import InputError
from jaxsed.plan import chips


def test_names_say_how_many_devices():
    slice_ = chips.topology("v5p:2x2x4")
    assert (slice_.n_devices, slice_.platform) == (16, "tpu")
    assert slice_.chip is chips.CHIPS["v5p"]
    here = chips.topology("cpu:6")
    assert (here.n_devices, here.platform, here.chip) == (6, "cpu", None)


@pytest.mark.parametrize(
    "name, message",
    [
        ("v5e:44", "did you mean 'v5e:4x4'"),
        ("v7:2x2", "Known: v4:2x2x1"),
        ("v5:4x4", "did you mean 'v5e:4x4'"),
        ("cpu", "expected cpu:N"),
        ("cpu:0", "expected cpu:N"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(name, message):
    with pytest.raises(InputError, match=message):
        chips.topology(name)


@pytest.mark.parametrize(
    "name, links",
    [
        ("v5e:1x1", 0),
        ("v5e:4x4", 2),
        ("v5e:8x16", 3),
        ("v5e:16x16", 4),
        ("v4:2x2x4", 3),
        ("v4:2x2x1", 2),
        ("v4:4x4x8", 6),
    ],
)
def test_links_of_the_device_that_has_the_fewest(name, links):
    assert chips.topology(name).n_links == links


def test_clock_and_multipliers_make_the_peak():
    per_cycle = {"v4": 2**18, "v5e": 2**17, "v5p": 2**18, "v6e": 2**19}
    for name, chip in chips.CHIPS.items():
        assert per_cycle[name] * chip.clock_hz == pytest.approx(chip.peak_flops, 0.01)


def test_environment_replaces_the_number_of_devices(monkeypatch):
    flags = "--a=1 --xla_force_host_platform_device_count=8 --b=2"
    monkeypatch.setenv("XLA_FLAGS", flags)
    found = chips.topology("cpu:3").environment()["XLA_FLAGS"].split()
    assert found == ["--a=1", "--b=2", "--xla_force_host_platform_device_count=3"]
    assert "XLA_FLAGS" not in chips.topology("v5e:2x2").environment()


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install libtpu"):
        chips.check_compiler(chips.topology("v4:2x2x1"))
    chips.check_compiler(chips.topology("cpu:2"))
