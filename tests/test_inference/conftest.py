import jax
import numpy as np
import pytest

from jaxsed.inference.detector import Detector
from jaxsed.labels.vocab import Vocabulary
from jaxsed.weights import architecture, files

LABELS = ("Bark", "Bell", "Domestic animals, pets", "Größe")


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """An untrained model whose scores nevertheless go up and down with the sound."""
    description = {
        **architecture.describe("tiny_atst_frame"),
        "vocabulary": Vocabulary("four", LABELS).to_json(),
        "stage": "strong",
        "licence": "CC0",
        "provenance": {},
        "frame_seconds": 0.04,
    }
    model = architecture.build(description)
    wave = np.zeros((1, 160_000), np.float32)
    params = jax.jit(lambda key: model.init(key, model.frontend(wave)))(
        jax.random.key(0)
    )["params"]
    rng = np.random.default_rng(0)
    params = jax.tree.map(np.array, params)
    kernel = params["strong_head"]["kernel"]
    params["strong_head"]["kernel"] = rng.normal(0, 0.2, kernel.shape)
    kernel = params["weak_head"]["kernel"]
    params["weak_head"]["kernel"] = rng.normal(0, 0.2, kernel.shape)
    params = jax.tree.map(np.float32, params)
    folder = tmp_path_factory.mktemp("weights") / "model"
    files.save_model(folder, params, description)
    return folder


@pytest.fixture(scope="session")
def detector(model_folder) -> Detector:
    import jaxsed

    return jaxsed.load(model_folder)
