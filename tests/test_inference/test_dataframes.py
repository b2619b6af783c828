import numpy as np

from jaxsed.inference import dataframes
from jaxsed.labels.events import ScoredEvent

LABELS = ("Bark", "Größe, große")


def test_scores_have_a_row_a_frame_and_end_with_the_sound():
    scores = np.random.default_rng(0).random((3, 2), np.float32)
    table = dataframes.of_scores(scores, LABELS, 0.04, 0.101)
    assert table.columns.tolist() == ["onset", "offset", *LABELS]
    assert table.onset.tolist() == [0, 0.04, 0.08]
    assert table.offset.tolist() == [0.04, 0.08, 0.101]
    np.testing.assert_array_equal(table[list(LABELS)], scores)


def test_events_have_a_row_each():
    events = [ScoredEvent(1.0, 2.5, 1, 0.75), ScoredEvent(1.0, 1.04, 0, 0.5)]
    table = dataframes.of_events(events, LABELS)
    assert table.to_dict("list") == {
        "onset": [1.0, 1.0],
        "offset": [2.5, 1.04],
        "event_label": ["Größe, große", "Bark"],
        "score": [0.75, 0.5],
    }
    none = dataframes.of_events([], LABELS)
    assert none.columns.tolist() == table.columns.tolist() and len(none) == 0
    for column in ("onset", "offset", "score"):
        assert none[column].dtype == table[column].dtype == float
