"""That the benchmarks run; what they measure is no matter of tests."""

import os
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from benchmarks import (
    attention,
    dense,
    encoder_worker,
    encoders,
    evaluation,
    frozen,
    loader,
    page,
    phase_cells,
    phase_sounds,
    phase_table,
    postprocessing,
    step,
    where_time_goes,
)
from benchmarks.side_by_side import Contender, race
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.models.attention import attend
from tests.test_evaluation import cases

WORKER = """
from benchmarks.side_by_side import serve
def prepare(size):
    print("a library's own words")
    return lambda: sum(range(size))
serve(prepare)
"""


def test_contenders_take_turns():
    command = [sys.executable, "-c", WORKER]
    racing = {name: Contender(command, os.environ) for name in ("one", "other")}
    results = race(racing, repeats=2, size=1000)
    for contender in racing.values():
        contender.close()
    assert list(results) == ["one", "other"]
    for result in results.values():
        assert result["seconds"] > 0 and result["peak_mib"] > 1


def test_a_contender_that_dies_is_an_error():
    contender = Contender([sys.executable, "-c", "raise SystemExit(3)"], os.environ)
    with pytest.raises((RuntimeError, BrokenPipeError)):
        contender.prepare(size=1)


@pytest.mark.parametrize("mode", ["forward", "step"])
def test_a_model_is_prepared_to_be_timed(mode):
    call = encoder_worker.prepare("tiny_beats", "bfloat16", mode, batch=8)
    call()
    call()


def test_a_row_says_what_is_missing():
    result = {"seconds": 2.0, "first_seconds": 9.0, "peak_mib": 300.0}
    alone = encoders.row("beats", "step", 4, {"float32": result, "bfloat16": result})
    assert alone.count("2.00 clips/s") == 2 and "| - | - |" in alone
    beside = {"torch": {**result, "seconds": 3.0}, "float32": result}
    assert "1.50x" in encoders.row("beats", "step", 4, {**beside, "bfloat16": result})


def test_time_is_laid_to_parts_of_the_model():
    forward = where_time_goes.passes("tiny_atst_frame", 1, "float32")["forward"]
    parts, products = where_time_goes.shares(*forward)
    assert sum(parts.values()) == pytest.approx(1)
    assert parts["mlp"] > 0 and 0 < products < 1


@pytest.mark.parametrize("way", [attend, attention.definition])
def test_either_attention_fits_the_model(way):
    attention.compiled("tiny_atst_frame", 1, way)["forward"]()


def test_every_way_to_multiply_has_a_rate():
    rates = dense.rates("bfloat16", n_rows=8, rounds=1)
    assert rates.keys() == dense.products("float32").keys()
    assert min(rates.values()) > 0


def test_both_evaluations_agree(tmp_path):
    evaluation.make_store(tmp_path, n_clips=40, n_classes=4)
    found, expected = evaluation.ours(tmp_path), evaluation.reference(tmp_path, [1, 3])
    for label, values in expected["classes"].items():
        assert found["classes"][label] == pytest.approx(values, abs=1e-9)
    assert found["seconds"] > 0 and expected["peak_mib"] > 1


def test_the_loader_is_timed_beside_a_plain_loop(monkeypatch, capsys):
    monkeypatch.setattr(loader, "CLIP_SECONDS", 0.5)
    flac = loader.FORMATS["flac, 16 kHz"]
    monkeypatch.setattr(loader, "FORMATS", {"flac": flac})
    small = "--clips 2 --batch 2 --batches 1 --rounds 1 --workers 0 --index-clips 300"
    monkeypatch.setattr(sys, "argv", ["loader", *small.split()])
    loader.main()
    rates = capsys.readouterr().out.splitlines()[2].split("|")[2:-1]
    assert len(rates) == 4 and all(float(rate) > 0 for rate in rates)


def test_an_index_is_measured(tmp_path, capsys):
    loader.write_folder(tmp_path / "data", [], 300, loader.vocab.load("audioset_527"))
    loader.measure_index(tmp_path / "data")
    words = capsys.readouterr().out
    assert "300 clips, 0 MiB of index" in words and "balanced_epoch: first" in words


def test_a_step_is_computed_in_some_way():
    way = step.Way(devices=8, fsdp=8, accumulate=2, remat="blocks")
    call = step.prepare("tiny_atst_frame", way, batch=16, clip_seconds=0.4)
    assert np.isfinite(call())
    assert call.facts["activations_mib"] > 0


def test_the_first_epoch_on_frames_is_timed_apart_from_the_others(monkeypatch, capsys):
    # JAX's initialisers take longer to compile than all the rest together.
    monkeypatch.setattr(
        frozen.start,
        "start_params",
        lambda model, shapes, *_: jax.tree.map(
            lambda leaf: np.full(leaf.shape, 0.1, leaf.dtype), shapes
        ),
    )
    taken = []

    def epochs(*arguments, timed=frozen.epochs):
        taken.extend(timed(*arguments))
        return taken

    monkeypatch.setattr(frozen, "epochs", epochs)
    small = "--encoder tiny_atst_frame --clips 4 --batch 2 --classes 2 --epochs 3"
    monkeypatch.setattr(sys, "argv", ["frozen", *small.split()])
    frozen.main()
    assert len(taken) == 3 and min(taken) > 0
    row = capsys.readouterr().out.splitlines()[-1]
    ratio = taken[0] / np.median(taken[1:])
    assert row.startswith("| tiny_atst_frame | none | 4 | ")
    assert row.endswith(f" | {ratio:.0f}x |")


