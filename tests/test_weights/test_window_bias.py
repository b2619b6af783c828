import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models import sed
from jaxsed.models.windows import position_index
from jaxsed.weights import resolution, window_bias
from tests.test_models import drawn

STEP_SECONDS = {"none": 10 / 32, "fshift-2": 10 / 16, "fshift-4": 10 / 8}


def change(before, after):
    encoders = [
        sed.build("tiny_htsat", 3, compression=text).encoder for text in (before, after)
    ]
    return resolution.Change(*encoders, "pi")


def window(text):
    """Size of the last stage's window; time and row of its tokens."""
    chunks = 4 if text == "none" else 2
    columns = round(10 / STEP_SECONDS[text]) // chunks
    row, column = np.indices((2 * chunks, columns)).reshape(2, -1)
    time = (row // 2 * columns + column + 0.5) * STEP_SECONDS[text]
    return (2 * chunks, columns), time, row % 2


def table_of(text, bias):
    """The table that says `bias(seconds between, rows apart)`, pair by pair as it can."""
    size, time, row = window(text)
    index = position_index(size).ravel()
    pairs = bias(time[:, None] - time, row[:, None] - row).ravel()
    sums = np.bincount(index, pairs)
    return (sums / np.bincount(index))[:, None].repeat(8, axis=1)


@pytest.mark.parametrize(
    ("before", "after"),
    [("fshift-4", "fshift-2"), ("fshift-4", "none"), ("fshift-2", "none")],
)
def test_biases_stay_where_they_were_in_time(before, after):
    def bias(seconds, rows):
        return 2 * np.exp(-0.5 * (seconds / 3) ** 2) + 0.1 * rows

    found = window_bias.resized(table_of(before, bias), change(before, after))
    expected = table_of(after, bias)
    assert found.shape == expected.shape
    # What a window's rows mix of chunks and frequencies, tables cannot tell apart.
    mean = np.abs(expected - expected.mean()).mean()
    assert np.abs(found - expected).mean() < 0.25 * mean
    assert np.corrcoef(found[:, 0], expected[:, 0])[0, 1] > 0.95


def test_what_is_everywhere_the_same_stays_so():
    found = window_bias.resized(np.full((49, 8), 0.7), change("fshift-4", "none"))
    np.testing.assert_allclose(found, np.full((225, 8), 0.7), rtol=1e-12)


def test_windows_of_other_stages_keep_their_biases():
    table = np.random.default_rng(0).normal(size=(225, 4))
    assert window_bias.resized(table, change("fshift-4", "none")) is table


@pytest.mark.parametrize("methods", [("fshift-4", "fshift-2"), ("patch_pi-4", "none")])
def test_a_phase_goes_on_with_the_parameters_of_the_one_before(methods):
    before, after = (
        sed.build("tiny_htsat", 3, head="token_semantic", compression=text)
        for text in methods
    )

    def mel_of(model):
        shape = (1, model.encoder.grid.mel_frames, 64)
        return jax.ShapeDtypeStruct(shape, jnp.float32)

    params = drawn.params_for(before, mel_of(before))["params"]
    adapted = resolution.adapt(params, before, after)
    wanted = jax.eval_shape(after.init, jax.random.key(0), mel_of(after))["params"]
    assert jax.tree.map(jnp.shape, adapted) == jax.tree.map(jnp.shape, wanted)
    changed = {
        "/".join(key.key for key in path)
        for (path, new), old in zip(
            jax.tree.leaves_with_path(adapted), jax.tree.leaves(params)
        )
        if new is not old and not np.array_equal(new, old)
    }
    expected = {"encoder/block_4/attn/bias_table"}
    if "none" in methods:
        expected |= {"encoder/embed/patch/kernel"}
    assert changed == expected
