import types

import pytest

from jaxsed.errors import InputError
from jaxsed.weights import parameter_tree

TREE = {"encoder": {"block_0": {"kernel": 1, "bias": 2}, "cls": 3}, "bias": 4}
FLAT = {
    "encoder/block_0/kernel": 1,
    "encoder/block_0/bias": 2,
    "encoder/cls": 3,
    "bias": 4,
}


def test_a_tree_by_path_and_back():
    assert parameter_tree.flattened(TREE) == FLAT
    assert parameter_tree.nested(FLAT) == TREE
    # As a model without parameters has them, and as callers may protect them.
    assert parameter_tree.nested({}) == parameter_tree.flattened({}) == {}
    assert parameter_tree.nested(types.MappingProxyType(FLAT)) == TREE
    assert parameter_tree.flattened(types.MappingProxyType(TREE)) == FLAT


@pytest.mark.parametrize("name", ["a/b", 0])
def test_names_that_would_be_lost_on_the_way_are_refused(name):
    with pytest.raises(InputError, match=f"parameter name {name!r} must be text"):
        parameter_tree.flattened({"encoder": {name: 1}})
