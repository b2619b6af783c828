"""Which parts of the paper's step 3 show on scenes from the recordings in the package?

    python -m benchmarks.pipeline_ablation --workdir=runs/ablation

Three seeds each of: the teacher (BiGRU, balanced sampling, all augmentation), the
teacher without BiGRU and without balanced sampling; the student with and without
distillation from the ensemble of the three teachers. All take the same number of
optimiser steps from the same encoder after step 2. Writes `docs/pipeline_ablation.md`:
mean, spread over seeds, and paired differences.

Cost: half an hour to an hour on 2 cores. Stopped, the same command goes on where it
was; runs are links of one chain, in `--workdir`.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from benchmarks import page as documents
from configs import common, demo
from jaxsed.main import run_config
from jaxsed.stages.summary import evaluation

SEEDS = (1, 2, 3)
ENCODERS = ("atst_frame",)
METRICS = ("psds1_macro", "psds1", "pauroc")
WEAK_STEPS, STEPS = 250, 1000

# title -> what differs from the teacher
TEACHERS = {
    "teacher": {},
    "teacher without BiGRU": {"model.sequence": "none"},
    "teacher without balanced sampling": {"data.sampling": "uniform"},
}
STUDENTS = {"student": "@/ensemble/logits", "student without KD": ""}
# (what is compared, with, without)
PAIRS = (
    ("BiGRU in the teacher", "teacher", "teacher without BiGRU"),
    (
        "balanced sampling in the teacher",
        "teacher",
        "teacher without balanced sampling",
    ),
    ("distillation in the student", "student", "student without KD"),
)


def link_name(title: str, encoder: str, seed: int) -> str:
    """Returns the folder of one run."""
    return f"{title.replace(' ', '_')}-{encoder}-{seed}"


def build_chain() -> dict:
    """Returns the chain config with every run."""
    links = {"scenes": dict(demo.get_config().to_dict()["links"]["scenes"])}
    for encoder in ENCODERS:
        links[f"weak_{encoder}"] = sized(
            common.training("weak"), encoder, 0, WEAK_STEPS
        )
    for title, changes in TEACHERS.items():
        for encoder in ENCODERS:
            for seed in SEEDS:
                config = common.teacher(encoder, seed)
                config.update_from_flattened_dict(changes)
                config = sized(config, encoder, seed, STEPS)
                config.init = f"@/weak_{encoder}/model"
                links[link_name(title, encoder, seed)] = config
    links["ensemble"] = demo.ensemble(
        [link_name("teacher", e, s) for e in ENCODERS for s in SEEDS]
    )
    for title, logits in STUDENTS.items():
        for encoder in ENCODERS:
            for seed in SEEDS:
                config = sized(common.student(encoder, seed), encoder, seed, STEPS)
                config.init = f"@/weak_{encoder}/model"
                config.teacher.logits = logits
                config.teacher.weight = demo.KD_WEIGHT
                links[link_name(title, encoder, seed)] = config
    chain = {"stage": "chain", "order": tuple(links), "links": links}
    return ConfigDict(chain).to_dict()


def sized(config: ConfigDict, encoder: str, seed: int, steps: int) -> ConfigDict:
    """Returns the config in the demo's size, evaluated at its end alone."""
    config = demo.miniature(config, encoder, seed)
    config.steps = steps
    config.every = ConfigDict({"log": 20, "evaluate": steps, "save": 100})
    return config


def read_scores(workdir: Path, title: str, encoder: str) -> dict[str, np.ndarray]:
    """Returns metric -> values `[seeds]`."""
    runs = [
        evaluation(workdir / link_name(title, encoder, seed) / "metrics.jsonl", "last")
        for seed in SEEDS
    ]
    return {name: np.array([run[name] for run in runs]) for name in METRICS}


def report(workdir: Path) -> str:
    """Returns the Markdown page of a finished chain."""
    titles = (*TEACHERS, *STUDENTS)
    scores = {
        (title, encoder): read_scores(workdir, title, encoder)
        for title in titles
        for encoder in ENCODERS
    }
    ensemble = evaluation(workdir / "ensemble" / "metrics.jsonl", "last")
    rows = [
        (title, encoder, *(_spread(values[name]) for name in METRICS))
        for (title, encoder), values in scores.items()
    ]
    rows.append(
        ("ensemble of the teachers", "all", *(f"{ensemble[m]:.3f}" for m in METRICS))
    )
    differences = []
    for what, with_it, without in PAIRS:
        for encoder in ENCODERS:
            gain = (
                scores[with_it, encoder]["psds1_macro"]
                - scores[without, encoder]["psds1_macro"]
            )
            each = ", ".join(f"{g:+.3f}" for g in gain)
            differences.append((what, encoder, f"{gain.mean():+.3f}", each))
    return (
        documents.table(("run", "encoder", *METRICS), rows)
        + "\n"
        + documents.table(
            ("what is added", "encoder", "macro PSDS1", "seed by seed"), differences
        )
    )


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.3f} ± {values.std(ddof=1):.3f}"


def run(workdir: Path, page: Path) -> None:
    """Runs what is missing and writes the tables into `page`, between its marks."""
    chain: Mapping = build_chain()
    run_config(chain, workdir)
    tables = report(workdir)
    documents.write(page, tables)
    print(tables)


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True)
    default = Path(__file__).parent.parent / "docs" / "pipeline_ablation.md"
    parser.add_argument("--page", type=Path, default=default)
    args = parser.parse_args()
    run(args.workdir, args.page)


if __name__ == "__main__":
    main()
