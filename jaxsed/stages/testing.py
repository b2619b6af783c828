"""Scores a finished model on data that its training never saw: the last look at a test set.

    {"stage": "test", "model": "runs/student/model", "data": {"eval": "data/test", ...}}

A stage like any other: the link of a chain may test what an earlier one trained, and a
finished test is left alone.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.labels.vocab import Vocabulary
from jaxsed.stages.metrics import of_clips, of_frames
from jaxsed.stages.scoring import Scorer
from jaxsed.stages.workdir import claim
from jaxsed.training import processes, sharding
from jaxsed.training.logs import MetricsLog, is_done
from jaxsed.weights import architecture, files, fresh, named


def test_config(
    training: Mapping[str, Any], model: str | Path, data: str | Path
) -> dict[str, Any]:
    """Returns the config of a test: evaluated as the training evaluates.

    Args:
        training: config of the training that left the model.
        model: its folder, or a name.
        data: prepared folder.
    """
    return {
        "stage": "test",
        "model": str(model),
        "dtype": training["model"]["dtype"],
        "data": {"eval": str(data), "workers": training["data"]["workers"]},
        "eval": dict(training["eval"]),
        "mesh": dict(training["mesh"]),
    }


def run(config: Mapping[str, Any], workdir: Path) -> None:
    """Writes `scores/`, and `test/METRIC` into `metrics.jsonl` and the program's log.

    Args:
        config: `model`, `dtype` of matrix products, `data.eval`, `data.workers`, `eval`
            and `mesh`, as `configs/common.py` describes them.
        workdir: folder of the test.

    Raises:
        InputError: there is no such model, it has no classes, or was never trained for
            what a metric is of; or no such data.
    """
    claim(workdir, config)
    if processes.on_first(lambda: is_done(workdir / "metrics.jsonl")):
        logging.info("%s is finished already", workdir)
        return
    params, description = files.load_model(named.model_folder(config["model"]))
    model = architecture.build_with_classes(description, config["dtype"])
    mesh = sharding.make_mesh(**config["mesh"])
    shardings = sharding.state_sharding(mesh, params)
    scorer = Scorer(
        model,
        PreparedData(config["data"]["eval"]),
        Vocabulary.from_json(description["vocabulary"]),
        mesh,
        shardings,
        directory=workdir / "scores",
        workers=config["data"]["workers"],
        **config["eval"],
    )
    _refuse_guesses(description, config)
    found = processes.from_first(scorer(jax.device_put(params, shardings)))
    shown = "  ".join(f"{name} {value:.4f}" for name, value in found.items())
    logging.info("%s on %s: %s", config["model"], config["data"]["eval"], shown)
    log = MetricsLog(workdir, active=processes.is_first())
    log.write(0, {f"test/{name}": float(value) for name, value in found.items()})
    log.write(0, {"done": True})


def _refuse_guesses(description: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    asked = config["eval"]["metrics"]
    for targets, metrics in (("frames", of_frames(asked)), ("clip", of_clips(asked))):
        heads = fresh.guessing_heads(description, targets)
        if metrics and heads:
            raise InputError(
                f"{config['model']}: its {' and '.join(heads)} was never trained, so "
                f"{metrics[0]} would be chance: leave it out, or train the model first"
            )
