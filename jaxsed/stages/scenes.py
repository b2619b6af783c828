"""Mixes scenes from the recordings in the package and prepares them for training.

What comes out cannot be told from AudioSet Strong: the released layout in
`audioset_strong/`, and what `jaxsed prepare` makes of it in `prepared/`.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from jaxsed.data.layouts import audioset_strong
from jaxsed.data.prepare import prepare
from jaxsed.data.soundscapes import write_dataset
from jaxsed.stages.workdir import claim


def run(config: Mapping[str, Any], workdir: Path) -> None:
    """Writes the scenes and prepares both splits; what is there already is kept.

    Args:
        config: `train_clips`, `eval_clips` and `seed`.
        workdir: gets `audioset_strong/` and `prepared/`.
    """
    claim(workdir, config)
    source = workdir / "audioset_strong"
    logging.info("mixing %s scenes", config["train_clips"] + config["eval_clips"])
    write_dataset(
        source,
        train_clips=config["train_clips"],
        eval_clips=config["eval_clips"],
        seed=config["seed"],
    )
    for split in audioset_strong.SPLITS:
        title = f"{workdir.name}: prepare {split}"
        prepare(
            audioset_strong.read(source, split),
            workdir / "prepared" / split,
            progress=lambda shards, total, title=title: tqdm(
                shards, desc=title, total=total, unit="shard", dynamic_ncols=True
            ),
        )
