"""The demo with everything cut to the bone: does the whole path run?

    python -m jaxsed.main --config=configs/debug.py --workdir=runs/debug
    python -m jaxsed.main --config=configs/debug.py:atst_frame --workdir=runs/debug1

Cost: under a minute on 2 cores. Expected scores: none worth mentioning.
"""

from ml_collections import ConfigDict

from configs import demo


def get_config(encoders: str = ",".join(demo.ENCODERS)) -> ConfigDict:
    """Returns the demo's chain with a handful of clips and steps."""
    config = demo.get_config(encoders)
    config.links.scenes.train_clips = 24
    config.links.scenes.eval_clips = 12
    for link in config.links.values():
        if "steps" in link:
            link.steps = 6
            link.batch_size = 8
            link.optim.warmup_steps = 2
            link.every = ConfigDict({"log": 2, "evaluate": 6, "save": 2})
    return config
