import jax
import numpy as np

from jaxsed.data.clip_selection import ClipSelection
from jaxsed.data.records import PreparedData
from jaxsed.stages.predictions import run_all
from jaxsed.training import sharding


def test_a_batch_is_computed_while_the_last_one_is_written(small):
    data = PreparedData(small()["data"]["eval"])
    mesh = sharding.make_mesh(devices=jax.devices())  # which 3 clips do not fill
    events = []

    def predict(params, batch):
        events.append("dispatched")
        n, n_classes = len(batch["index"]), len(data.vocabulary)
        outputs = {"logits": (n, 250, n_classes), "clip_logits": (n, n_classes)}
        outputs = {name: np.zeros(shape) for name, shape in outputs.items()}
        return outputs | {name: batch[name] for name in ("index", "valid")}

    twice = ClipSelection(data, [*range(8), *range(8)])
    for predicted in run_all(predict, {}, twice, mesh, 16000, 3):
        events.append(predicted["index"].tolist())
    first, second = list(range(8)), list(range(8, 16))
    assert events == ["dispatched", "dispatched", first, second]
