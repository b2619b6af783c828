"""What a training is given: data, a start and a scorer, in either mode."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from jaxsed.data.joined import JoinedData
from jaxsed.data.records import PreparedData
from jaxsed.stages import frozen
from jaxsed.stages.predictions import EVAL_SECONDS
from jaxsed.stages.program import Program, abstract_params
from jaxsed.stages.scoring import clip_length
from jaxsed.stages.start import start_params, start_state
from jaxsed.training import loop
from jaxsed.training.state import TrainState

Params = Any


@dataclasses.dataclass(frozen=True)
class Given:
    """What a training starts from, reads, and is scored by.

    Attributes:
        data: to train on.
        start: makes the state before the first step.
        scorer: evaluates parameters.
        whole: parameters that were trained -> those of the whole model.
    """

    data: PreparedData | JoinedData
    start: Callable[[], TrainState]
    scorer: loop.Evaluator
    whole: Callable[[Params], Params] = lambda params: params


def gather(
    config: Mapping[str, Any],
    workdir: Path,
    make_scorer: Callable[..., loop.Evaluator],
    data: PreparedData | JoinedData,
    program: Program,
    mesh: Mesh,
) -> Given:
    """Returns what a training is given; frames that a frozen encoder lacks are computed.

    Args:
        config: as `configs/common.py` describes it.
        workdir: folder of the run.
        make_scorer: `stages.scoring.Scorer`, or what takes its arguments.
        data: to train on.
        program: what is trained.
        mesh: devices.

    Raises:
        InputError: data, settings or weights do not fit each other.
    """
    scorer = functools.partial(
        make_scorer,
        data=PreparedData(config["data"]["eval"]),
        vocabulary=data.vocabulary,
        mesh=mesh,
        param_shardings=program.shardings.params,
        directory=workdir / "scores",
        workers=config["data"]["workers"],
        **config["eval"],
    )
    start = functools.partial(start_state, config, program)
    if not frozen.is_frozen(config):
        return Given(data, lambda: start(data), scorer(program.model))
    params = start_params(
        program.whole,
        abstract_params(program.whole),
        config["seed"],
        config["init"],
        carry=config["carry"],
        vocabulary=data.vocabulary,
    )
    encoder = frozen.FrozenEncoder(config, workdir, program.whole, params)
    train_seconds = clip_length(config["data"]["clip_seconds"], program.whole)
    eval_seconds = config["eval"]["clip_seconds"] or EVAL_SECONDS
    # Threads read stored frames as fast as the disk gives them.
    scores = scorer(encoder.heads(eval_seconds), slices=encoder.framed, workers=0)
    framed = encoder.framed(data, train_seconds)
    heads = frozen.without_encoder(params)
    return Given(framed, lambda: start(framed, heads), scores, encoder.whole)
