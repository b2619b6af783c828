"""Pieces that several configs share: the defaults of a training and argument parsing.

The defaults are the papers' where a paper names a value. Every config returns a locked
`ConfigDict`; an unknown key is an error that names the nearest known one.
"""

from ml_collections import ConfigDict

from jaxsed import optim
from jaxsed.augment import pipeline as augment


def training(stage: str) -> ConfigDict:
    """Returns a training config with every key there is.

    Effective Pre-Training, section III-A: Adam, cosine schedule with 5,000 warm-up
    steps, batch size 256, median filter 0.48 s.
    """
    return ConfigDict(
        {
            "stage": stage,
            "seed": 0,
            "model": {
                "encoder": "atst_frame",
                "sequence": "none",  # or bigru | bilstm | attention | transformer | mamba
                "sequence_width": 2048,
                "sequence_layers": 2,
                "head": "linear",  # clip logits: linear | attention
                "dtype": "float32",  # bfloat16: matmuls only
            },
            "init": "",  # encoder to start from: a model folder, or a name (BEATs_weak)
            "prior_bias": False,  # heads start at the classes' log-odds
            "data": {
                "train": "",  # folders written by `jaxsed prepare`
                "eval": "",
                "sampling": "uniform",  # uniform | balanced | balanced_epoch
                "wavmix_probability": 0.0,
                "workers": 0,  # loader processes; 0 loads in threads
                "cache_decoded_bytes": 0,  # decoded clips kept in memory
            },
            "augment": dict(augment.DEFAULTS),  # everything off
            "teacher": {"logits": "", "weight": 0.9},
            "optim": dict(optim.DEFAULTS),
            "batch_size": 256,
            "steps": 1,
            "every": {"log": 50, "evaluate": 1000, "save": 500},
            "eval": {
                "metrics": ("psds1", "psds1_macro", "pauroc"),
                "median_seconds": 0.48,
                "batch_size": 64,
            },
            "mesh": {"data": -1, "fsdp": 1},
            "tensorboard": False,
            "licence": "Apache-2.0",
        }
    )


def teacher(encoder: str, seed: int) -> ConfigDict:
    """Returns step 3a: encoder + BiGRU, balanced sampling, every augmentation."""
    config = training("strong")
    config.seed = seed
    config.model.encoder = encoder
    config.model.sequence = "bigru"
    config.data.sampling = "balanced"
    config.augment = ConfigDict(augment.TEACHER)
    return config


def student(encoder: str, seed: int) -> ConfigDict:
    """Returns step 3c: plain encoder, uniform sampling, mixup only."""
    config = training("strong")
    config.seed = seed
    config.model.encoder = encoder
    config.augment = ConfigDict(augment.STUDENT)
    return config
