"""How well a model predicts the hidden patches of clips that it was not trained on."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxsed.data.records import PreparedData
from jaxsed.errors import check_known
from jaxsed.labels.vocab import Vocabulary
from jaxsed.models.masked_patches import MaskedPatchModel
from jaxsed.stages.predictions import INT16_SCALE, run_all
from jaxsed.training import sharding

METRICS = ("pretext_accuracy", "nce", "mse")
MASK_SEED = 0  # the same masks in every evaluation of every run


class PretextScorer:
    """Evaluates parameters on one data set: `scorer(params) -> {metric: value}`.

    A clip's masks depend on its row alone, so that evaluations differ in the model and
    in nothing else; the original draws new ones each time.

    Args:
        model: the model.
        data: clips; their labels are not read.
        vocabulary: not used; a scorer of events needs it here.
        mesh: devices.
        param_shardings: how the parameters given later are laid out.
        directory: not used; nothing is kept.
        draw: `(model, keys [b]) -> hidden [b, 2, k]`.
        measure: `(predicted, true) -> {metric: [b]}`.
        metrics: of `METRICS`.
        batch_size: clips a forward pass.
        workers: loader processes; 0 loads in threads.

    Raises:
        InputError: an unknown metric.
    """

    def __init__(
        self,
        model: MaskedPatchModel,
        data: PreparedData,
        vocabulary: Vocabulary,
        mesh: Mesh,
        param_shardings: Any,
        *,
        directory: Path,
        draw: Callable[..., jax.Array],
        measure: Callable[..., dict[str, jax.Array]],
        metrics: Sequence[str] = METRICS,
        batch_size: int = 32,
        workers: int = 0,
    ):
        del vocabulary, directory
        for metric in metrics:
            check_known("pre-training metric", metric, METRICS)
        self._data, self._mesh, self._metrics = data, mesh, tuple(metrics)
        self._loading = {
            "sample_rate": model.frontend.sample_rate,
            "batch_size": batch_size,
            "clip_seconds": model.encoder.clip_seconds,
            "workers": workers,
        }

        def predict(params: Any, batch: dict) -> dict:
            mel = model.frontend(batch["audio"].astype(jnp.float32) * INT16_SCALE)
            key = jax.random.key(MASK_SEED)
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, batch["index"])
            hidden = draw(model, keys)
            predicted, out = model.apply({"params": params}, mel, hidden)
            measured = measure(predicted, out["true"])
            return {**measured, "valid": batch["valid"]}

        self._predict = jax.jit(
            predict,
            in_shardings=(param_shardings, sharding.batch_sharding(mesh)),
            out_shardings=sharding.replicated(mesh),
        )

    def __call__(self, params: Any) -> dict[str, float]:
        """Returns the metrics, means over clips."""
        found = list(
            run_all(self._predict, params, self._data, self._mesh, **self._loading)
        )
        return {
            name: float(np.mean(np.concatenate([part[name] for part in found])))
            for name in self._metrics
        }
