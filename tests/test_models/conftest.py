"""Input of the heads' parity tests, computed once for all files that ask for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models.atst_frame import atst_frame
from tests.test_models import parity


@pytest.fixture(scope="session", params=["float32", "float64"])
def atst_frame_aligned(request):
    """ATST-Frame's label frames on the synthetic mel, `net_seq250` in full."""
    params = parity.released_params("atst_frame", "ATST-F")["encoder"]
    with jax.enable_x64(request.param == "float64"):
        params = jax.tree.map(lambda x: jnp.asarray(x, request.param), params)
        mel = parity.synthetic_mel("ATST-F").astype(request.param)
        frames, _ = jax.jit(atst_frame(request.param).apply)({"params": params}, mel)
        return np.asarray(frames)
