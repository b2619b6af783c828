"""How good a model is on a prepared split: one that was trained here, or a released one.

    python -m jaxsed.main --workdir=runs/test_ast \\
        --config=configs/test.py:weights=audioset_10_10_0.4593,data=data/audioset/eval

Arguments: `weights` (a model folder such as runs/ast/model, or a name of `jaxsed weights
list`), `data` (folder of one split, from `jaxsed prepare`), `metrics` (joined by `+`; by
default map+auc+d_prime; of clips with one label each accuracy+map; of events such as
psds1_macro+pauroc), `seconds` (heard of every clip, for metrics of clips: 10 as in AST's
code; 0: all of it), `batch`.

Metrics are logged as `test/METRIC` in `WORKDIR/metrics.jsonl`; scores and a table of all
classes lie in `WORKDIR/scores`. Classes that model and data have in common are scored.
"""

from ml_collections import ConfigDict

from configs import common
from jaxsed.errors import InputError
from jaxsed.stages import testing

SEVERAL = "+"  # between metrics


def get_config(text: str = "") -> ConfigDict:
    """Returns the config; see the module's docstring for the arguments."""
    given = common.arguments(
        text,
        weights="",
        data="",
        metrics="map+auc+d_prime",
        seconds=0.0,
        batch=64,
    )
    for name in ("weights", "data"):
        if not given[name]:
            raise InputError(f"{name} is not given: {name}=FOLDER after the colon")
    training = common.training("weak")
    training.eval.metrics = tuple(given.metrics.split(SEVERAL))
    training.eval.clip_seconds = given.seconds
    training.eval.batch_size = given.batch
    config = testing.test_config(training.to_dict(), given.weights, given.data)
    return ConfigDict(config)
