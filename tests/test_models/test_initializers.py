import jax
import numpy as np
import pytest

from jaxsed.models.initializers import fan_in_uniform


def test_fan_in_uniform_fills_its_range():
    values = np.asarray(fan_in_uniform(100)(jax.random.key(0), (200, 50)))
    assert values.dtype == np.float32
    assert np.abs(values).max() == pytest.approx(0.1, rel=1e-3)
    assert np.abs(values).max() <= 0.1
    assert values.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.02)
