"""What an epoch costs in frozen mode: the first one, which computes frames, and the others.

    python -m benchmarks.frozen [--encoder atst_frame] [--clips 64] [--batch 16]
        [--classes 10] [--sequence none] [--epochs 5]

A full-size encoder with random weights, in float32, on made-up clips of 10 s. Epoch 1 is
the pass of the encoder over all clips and as many steps as an epoch has; the others are
the loader, which reads frames at random from the disk (the system's cache, by then), and
the steps. Compiling is left out of both. Prints Markdown.

Cost: a minute and a half on two cores, 25 MB of disk.
"""

import argparse
import io
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import soundfile

from benchmarks import loader
from configs import common
from jaxsed.data.records import PreparedData
from jaxsed.labels.vocab import Vocabulary
from jaxsed.stages import frozen, start, strong, train
from jaxsed.stages.program import abstract_params, build_program
from jaxsed.training import sharding


def make_config(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Writes clips to `folder` and beside it; returns the config of a frozen run."""
    names = tuple(f"class {k}" for k in range(args.classes))
    audio = []
    for seed in range(4):
        file = io.BytesIO()
        soundfile.write(file, loader.sound(seed, 16_000), 16_000, format="FLAC")
        audio.append(file.getvalue())
    vocabulary = Vocabulary("made up", names)
    loader.write_folder(folder, audio, args.clips, vocabulary)
    loader.write_folder(
        folder.with_name(f"{folder.name}_warm"), audio, args.batch, vocabulary
    )
    config = common.training("strong")
    config.mode = frozen.FROZEN
    config.frames = str(folder / "frames")
    config.model.encoder = args.encoder
    config.model.sequence = args.sequence
    config.data.train = config.data.eval = str(folder)
    config.batch_size = args.batch
    config.eval.batch_size = args.batch
    config.steps = 10**6
    return config.to_dict()


def epochs(config: dict[str, Any], n_clips: int, n_epochs: int) -> list[float]:
    """Returns the seconds of each epoch."""
    task, data = strong.task(config), PreparedData(config["data"]["train"])
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    program = build_program(config, task.objective, len(data.vocabulary), mesh)
    whole, key = program.whole, jax.random.key(0)
    params = start.start_params(whole, abstract_params(whole), 0, "")
    heads = frozen.without_encoder(params)
    encoder = frozen.FrozenEncoder(config, Path(), whole, params)
    # Of one batch, so that the encoder is compiled.
    encoder.framed(PreparedData(f"{config['data']['train']}_warm"), 10.0)
    begin = time.perf_counter()
    framed = encoder.framed(data, 10.0)
    taken = [time.perf_counter() - begin]
    state = start.start_state(config, program, framed, heads)
    batches = train.training_data(config, framed, program.model, task.targets)
    first = sharding.put_batch(next(batches), mesh)
    train_step = program.train_step.lower(state, first, key).compile()
    batches.rewind()
    for epoch in range(n_epochs):
        begin = time.perf_counter()
        for _ in range(n_clips // config["batch_size"]):
            batch = sharding.put_batch(next(batches), mesh)
            state, measurements = train_step(state, batch, key)
        jax.block_until_ready(measurements)
        seconds = time.perf_counter() - begin
        if epoch == 0:
            taken[0] += seconds
        else:
            taken.append(seconds)
    batches.close()
    return taken


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="atst_frame")
    parser.add_argument("--sequence", default="none")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = make_config(args, Path(folder) / "data")
        first, *others = epochs(config, args.clips, args.epochs)
    later = float(np.median(others))
    print("| encoder | sequence model | clips | epoch 1 | epoch 2 and later | ratio |")
    print("|---|---|---|---|---|---|")
    print(
        f"| {args.encoder} | {args.sequence} | {args.clips} | {first:.1f} s | "
        f"{later:.3f} s ({min(others):.3f} to {max(others):.3f}) | {first / later:.0f}x |"
    )


if __name__ == "__main__":
    main()
