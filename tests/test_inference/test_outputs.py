import csv
import io
import json

import numpy as np
import pytest

from jaxsed.inference import outputs
from jaxsed.inference.outputs import Details, Detection
from jaxsed.labels.events import ScoredEvent

LABELS = ["Bark", "Domestic animals, pets", 'Say "cheese"\there']
EVENTS = [
    ScoredEvent(0.0, 1.24, 0, 0.98765),
    ScoredEvent(0.04, 3.5, 1, 0.5),
    ScoredEvent(7198.96, 7200.00005, 2, 0.12345),
]
NAME = "a folder/größe, 2.wav"
DETAILS = Details("/data/größe, 2.wav", NAME, 7200.00005, 8000.0, {"threshold": 0.5})
DETECTIONS = outputs.to_detections(EVENTS, LABELS, NAME)


def test_times_are_rounded_into_the_file():
    expected = [
        Detection(NAME, 0.0, 1.24, "Bark", 0.9877),
        Detection(NAME, 0.04, 3.5, LABELS[1], 0.5),
        Detection(NAME, 7198.96, 7200.0, LABELS[2], 0.1235),
    ]
    assert expected == DETECTIONS


def test_grid_times_are_not_rounded_down_a_millisecond():
    events = [ScoredEvent(0.0, (k + 1) * 0.04, 0, 0.5) for k in range(0, 200_000, 7)]
    offsets = [row.offset for row in outputs.to_detections(events, ["x"], "f")]
    np.testing.assert_allclose(
        offsets, (np.arange(0, 200_000, 7) + 1) * 0.04, atol=1e-6, rtol=0
    )


def test_an_event_of_nothing_is_dropped():
    events = [ScoredEvent(20.0, 20.0000625, 0, 0.9), ScoredEvent(20.0, 20.001, 0, 0.9)]
    assert [row.offset for row in outputs.to_detections(events, ["x"], "f")] == [20.001]


@pytest.mark.parametrize("name", ["tsv", "csv"])
def test_tables_round_trip(name):
    text = outputs.FORMATS[name].writer(DETECTIONS, DETAILS)
    separator = {"tsv": "\t", "csv": ","}[name]
    header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    assert tuple(header) == outputs.COLUMNS
    back = [Detection(r[0], float(r[1]), float(r[2]), r[3], float(r[4])) for r in rows]
    assert back == DETECTIONS


def test_tables_read_by_pandas():
    import pandas as pd

    table = pd.read_csv(io.StringIO(outputs.tsv(DETECTIONS)), sep="\t")
    assert list(table.itertuples(index=False, name=None)) == DETECTIONS


def test_json_round_trip():
    document = json.loads(outputs.json_document(DETECTIONS, DETAILS))
    assert document["filename"] == NAME
    assert document["duration"] == 7200.0
    assert document["settings"] == {"threshold": 0.5}
    assert [Detection(NAME, **event) for event in document["events"]] == DETECTIONS


def test_audacity_round_trip():
    lines = outputs.audacity(DETECTIONS[:2]).splitlines()
    assert lines == [
        "0.000\t1.240\tBark (0.99)",
        "0.040\t3.500\tDomestic animals, pets (0.50)",
    ]


def test_raven_round_trip():
    text = outputs.raven(DETECTIONS, DETAILS)
    rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter="\t"))
    assert [row["Selection"] for row in rows] == ["1", "2", "3"]
    assert {row["Begin Path"] for row in rows} == {DETAILS.path}
    assert {(row["Low Freq (Hz)"], row["High Freq (Hz)"]) for row in rows} == {
        ("0", "8000")
    }
    back = [
        Detection(
            NAME,
            float(row["Begin Time (s)"]),
            float(row["End Time (s)"]),
            row["Label"],
            float(row["Score"]),
        )
        for row in rows
    ]
    assert back == DETECTIONS


def test_without_events_the_header_stays():
    assert outputs.tsv([]) == "filename\tonset\toffset\tevent_label\tscore\n"
    assert outputs.comma_separated([]) == "filename,onset,offset,event_label,score\n"
    assert json.loads(outputs.json_document([], DETAILS))["events"] == []
    assert outputs.audacity([]) == ""
    assert outputs.raven([], DETAILS).startswith("Selection\tView\t")


def test_writing_is_all_or_nothing(tmp_path):
    path = tmp_path / "deep" / ("x" * 250 + ".tsv")
    outputs.write(path, "first\n")
    with pytest.raises(RuntimeError), outputs.replacing(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "first\n"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_names_that_are_not_unicode_are_written(tmp_path):
    broken = b"\xff.wav".decode("utf-8", "surrogateescape")
    outputs.write(tmp_path / "x.tsv", outputs.tsv([Detection(broken, 0, 1, "a", 1)]))
    assert "\\udcff.wav" in (tmp_path / "x.tsv").read_text(encoding="utf-8")
