import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.models.tokens import check_length, cut_steps


def test_steps_start_at_the_first_frame_and_leave_the_rest_out():
    mel = jnp.arange(2 * 9 * 3).reshape(2, 9, 3)
    steps = cut_steps(mel, n_steps=2, frames_per_step=4)
    np.testing.assert_array_equal(steps, mel[:, :8].reshape(2, 2, 4, 3))


def test_a_last_step_that_is_not_full_repeats_the_last_frame():
    mel = jnp.arange(5.0)[None, :, None]
    steps = cut_steps(mel, n_steps=2, frames_per_step=4)
    np.testing.assert_array_equal(steps[0, :, :, 0], [[0, 1, 2, 3], [4, 4, 4, 4]])


def test_check_length_names_both_lengths():
    check_length(250, n_positions=250, steps_per_second=25)
    with pytest.raises(InputError, match=r"is 12 s long.*positions for 10 s"):
        check_length(300, n_positions=250, steps_per_second=25)
