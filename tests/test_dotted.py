import pytest

from jaxsed import dotted
from jaxsed.errors import InputError

CONFIG = {"seed": 0, "optim": {"max_lr": 1e-4, "table": ()}, "data": {"a": {"b": 1}}}


def test_flat():
    assert dotted.flat(CONFIG) == {
        "seed": 0,
        "optim.max_lr": 1e-4,
        "optim.table": (),
        "data.a.b": 1,
    }


def test_nested_is_the_way_back():
    assert dotted.nested(dotted.flat(CONFIG)) == CONFIG


def test_changed_leaves_the_original_alone():
    found = dotted.changed(CONFIG, {"data.a.b": 2, "seed": 3})
    assert dotted.flat(found) == {**dotted.flat(CONFIG), "data.a.b": 2, "seed": 3}
    assert CONFIG["data"]["a"]["b"] == 1 and CONFIG["seed"] == 0


@pytest.mark.parametrize("name", ["optim.max_rl", "optim", "data.a"])
def test_only_what_is_there_can_be_changed(name):
    with pytest.raises(InputError, match=f"unknown axis '{name}'.*optim.max_lr"):
        dotted.changed(CONFIG, {name: 1}, "axis")


def test_differences():
    other = dotted.changed(CONFIG, {"optim.max_lr": 1e-3})
    other["new"] = {"x": 1}
    assert sorted(dotted.differences(CONFIG, other)) == ["new", "optim.max_lr"]
    assert list(dotted.differences(CONFIG, CONFIG)) == []