def test_what_a_training_saves_is_counted_up_to_the_evaluation_that_passes(
    tmp_path, monkeypatch
):
    case = phase_cells.Case("weak", "tiny_atst_frame", steps=20, metric="map")
    monkeypatch.setattr(
        phase_table, "operations", lambda case, c: 100 if c == "none" else 20
    )
    cells = phase_cells.Cells(tmp_path, seconds=60)
    cells.make(("case", "seconds"), lambda folder: {"none": 1.0, "fshift-4": 0.5})
    # The baseline's best, 0.5 on average, comes after 15 of 20 steps.
    runs = {
        "baseline": [[(1, 10, 0.2), (1, 15, 0.4)], [(1, 15, 0.6), (1, 20, 0.3)]],
        # After 5 coarse and 5 fine steps; 600 of 1500 operations, 7.5 of 15 s. Never.
        "fshift 4-1": [[(1, 5, 0.9), (2, 0, 0.3), (2, 5, 0.6)], [(2, 15, 0.5)]],
    }
    for title, found in runs.items():
        for seed, evaluations in enumerate(found):
            cells.make(("case", title, seed), lambda folder, e=evaluations: e)
    baseline, coarse = phase_table.rows(cells, "case", case, 3)
    assert baseline[0] == "baseline" and baseline[2:5] == [
        "1.00",
        "1.00",
        "0.500 ± 0.141",
    ]
    assert coarse == [
        "fshift 4-1",
        "0.550 ± 0.071",
        "0.80",  # 5 steps of 20 operations and 15 of 100, of 20 of 100
        "0.88",
        "0.700 ± 0.283",
        "1 of 2",
        "60",
        "50",
    ]
    cells.make(("carried", "fshift", 0), lambda folder: [0.1, 0.9, 0.5, 0.4])
    file = tmp_path / "page.md"
    file.write_text("before\n<!-- measured -->\nold\n<!-- end -->\nafter\n")
    cases = {"case": case, "none": case}
    page.write(file, phase_table.report(cells, cases, {"carried": case}, 3))
    written = file.read_text()
    assert "| fshift | 0.100 | 0.900 | 0.500 | 0.400 |" in written
    assert "| fshift-4 | 0.200 | 0.50 | 500 |" in written
    assert "old" not in written and written.endswith("<!-- end -->\nafter\n")
    page.write(tmp_path / "new.md", "measured")
    assert "\nmeasured\n" in (tmp_path / "new.md").read_text()
    # What is there is not done again, and after the end nothing is begun.
    cells.make(("case", "seconds"), lambda folder: 1 / 0)
    phase_cells.Cells(tmp_path, seconds=-1).make(("new",), lambda folder: 1 / 0)
    assert cells.get("new") is None


def test_another_workdir_goes_on_from_the_results_beside_a_page(tmp_path):
    first = phase_cells.Cells(tmp_path / "first", seconds=60)
    first.make(("case", "seconds"), lambda folder: {"none": 1.0})
    first.make(("case", "fshift 4-1", 0), lambda folder: [[1, 5, 0.9]])
    file = tmp_path / "page.json"
    phase_cells.write_results(file, 0.5, first.results())
    known = phase_cells.read_results(file, 0.5)
    second = phase_cells.Cells(tmp_path / "second", 60, published=known)
    second.make(("case", "fshift 4-1", 0), lambda folder: 1 / 0)
    second.make(("case", "fshift 4-1", 1), lambda folder: [[1, 5, 0.8]])
    assert second.get("case", "seconds") == {"none": 1.0}
    assert list(second.results()) == [
        "case-fshift_4-1-0",
        "case-fshift_4-1-1",
        "case-seconds",
    ]
    with pytest.raises(InputError, match=r"--scale 0.5, this is 1.*--page"):
        phase_cells.read_results(file, 1.0)
    assert phase_cells.read_results(tmp_path / "none.json", 1.0) == {}


def test_single_sounds_are_of_every_class_and_no_scene_is_in_two_splits(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(phase_sounds, "SCENES", {"train": 1, "validation": 1})
    prepared = phase_sounds.make(tmp_path)
    splits = [PreparedData(prepared / split) for split in ("train", "validation")]
    for data in splits:
        labels = [event.label for row in range(len(data)) for event in data.events(row)]
        assert sorted(labels) == list(range(20)) and data.labels == "single"
    numbers = [{clip.split("-")[1] for clip in data.ids} for data in splits]
    assert not numbers[0] & numbers[1]
    assert phase_sounds.chance() == 1 / 20


def test_post_processing_is_tuned_on_one_half_and_tested_on_the_other(tmp_path, capsys):
    rng = np.random.default_rng(0)
    events = cases.random_events(rng, 8, 2)
    logits = cases.random_logits(rng, events, 2)
    vocabulary = cases.vocabulary(2)
    store = ScoreStore.create(tmp_path / "s", list(events), vocabulary)
    store.write(np.arange(8), logits)
    data = SimpleNamespace(
        ids=list(events),
        durations=[10.0] * 8,
        vocabulary=vocabulary,
        events=list(events.values()).__getitem__,
    )
    first, second = postprocessing.split(data)
    assert len(first) == len(second) == 4 and not first.keys() & second.keys()
    arguments = data, first, second, 0.5
    found = {
        name: [np.array(postprocessing.measured(name, store, *arguments))] * 2
        for name in ("median 0.48 s", "class_medians, tuned")
    }
    assert all(0 <= value <= 1 for runs in found.values() for value in runs[0])
    postprocessing.print_table(found)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[2].startswith("| median 0.48 s | 0.")
