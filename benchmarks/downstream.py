"""Does pre-training pay downstream? Frozen, fine-tuned and from scratch, on scenes.

    nice python -m benchmarks.downstream --workdir=runs/downstream

Two tiny encoders go through steps 2 and 3 on the scenes of `make demo`. Two small data
sets of other scenes, in the layouts of DESED and of HEAR (`benchmarks.downstream_scenes`),
then take them frozen, fine-tuned, and as they are drawn at random: three seeds each, by the
configs that the originals have. Writes `docs/downstream.md`: mean and spread over seeds on
the test set, and Almost Stochastic Order against training from scratch.

Cost: half an hour on 2 cores. Stopped, the same command goes on where it
was; runs are links of one chain, in `--workdir`.
"""

import argparse
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from benchmarks import downstream_scenes
from benchmarks import page as documents
from configs import common, dcase2016, demo, desed
from jaxsed.evaluation.significance import BETTER_BELOW, epsilon_min
from jaxsed.main import run_config
from jaxsed.stages.summary import evaluation

SEEDS = (1, 2, 3)
ENCODERS = ("atst_frame", "m2d")
PRETRAINING_STEPS = {"weak": 250, "strong": 6000}
PRETRAINING_SCENES = 1200  # three times those of `make demo`
BATCH_SIZE = 4
DATA = "@/downstream/prepared"
# task -> config, its data, the metric that decides, another one
TASKS = {
    "DESED": (desed, "desed", "psds1_macro", "pauroc"),
    "HEAR": (dcase2016, "hear", "onset_f1_50ms", "onset_f1_200ms"),
}
STEPS = 300
# what is trained -> mode, whether it starts from the pre-trained encoder
WAYS = {
    "frozen": ("frozen", True),
    "fine-tuned": ("finetune", True),
    "from scratch": ("finetune", False),
}
# Of heads, which are always new, and of the encoder; where it was trained before, a block
# learns half as fast as the one above, as in the paper.
HEAD_RATE, ENCODER_RATE, LAYER_DECAY = 1e-2, 1e-3, 0.5
SCRATCH = "from scratch"


def build_chain() -> dict:
    """Returns the chain config with every run."""
    links = {"scenes": dict(demo.get_config().to_dict()["links"]["scenes"])}
    links["scenes"]["train_clips"] = PRETRAINING_SCENES
    for encoder in ENCODERS:
        before = ""
        for stage, steps in PRETRAINING_STEPS.items():
            config = demo.miniature(common.training(stage), demo.ENCODERS[-1], seed=0)
            config.model.encoder = f"tiny_{encoder}"
            config.init, config.steps = before, steps
            config.every.update(log=100, evaluate=steps, save=250)
            links[f"{stage}_{encoder}"] = config
            before = f"@/{stage}_{encoder}/model"
        for task in TASKS:
            for way in WAYS:
                for seed in SEEDS:
                    name = link_name(task, encoder, way, seed)
                    links[name] = run_of(task, encoder, way, seed)
    chain = {"stage": "chain", "order": tuple(links), "links": links}
    return ConfigDict(chain).to_dict()


def link_name(task: str, encoder: str, way: str, seed: int) -> str:
    """Returns the folder of one run."""
    return f"{task}-{encoder}-{way.replace(' ', '_')}-{seed}"


def run_of(task: str, encoder: str, way: str, seed: int) -> ConfigDict:
    """Returns the task's own config in miniature, scored on the test set."""
    recipe, folder, *metrics = TASKS[task]
    mode, pretrained = WAYS[way]
    weights = f"@/strong_{encoder}/model" if pretrained else "none"
    arguments = {
        "model": f"tiny_{encoder}",
        "weights": weights,
        "mode": mode,
        "seed": seed,
        "lr": HEAD_RATE if mode == "frozen" else ENCODER_RATE,
        "batch": BATCH_SIZE,
        "steps": STEPS,
        "data": f"{DATA}/{folder}",
        "on": "eval",
    }
    if mode == "finetune":
        arguments["layer_decay"] = LAYER_DECAY if pretrained else 1.0
    config = recipe.get_config(",".join(f"{k}={v}" for k, v in arguments.items()))
    if mode == "finetune":
        config.optim.lr_rules = (("^(strong|weak)_head/", HEAD_RATE / ENCODER_RATE),)
        # Mixed clips are for trainings that are many times as long.
        config.augment.update(wave_mixup_probability=0.0, mixup_probability=0.0)
    config.prior_bias = True  # as in the demo: a short training begins at what is rare
    config.data.workers = 0
    config.data.cache_decoded_bytes = 2**28
    config.optim.warmup_steps = 20
    config.frames = "@/frames"  # all seeds hear the same ones
    config.every.update(log=50, evaluate=config.steps, save=config.steps)
    config.eval.metrics = tuple(metrics)
    return config


def read_scores(workdir: Path, task: str, encoder: str, way: str) -> dict:
    """Returns metric -> values `[seeds]`."""
    runs = [
        evaluation(
            workdir / link_name(task, encoder, way, seed) / "metrics.jsonl", "last"
        )
        for seed in SEEDS
    ]
    _, _, *metrics = TASKS[task]
    return {name: np.array([run[name] for run in runs]) for name in metrics}


def report(workdir: Path) -> str:
    """Returns the Markdown tables of a finished chain."""
    comparisons = len(TASKS) * len(ENCODERS) * (len(WAYS) - 1)
    pages = []
    for task, (_, _, *metrics) in TASKS.items():
        rows = []
        for encoder in ENCODERS:
            scores = {way: read_scores(workdir, task, encoder, way) for way in WAYS}
            scratch = scores[SCRATCH][metrics[0]]
            for way, values in scores.items():
                cells = [_spread(values[name]) for name in metrics]
                epsilon = "-"
                if way != SCRATCH:
                    found = epsilon_min(
                        values[metrics[0]], scratch, comparisons=comparisons
                    )
                    better = " (better)" if found < BETTER_BELOW else ""
                    epsilon = f"{found:.2f}{better}"
                rows.append((f"tiny_{encoder}", way, *cells, epsilon))
        header = (task, "", *metrics, "ε_min against from scratch")
        pages.append(documents.table(header, rows))
    return "\n".join(pages)


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.3f} ± {values.std(ddof=1):.3f}"


def run(workdir: Path, page: Path) -> None:
    """Runs what is missing and writes the tables into `page`, between its marks."""
    downstream_scenes.make(workdir / "downstream")
    run_config(build_chain(), workdir)
    tables = report(workdir)
    documents.write(page, tables)
    print(tables)


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True)
    default = Path(__file__).parent.parent / "docs" / "downstream.md"
    parser.add_argument("--page", type=Path, default=default)
    args = parser.parse_args()
    run(args.workdir, args.page)


if __name__ == "__main__":
    main()
