import pytest

from jaxsed.errors import InputError
from jaxsed.stages.share import Share


def test_a_part_of_a_config_names_a_share():
    assert Share.of("3/16") == (3, 16)
    assert str(Share.of("3/16")) == "3_of_16"
    assert Share.of("") == (0, 1)  # alone


@pytest.mark.parametrize("part", ["16/16", "-1/2", "1", "a/b", "1/0"])
def test_others_are_refused(part):
    with pytest.raises(InputError, match=f"part={part}: expected INDEX/COUNT"):
        Share.of(part)
