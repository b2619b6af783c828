"""Run folders as stages leave them, made up."""

import json
from pathlib import Path

CONFIG = {
    "stage": "strong",
    "seed": 0,
    "model": {"encoder": "beats", "sequence": "none"},
    "init": "BEATs_weak",
    "teacher": {"logits": ""},
    "optim": {"max_lr": 1e-4},
    "data": {"train": "d/train", "eval": "d/eval", "workers": 8},
    "steps": 10,
    "eval": {"metrics": ["psds1_macro", "pauroc"]},
    "mesh": {"data": 1},
}


def training(folder, scores, done=True, **changes):
    """Writes a training; `changes` are by dotted key with __ for a dot."""
    config = json.loads(json.dumps(CONFIG))
    for key, value in changes.items():
        *above, last = key.split("__")
        place = config
        for name in above:
            place = place.setdefault(name, {})
        place[last] = value
    write(folder, config, scores, done)
    return config


def write(folder, config, scores, done=True, prefix="eval"):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    lines = [{"step": 5, "train/loss": 1.0}]
    if scores:
        lines.append({"step": 5, **{f"{prefix}/{k}": v for k, v in scores.items()}})
    if done:
        lines.append({"step": 10, "done": True})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)


def grid(folder, values, base=CONFIG, metric="psds1_macro", tested=True):
    """Writes a finished grid: `values` is (fold, seed) -> score of the selected setting."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    axes = {"optim": {"max_lr": [1e-4, 3e-4]}}
    config = {"stage": "grid", "base": base, "axes": axes, "folds": {}, "test": "t"}
    (folder / "config.json").write_text(json.dumps(config))
    runs = [
        {
            "run": f"max_lr_0.0001/{fold}seed_{seed}",
            "fold": fold,
            "seed": seed,
            "validation": {metric: value / 2},
            "test": {metric: value} if tested else None,
        }
        for (fold, seed), value in values.items()
    ]
    (folder / "grid.json").write_text(json.dumps({"metric": metric, "runs": runs}))


def students_and_teachers(folder, seeds=(0, 1, 2)):
    """Writes Table I in small: two models, with and without distillation."""
    for model, name, start in (("beats", "BEATs", 0.46), ("m2d", "M2D", 0.45)):
        for seed in seeds:
            common = {
                "model__encoder": model,
                "seed": seed,
                "init": f"{name}_weak",
                "model__sequence_width": {"beats": 2048, "m2d": 1024}[model],
            }
            score = start + 0.001 * seed
            training(
                folder / f"student_{model}_{seed}",
                {"psds1_macro": score, "pauroc": 0.8},
                teacher__logits="runs/ensemble/logits",
                **common,
            )
            training(
                folder / f"teacher_{model}_no_rnn_{seed}",
                {"psds1_macro": score - 0.04, "pauroc": 0.7},
                steps=5,
                **common,
            )
