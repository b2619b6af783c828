import pytest

from jaxsed.errors import InputError
from jaxsed.stages.workdir import claim

CONFIG = {"seed": 1, "every": {"log": 5}, "eval": {"metrics": ("a", "b")}}


def test_same_config_again_is_welcome(tmp_path):
    claim(tmp_path / "run", CONFIG)
    claim(tmp_path / "run", CONFIG)
    claim(tmp_path / "run", CONFIG | {"every": {"log": 7}})


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
