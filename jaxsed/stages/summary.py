"""What a chain of runs came to: a table, training curves, pictures of detections."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxsed.data.layouts import audioset_strong
from jaxsed.errors import InputError
from jaxsed.inference import curves, pictures, report
from jaxsed.inference.detector import load
from jaxsed.stages.workdir import claim
from jaxsed.training.logs import evaluations, read_metrics


def run(config: Mapping[str, Any], workdir: Path) -> None:
    """Writes `summary.md`, `curves.png` and `detections/*.png`; prints the table.

    Args:
        config: `rows` of (title, run folder, "first" or "last" evaluation); `metrics`
            for the columns; `model`, `scenes`, `pictures` and `threshold`: the
            model that detects events in so many evaluation scenes.
        workdir: where to write.
    """
    claim(workdir, config)
    pictures.require_matplotlib()
    rows = [
        (title, evaluation(Path(folder) / "metrics.jsonl", which))
        for title, folder, which in config["rows"]
    ]
    table = markdown(rows, config["metrics"])
    (workdir / "summary.md").write_text(table, encoding="utf-8")
    runs = {Path(folder).name: Path(folder) for _, folder, _ in config["rows"]}
    curves.plot_curves(
        {name: folder / "metrics.jsonl" for name, folder in runs.items()},
        workdir / "curves.png",
    )
    draw_detections(
        Path(config["model"]),
        Path(config["scenes"]),
        workdir / "detections",
        config["pictures"],
        config["threshold"],
    )
    print(f"\n{table}")
    for name, path in (
        ("table", workdir / "summary.md"),
        ("curves", workdir / "curves.png"),
        ("pictures", workdir / "detections"),
        ("model", config["model"]),
    ):
        print(f"{name:>8}  {path}")


def draw_detections(
    model: Path, scenes: Path, folder: Path, count: int, threshold: float
) -> None:
    """Draws what the model hears in evaluation scenes, beside what is in them.

    Args:
        model: model folder.
        scenes: folder in the layout of AudioSet Strong, not prepared.
        folder: gets one PNG a scene.
        count: how many scenes, from the first.
        threshold: events are where a score exceeds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    detector = load(model)
    source = audioset_strong.read(scenes, "eval")
    classes = source.vocabulary
    for clip in source.clips[:count]:
        truth = [
            report.NamedEvent(
                event.onset, event.offset, classes.names[classes.index(event.label)]
            )
            for event in clip.events
        ]
        sound = clip.audio.path
        out = folder / f"{sound.stem}.png"
        report.draw_file(detector, sound, out, truth=truth, threshold=threshold)


def evaluation(metrics: Path, which: str) -> dict[str, float]:
    """Returns the first or last evaluation of a run.

    Raises:
        InputError: the run logged no evaluation.
    """
    found = evaluations(read_metrics(metrics))
    if not found:
        raise InputError(f"{metrics} holds no evaluation: run that stage first")
    return found[0 if which == "first" else -1]


def markdown(
    rows: Sequence[tuple[str, Mapping[str, float]]], metrics: Sequence[str]
) -> str:
    """Returns a Markdown table, aligned for reading as plain text too."""
    width = max(len(title) for title, _ in rows)
    header = " | ".join(f"{name:>11}" for name in metrics)
    lines = [
        f"| {'':{width}} | {header} |",
        f"|{'-' * (width + 2)}|" + "|".join("-" * 12 + ":" for _ in metrics) + "|",
    ]
    for title, values in rows:
        cells = " | ".join(f"{_cell(values.get(name)):>11}" for name in metrics)
        lines.append(f"| {title:{width}} | {cells} |")
    return "\n".join(lines) + "\n"


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
