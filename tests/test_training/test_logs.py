import json
import struct

import pytest

from jaxsed.errors import InputError
from jaxsed.training.logs import MetricsLog, evaluations, is_done, read_metrics


def test_lines_are_plain_json(tmp_path):
    log = MetricsLog(tmp_path)
    log.write(3, {"train/loss": 0.5, "eval/psds1": float("nan")})
    log.write(4, {"done": True})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"step": 3, "train/loss": 0.5, "eval/psds1": None}
    assert json.loads(lines[1]) == {"step": 4, "done": True}
    assert is_done(tmp_path / "metrics.jsonl")


def test_resuming_drops_what_will_be_done_again(tmp_path):
    log = MetricsLog(tmp_path)
    for step in (1, 2, 3):
        log.write(step, {"train/loss": step})
    MetricsLog(tmp_path, resume_step=2)
    assert [m["step"] for m in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2]
    MetricsLog(tmp_path)
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_a_line_cut_off_by_a_crash_is_left_out(tmp_path):
    log = MetricsLog(tmp_path)
    log.write(1, {"train/loss": 1.0})
    path = tmp_path / "metrics.jsonl"
    with path.open("a") as file:
        file.write('{"step": 2, "train/lo')
    assert [m["step"] for m in read_metrics(path)] == [1]
    assert not is_done(path)
    MetricsLog(tmp_path, resume_step=1).write(2, {"train/loss": 0.5})
    assert [m["step"] for m in read_metrics(path)] == [1, 2]


@pytest.mark.parametrize(
    "garbled", [b"\xff\xfe\n", b"\0\0\0", b"[1]\n", b'{"stp": 2}\n']
)
def test_what_a_crash_garbled_is_left_out(tmp_path, garbled):
    MetricsLog(tmp_path).write(1, {"train/loss": 1.0})
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + garbled)
    assert [m["step"] for m in read_metrics(path)] == [1]
    MetricsLog(tmp_path, resume_step=1).write(2, {"done": True})
    assert is_done(path)


def test_other_processes_write_nothing(tmp_path):
    MetricsLog(tmp_path, active=False).write(1, {"train/loss": 1.0})
    assert not list(tmp_path.iterdir())


def test_a_log_knows_what_it_holds(tmp_path):
    log = MetricsLog(tmp_path)
    log.write(3, {"train/loss": 0.5})
    log.write(5, {"eval/psds1": 0.5})
    assert log.find(5, ("eval/",)) == {"eval/psds1": 0.5}
    assert not log.find(3, ("eval/",))
    path = log.write_report("not_finite", {"clips": ["a"]})
    assert json.loads(path.read_text()) == {"clips": ["a"]}


def test_a_disk_that_takes_nothing_is_said(tmp_path):
    log = MetricsLog(tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(InputError, match=r"metrics.jsonl cannot be written \(Is a dir"):
        log.write(1, {"train/loss": 0.5})


def test_tensorboard_files_are_written(tmp_path):
    pytest.importorskip("tensorboardX")
    log = MetricsLog(tmp_path, tensorboard=True)
    log.write(1, {"train/loss": 1.0, "eval/psds1": float("nan")})
    (first,) = (tmp_path / "tensorboard").iterdir()
    first.rename(tmp_path / "first")  # its name is the second in which it began
    log = MetricsLog(tmp_path, resume_step=6, tensorboard=True)
    log.write(7, {"train/loss": 1.0})
    log.write(7, {"done": True})
    (second,) = (tmp_path / "tensorboard").iterdir()
    found = list(events(second))
    # Where a session starts, TensorBoard forgets later steps of the sessions before.
    assert [event.step for event in found if event.HasField("session_log")] == [7]
    assert [v.tag for event in found for v in event.summary.value] == [
        "train/loss",
        "done",
    ]


def events(path):
    """The events of a file: length, its check, event, its check; again and again."""
    from tensorboardX.proto.event_pb2 import Event

    content, place = path.read_bytes(), 0
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        yield Event.FromString(content[place + 12 : place + 12 + length])
        place += 12 + length + 4


def test_evaluations_are_found_by_metric_the_last_of_the_model_that_is_left():
    lines = [
        {"step": 0, "train/loss": 1.0},
        {"step": 2, "eval/map": 0.1, "eval/psds1": None},
        {"step": 2, "average/map": 0.2},
        {"step": 2, "done": True},
    ]
    assert evaluations(lines) == [{"map": 0.1, "psds1": None}, {"map": 0.2}]
    assert evaluations(lines[:1]) == []
