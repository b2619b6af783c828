import time

import jax.numpy as jnp

from jaxsed.training.step_timer import StepTimer


def test_the_second_step_is_timed():
    def slow(state, batch, key):
        time.sleep(0.02)
        return state + batch, {}

    timer, state = StepTimer(slow), jnp.zeros(())
    for seconds in (None, 0.02, 0.02):
        state, _ = timer(state, jnp.ones(()), None)
        assert timer.seconds is None if seconds is None else timer.seconds >= seconds
    assert state == 3
