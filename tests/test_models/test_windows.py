import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models.windows import MASKED, Windows, position_index, window_bias
from tests import goldens

GOLDEN = goldens.load("htsat")


def test_one_window_spans_what_is_no_larger_and_does_not_shift():
    assert Windows.over((16, 32), 8, True) == Windows((16, 32), (8, 8), (4, 4))
    assert Windows.over((16, 32), 8, False) == Windows((16, 32), (8, 8))
    assert Windows.over((8, 16), 8, True) == Windows((8, 16), (8, 8), (0, 4))
    assert Windows.over((4, 8), 8, True) == Windows((4, 8), (4, 8))


def test_a_window_holds_neighbours_head_by_head():
    windows = Windows((4, 6), (2, 3))
    row, column, feature = np.indices((4, 6, 10))
    image = (100 * row + 10 * column + feature)[None].repeat(2, 0)
    cut = windows.cut(image, heads=2)
    assert cut.shape == (2, windows.count * 2, windows.tokens, 5)
    # The last window, its second head: rows 2 and 3, columns 3 to 5, features 5 to 9.
    np.testing.assert_array_equal(cut[1, -1], image[1, 2:, 3:, 5:].reshape(6, 5))
    np.testing.assert_array_equal(windows.joined(cut), image)


def test_rolling_there_and_back():
    windows = Windows((4, 6), (2, 3), (1, 2))
    image = np.arange(24).reshape(1, 4, 6, 1)
    rolled = windows.rolled(image)
    assert rolled[0, 0, 0, 0] == image[0, 1, 2, 0]
    np.testing.assert_array_equal(windows.rolled(rolled, back=True), image)


def test_the_mask_is_the_originals():
    mask = Windows.over((16, 16), 8, True).mask()
    np.testing.assert_array_equal(
        mask[:, ::3, ::3], GOLDEN["derived/attn_mask_layers2"]
    )


@pytest.mark.parametrize("image", [(16, 16), (16, 32), (8, 16)])
def test_what_the_shift_made_neighbours_is_masked(image):
    windows = Windows.over(image, 8, True)
    place = np.moveaxis(np.indices(image), 0, -1)[None]
    place = np.asarray(windows.cut(windows.rolled(place), heads=1))[0]
    apart = np.abs(place[:, :, None] - place[:, None]).max(axis=-1)
    np.testing.assert_array_equal(windows.mask(), np.where(apart < 8, 0, MASKED))


def test_rows_of_the_table_are_the_originals():
    index = position_index((8, 8))
    np.testing.assert_array_equal(
        index[::5, ::3], GOLDEN["derived/relative_position_index"]
    )


@pytest.mark.parametrize("size", [(8, 8), (4, 8), (3, 1)])
def test_the_table_is_looked_up_without_an_index(size):
    rows = (2 * size[0] - 1) * (2 * size[1] - 1)
    table = np.random.default_rng(0).normal(size=(rows, 2)).astype(np.float32)
    index = position_index(size)

    @jax.jit
    def bias_and_gradient(table):
        bias, pull_back = jax.vjp(lambda table: window_bias(table, size), table)
        return bias, pull_back(jnp.zeros_like(bias).at[1].set(1))[0]

    bias, gradient = bias_and_gradient(table)
    np.testing.assert_array_equal(bias, table[index].transpose(2, 0, 1))
    counts = np.bincount(index.ravel(), minlength=rows)
    np.testing.assert_array_equal(gradient, np.stack([0 * counts, counts], axis=1))
