import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models import sed
from tests.test_models import drawn


@pytest.mark.parametrize(
    ("encoder", "n_patches", "n_frames"),
    [("ssast", 512, 63), ("ssast_s10", 1212, 100), ("ssast_frame", 512, 499)],
)
def test_patches_and_frames_of_ten_seconds(encoder, n_patches, n_frames):
    model = sed.build(encoder, 3, head="tokens")
    mel = jax.ShapeDtypeStruct((1, 998, 128), jnp.float32)
    (_, out), variables = jax.eval_shape(model.init_with_output, jax.random.key(0), mel)
    assert out["patch"].shape == (1, n_patches, 768)
    assert out["frames"].shape == (1, n_frames, 768)
    embed = variables["params"]["encoder"]["embed"]
    kernel = (2, 128, 768) if encoder == "ssast_frame" else (16, 16, 768)
    assert embed["patch"]["kernel"].shape == kernel


def test_its_summary_is_the_mean_of_all_patches_and_asts_that_of_cls_and_dist():
    mel = jax.random.normal(jax.random.key(0), (1, 300, 128))
    summaries = {}
    for encoder in ("tiny_ssast", "tiny_ast_s16"):
        model = sed.build(encoder, 3, head="tokens").encoder
        params = drawn.params_for(model, mel)
        _, out = summaries[encoder] = jax.jit(model.apply)(params, mel)
        first, others = out["norm"][:, :2], out["norm"][:, 2:]
        np.testing.assert_allclose(out["cls_summary"], first.mean(axis=1), atol=1e-6)
        expected = others if encoder == "tiny_ssast" else first
        np.testing.assert_allclose(out["summary"], expected.mean(axis=1), atol=1e-5)
    np.testing.assert_array_equal(*(frames for frames, _ in summaries.values()))
