import pytest

from jaxsed.errors import InputError
from jaxsed.stages.workdir import claim

CONFIG = {"seed": 1, "every": {"log": 5}, "eval": {"metrics": ("a", "b")}}


def test_same_config_again_is_welcome(tmp_path):
    claim(tmp_path / "run", CONFIG)
    claim(tmp_path / "run", CONFIG)
    claim(tmp_path / "run", CONFIG | {"every": {"log": 7}})


def test_what_is_shown_may_change_in_a_link_too(tmp_path):
    claim(tmp_path, {"links": {"weak": CONFIG}})
    claim(tmp_path, {"links": {"weak": CONFIG | {"every": {"log": 7}}}})
    with pytest.raises(InputError, match=r"another links\.weak\.seed"):
        claim(tmp_path, {"links": {"weak": CONFIG | {"seed": 2}}})


@pytest.mark.parametrize(
    "change, key",
    [
        ({"seed": 2}, "seed"),
        ({"eval": {"metrics": ("a",)}}, r"eval\.metrics"),
        ({"extra": 1}, "extra"),
    ],
)
def test_another_config_is_refused_by_key(tmp_path, change, key):
    claim(tmp_path, CONFIG)
    with pytest.raises(InputError, match=f"another {key}: use another --workdir"):
        claim(tmp_path, CONFIG | change)
