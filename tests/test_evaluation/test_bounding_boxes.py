"""Boxes beside those of the package `sebbs`, in pieces and by hand.

`tests/golden/bounding_boxes.npz` holds random scores and what `sebbs` 1.0.2 makes of them
(`csebbs.CSEBBsPredictor(...).predict`), in the order of class and onset.
"""

import itertools
from pathlib import Path

import numpy as np
import pytest

from jaxsed.evaluation.bounding_boxes import (
    Boxes,
    BoxSettings,
    BoxStream,
    bounding_boxes,
    bounding_boxes_of_classes,
)

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "bounding_boxes.npz")
N_CASES = int(GOLDEN["n_cases"])


def golden(case):
    settings = BoxSettings(*GOLDEN[f"{case}/settings"])
    return GOLDEN[f"{case}/scores"], GOLDEN[f"{case}/borders"], settings


@pytest.mark.parametrize("case", range(N_CASES))
def test_boxes_are_those_of_the_package(case):
    scores, borders, settings = golden(case)
    found = bounding_boxes_of_classes(scores, borders, [settings] * scores.shape[1])
    row, onset, offset, confidence = GOLDEN[f"{case}/boxes"].T
    np.testing.assert_array_equal(found.row, row)
    np.testing.assert_allclose(found.onset, onset, atol=1e-7)
    np.testing.assert_allclose(found.offset, offset, atol=1e-7)
    # In clips with several candidates the package divides by 1 us more.
    length = found.offset - found.onset
    ours = np.stack([found.confidence, found.confidence * length / (length + 1e-6)])
    assert (np.abs(ours - confidence).min(axis=0) < 1e-9).all()


def test_the_golden_has_boxes_of_all_kinds():
    boxes = [GOLDEN[f"{case}/boxes"] for case in range(N_CASES)]
    assert sum(map(len, boxes)) > 300
    settings = {tuple(GOLDEN[f"{case}/settings"]) for case in range(N_CASES)}
    assert len(settings) > 5


def pieces_of(scores, borders, rng):
    cuts = np.unique(rng.integers(0, len(scores) + 1, rng.integers(0, 20)))
    cuts = np.unique(np.append(cuts, [0, len(scores)]))
    for start, stop in itertools.pairwise(cuts):
        yield scores[start:stop], borders[start : stop + 1]


@pytest.mark.parametrize("case", range(0, N_CASES, 4))
def test_pieces_give_the_boxes_of_the_whole(case):
    scores, borders, settings = golden(case)
    others = [settings, BoxSettings(), BoxSettings(1.5, 0.1, float("inf"))]
    others = [others[k % 3] for k in range(scores.shape[1])]
    whole = bounding_boxes_of_classes(scores, borders, others)
    for seed in range(4):
        stream, found = BoxStream(others), []
        for piece in pieces_of(scores, borders, np.random.default_rng(seed)):
            found.append(stream.add(*piece))
        found = Boxes(*map(np.concatenate, zip(*found, stream.finish())))
        found = found.these(np.lexsort((found.onset, found.row)))
        np.testing.assert_array_equal(found.row, whole.row)
        for ours, expected in zip(found[1:], whole[1:]):
            np.testing.assert_allclose(ours, expected, atol=1e-9)


def test_a_long_stream_holds_little():
    rng = np.random.default_rng(0)
    stream = BoxStream([BoxSettings()] * 3)
    n_boxes = 0
    for start in range(0, 20_000, 250):
        borders = (start + np.arange(251)) * 0.04
        n_boxes += len(stream.add(rng.random((250, 3)), borders).row)
    ((_, rows),) = stream._groups
    assert rows._points._scores.shape[1] < 30 and len(rows._held.row) <= 3
    assert n_boxes > 100


def heard(scores, settings):
    """Without the boxes that silence gets, whose confidence is 0."""
    boxes = bounding_boxes(scores, np.arange(251) / 25, settings)
    return boxes.these(boxes.confidence > 1e-9)


def test_a_step_up_and_down_is_one_box():
    scores = np.zeros((1, 250))
    scores[0, 50:75] = 0.8  # 2 to 3 s
    boxes = heard(scores, BoxSettings(0.48))
    assert np.round(np.concatenate(boxes), 9).tolist() == [0, 2.0, 3.0, 0.8]


@pytest.mark.parametrize(
    ("dip", "settings", "n_boxes"),
    [
        (0.6, BoxSettings(0.4, 0.3, 2.0), 1),
        (0.6, BoxSettings(0.4, 0.15, 2.0), 2),  # 0.2 lower is too much
        (0.3, BoxSettings(0.4, 1.0, 2.0), 2),  # less than half is too much
        (0.3, BoxSettings(0.4, 0.6, float("inf")), 1),
    ],
)
def test_neighbours_are_joined_where_the_gap_is_shallow(dip, settings, n_boxes):
    scores = np.zeros((1, 250))
    scores[0, 50:100] = 0.8
    scores[0, 70:80] = dip
    boxes = heard(scores, settings)
    assert len(boxes.row) == n_boxes
    assert boxes.onset[0] == 2.0 and boxes.offset[-1] == 4.0
    mean = (40 * 0.8 + 10 * dip) / 50 if n_boxes == 1 else 0.8
    np.testing.assert_allclose(boxes.confidence, mean, atol=1e-9)


def test_silence_and_constant_scores():
    borders = np.arange(251) / 25
    assert len(bounding_boxes(np.zeros((2, 250)), borders, BoxSettings()).row) <= 2
    boxes = bounding_boxes(np.full((2, 250), 0.7), borders, BoxSettings())
    assert boxes.row.tolist() == [0, 1]
    np.testing.assert_allclose(boxes.offset - boxes.onset, 10.0)
    np.testing.assert_allclose(boxes.confidence, 0.7)


def test_settings_as_json():
    settings = BoxSettings(0.32, float("inf"), 1.5)
    value = settings.to_json()
    assert value["merge_difference"] is None
    assert BoxSettings.from_json(value) == settings
