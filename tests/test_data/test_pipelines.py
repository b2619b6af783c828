import json
import subprocess
import sys

import grain
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxsed.audio.decode import load_mono, to_int16
from jaxsed.data.layouts import audioset_strong
from jaxsed.data.pipelines import evaluation_batches, training_batches
from jaxsed.data.prepare import prepare
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.labels.events import Event, frame_targets
from tests.test_data.audioset_folder import write_folder
from tests.test_data.fakes import RATE, FakeData, FakeTeacher, assert_same_batch

N_CLIPS, BATCH = 11, 4  # an epoch ends inside a batch
SHORT = {"clip_seconds": 2.0, "n_frames": 50}


def train(data=None, **options):
    options = {"seed": 5, "batch_size": BATCH, "threads": 0} | SHORT | options
    return training_batches(FakeData() if data is None else data, **options)


def draw(iterator, n):
    batches = [next(iterator) for _ in range(n)]
    iterator.close()
    return batches


# Everything that draws at random: order, crop of 3 s clips, partner, weight, teacher.
FULL = {
    "sampling": "balanced",
    "wavmix_probability": 0.5,
    "teacher": FakeTeacher(75, without=("clip3",)),
}


@pytest.fixture(scope="module")
def long_clips():
    return FakeData(N_CLIPS, seconds=3.0)


def test_batch_is_the_contract():
    (batch,) = draw(train(teacher=FakeTeacher(50)), 1)
    found = {name: (array.dtype.name, array.shape) for name, array in batch.items()}
    assert found == {
        "audio": ("int16", (4, 32000)),
        "index": ("int32", (4,)),
        "n_samples": ("int32", (4,)),
        "labels": ("uint8", (4, 50, 3)),
        "teacher": ("float16", (4, 50, 3)),
        "teacher_valid": ("bool", (4,)),
    }
    assert set(draw(train(targets="clip"), 1)[0]) == {
        "audio",
        "index",
        "n_samples",
        "clip_labels",
    }


def test_audio_and_labels_are_the_clips():
    (batch,) = draw(train(), 1)
    for i, row in enumerate(batch["index"]):
        expected = (row + 1) * 1000 + np.arange(32000) // 640
        np.testing.assert_array_equal(batch["audio"][i], expected)
        labels = np.zeros((50, 3), np.uint8)
        labels[25:50, row % 3] = 1
        np.testing.assert_array_equal(batch["labels"][i], labels)


def test_short_clips_are_padded():
    data = FakeData(3, seconds=[0.3, 1.0, 2.0])
    batch = next(evaluation_batches(data, batch_size=3, **SHORT))
    assert batch["n_samples"].tolist() == [4800, 16000, 32000]
    assert not batch["audio"][0, 4800:].any() and batch["audio"][0, :4800].all()


@pytest.mark.parametrize("targets", ["frames", "clip"])
def test_labels_and_teacher_move_with_the_crop(long_clips, targets):
    teacher = FakeTeacher(75 if targets == "frames" else 1)
    starts = set()
    batches = draw(train(long_clips, teacher=teacher, targets=targets), 12)
    for batch in batches:
        for i, row in enumerate(batch["index"]):
            samples = batch["audio"][i].astype(int) - (row + 1) * 1000
            start = samples[0]  # the label frame where the crop begins
            np.testing.assert_array_equal(samples, start + np.arange(32000) // 640)
            whole = np.zeros((75, 3), np.uint8)
            whole[25:50, row % 3] = 1
            expected = whole[start : start + 50]
            if targets == "frames":
                np.testing.assert_array_equal(batch["labels"][i], expected)
                logits, name = teacher.get(f"clip{row}")[start : start + 50], "teacher"
            else:
                np.testing.assert_array_equal(batch["clip_labels"][i], expected.max(0))
                logits, name = teacher.get(f"clip{row}")[0], "clip_teacher"
            probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
            np.testing.assert_allclose(batch[name][i], probabilities, atol=5e-4)
            assert batch["teacher_valid"][i]
            starts.add((int(row), int(start)))
    # A clip is cut elsewhere in every epoch.
    assert len(starts) > 2 * N_CLIPS
    assert {start for _, start in starts} <= set(range(26))


def test_a_teacher_of_frames_is_none_of_clips(long_clips):
    for targets, n_frames, kind in (("clip", 75, "frames"), ("frames", 1, "whole")):
        with pytest.raises(InputError, match=f"logits are of {kind}"):
            train(long_clips, teacher=FakeTeacher(n_frames), targets=targets)


def test_clips_and_their_teacher_are_mixed_as_they_are_drawn():
    options = {"targets": "clip", "wavmix_probability": 1.0, "teacher": FakeTeacher(1)}
    batches = draw(train(wavmix_alpha=10.0, wavmix_major=False, **options), 12)
    own = []
    for batch in batches:
        for row, labels, teacher in zip(
            batch["index"], batch["clip_labels"], batch["clip_teacher"]
        ):
            assert np.isclose(labels.sum(), 1) and labels.max() > 0
            own.append(labels[row % 3])
            assert 0 < teacher.min() <= teacher.max() < 1
    # Not folded, so the smaller part as often as the larger one.
    mixed = np.array([weight for weight in own if 0 < weight < 1], float)
    assert (mixed < 0.5).mean() > 0.2 and (mixed > 0.5).mean() > 0.2
    assert mixed.min() > 0.1 and mixed.max() < 0.9


def test_clip_labels_do_not_name_events_outside_the_crop():
    data = FakeData(4, seconds=4.0)
    for batch in draw(train(data, targets="clip", clip_seconds=0.4), 10):
        for i, row in enumerate(batch["index"]):
            start = (batch["audio"][i, 0].astype(int) - (row + 1) * 1000) * 0.04
            overlaps = start + 0.4 > 1.0 + 1e-9 and start < 2.0 - 1e-9
            assert batch["clip_labels"][i].sum() == overlaps


def test_crop_lands_on_label_frames_at_44100_hz():
    data = FakeData(2, seconds=3.0)
    (batch,) = draw(train(data, sample_rate=44100), 1)
    assert batch["audio"].shape == (4, 88200)
    assert (batch["n_samples"] == 88200).all()


def test_wavmix_mixes_audio_labels_and_teacher_with_one_weight():
    data = FakeData(N_CLIPS, seconds=2.0)
    teacher = FakeTeacher(50, without=("clip3",))
    plain = draw(train(data, teacher=teacher), 10)
    mixed = draw(train(data, teacher=teacher, wavmix_probability=0.5), 10)
    n_mixed = 0
    for before, after in zip(plain, mixed):
        np.testing.assert_array_equal(before["index"], after["index"])
        assert after["labels"].dtype == np.float16
        for i in range(BATCH):
            if (before["audio"][i] == after["audio"][i]).all():
                np.testing.assert_array_equal(before["labels"][i], after["labels"][i])
                continue
            n_mixed += 1
            own = before["labels"][i].astype(np.float64)
            weight = after["labels"][i][own == 1][0].astype(float)
            assert abs(after["audio"][i].mean()) < 1
            assert 0.5 <= weight <= 1
            # All clips have the same ramp, whatever the weight.
            ramp = np.arange(32000) // 640
            assert np.abs(after["audio"][i] - (ramp - ramp.mean())).max() <= 1
            rest = after["labels"][i] - weight * own
            partner = 1 - weight if weight < 1 else 0  # 0 outside its event
            assert np.isin(rest.round(5), np.round([0, partner], 5)).all()
            if not before["teacher_valid"][i]:
                assert not after["teacher_valid"][i]
    assert 8 <= n_mixed <= 32


def test_wavmix_teacher_is_mixed_as_probabilities():
    data = FakeData(2, seconds=2.0)
    data.events = lambda i: [Event(0.0, 2.0, i)]
    teacher = FakeTeacher(50)
    sigmoid = [1 / (1 + np.exp(-teacher.get(f"clip{i}").astype(float))) for i in (0, 1)]
    seen = 0
    for batch in draw(train(data, teacher=teacher, wavmix_probability=1.0), 4):
        for labels, probabilities in zip(batch["labels"], batch["teacher"]):
            weights = labels[0, :2].astype(float)
            np.testing.assert_allclose(weights.sum(), 1)
            expected = weights[0] * sigmoid[0] + weights[1] * sigmoid[1]
            np.testing.assert_allclose(probabilities, expected, atol=1e-3)
            seen += 0 < weights[0] < 1
    assert seen


def test_clips_without_teacher_are_marked():
    teacher = FakeTeacher(50, without=("clip3", "clip7"))
    for batch in draw(train(teacher=teacher), 4):
        expected = ~np.isin(batch["index"], (3, 7))
        np.testing.assert_array_equal(batch["teacher_valid"], expected)
        assert not batch["teacher"][~expected].any()


def test_clips_are_cut_where_the_teacher_heard_them(long_clips):
    starts = {75: set(), 51: set()}  # the teacher did not hear the last second
    for known, found in starts.items():
        for batch in draw(train(long_clips, teacher=FakeTeacher(known)), 12):
            assert batch["teacher_valid"].all()
            found |= set((batch["audio"][:, 0] - (batch["index"] + 1) * 1000).tolist())
    assert starts[51] == {0, 1} and max(starts[75]) > 20


@pytest.mark.parametrize("sampling", ["uniform", "balanced", "balanced_epoch"])
@pytest.mark.parametrize("process_count", [2, 4])
def test_processes_together_make_the_same_batches(long_clips, sampling, process_count):
    options = FULL | {"sampling": sampling}
    whole = draw(train(long_clips, **options), 4)
    parts = [
        draw(
            train(long_clips, process_index=p, process_count=process_count, **options),
            4,
        )
        for p in range(process_count)
    ]
    for k, batch in enumerate(whole):
        pieces = [part[k] for part in parts]
        joined = {n: np.concatenate([piece[n] for piece in pieces]) for n in batch}
        assert_same_batch(joined, batch)


def test_threads_and_worker_processes_make_the_same_batches(long_clips):
    expected = draw(train(long_clips, **FULL), 5)
    threaded = train(long_clips, threads=2, cache_decoded_bytes=250_000, **FULL)
    working = train(long_clips, workers=2, threads=1, **FULL)
    for batches in (draw(threaded, 5), draw(working, 5)):
        for batch, reference in zip(batches, expected):
            assert_same_batch(batch, reference)


@pytest.mark.parametrize("stop", [1, 3, 6])  # an epoch is 2.75 batches
@pytest.mark.parametrize("sampling", ["uniform", "balanced", "balanced_epoch"])
def test_goes_on_from_its_state(long_clips, sampling, stop):
    options = FULL | {"sampling": sampling, "threads": 2}
    first = train(long_clips, **options)
    for _ in range(stop):
        next(first)
    state = json.loads(json.dumps(first.get_state()))
    assert len(json.dumps(state)) < 400
    expected = draw(first, 3)
    again = train(long_clips, **options)
    next(again)  # what was computed ahead must not leak
    again.set_state(state)
    assert again.get_state() == state
    for batch, reference in zip(draw(again, 3), expected):
        assert_same_batch(batch, reference)


def test_goes_on_with_other_workers_after_a_grain_checkpoint(tmp_path, long_clips):
    first = train(long_clips, **FULL)
    next(first)
    manager = ocp.CheckpointManager(tmp_path.resolve())
    save = grain.checkpoint.CheckpointSave(first)
    manager.save(1, args=ocp.args.Composite(data=save))
    manager.wait_until_finished()
    expected = draw(first, 2)
    again = train(long_clips, workers=1, threads=1, **FULL)
    restore = grain.checkpoint.CheckpointRestore(again)
    manager.restore(1, args=ocp.args.Composite(data=restore))
    manager.close()
    for batch, reference in zip(draw(again, 2), expected):
        assert_same_batch(batch, reference)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 6}, "seed=5"),
        ({"batch_size": 2}, "batch_size=4"),
        ({"sampling": "balanced"}, "sampling='uniform'"),
        ({"data": FakeData(3)}, "data="),
    ],
)
def test_a_state_of_another_run_is_refused(change, named):
    state = train().get_state()
    with pytest.raises(InputError, match=named):
        train(**change).set_state(state)


def test_no_clip_is_missing_from_an_epoch():
    index = np.concatenate([batch["index"] for batch in draw(train(), 11)])
    assert (np.bincount(index, minlength=N_CLIPS) == 4).all()


def test_as_many_batches_as_asked_for():
    assert len(list(train(n_batches=3))) == 3
    assert len(train(n_batches=3)) == 3


@pytest.mark.parametrize("process_count", [1, 2])
@pytest.mark.parametrize("start", [0, 5, 11])
def test_evaluation_gives_every_clip_once_in_order(process_count, start):
    streams = [
        evaluation_batches(
            FakeData(),
            batch_size=BATCH,
            start=start,
            process_index=p,
            process_count=process_count,
            targets=None,
            **SHORT,
        )
        for p in range(process_count)
    ]
    index, valid = [], []
    for parts in zip(*streams, strict=True):
        index += [part["index"] for part in parts]
        valid += [part["valid"] for part in parts]
        assert "labels" not in parts[0]
        assert sum(len(part["valid"]) for part in parts) == BATCH
    if start == N_CLIPS:
        assert not index
        return
    index, valid = np.concatenate(index), np.concatenate(valid)
    np.testing.assert_array_equal(index[valid], np.arange(start, N_CLIPS))
    assert not index[~valid].any()


def test_evaluation_reads_long_clips_from_their_start(long_clips):
    stream = evaluation_batches(long_clips, batch_size=BATCH, **SHORT)
    first = next(stream)
    np.testing.assert_array_equal(first["audio"][:, 0], (first["index"] + 1) * 1000)
    stream.rewind()
    assert_same_batch(next(stream), first)


def test_decoded_clips_are_kept_within_the_budget():
    data = FakeData(6)
    reads = []
    decode, data.audio_bytes = data.audio_bytes, lambda i: reads.append(i) or decode(i)
    stream = train(data, batch_size=6, cache_decoded_bytes=6 * 64_000)
    draw(stream, 3)
    assert sorted(reads) == list(range(6))
    reads.clear()
    stream = train(data, batch_size=6, cache_decoded_bytes=3 * 64_000)
    draw(stream, 3)
    assert 6 < len(reads) <= 18
    from jaxsed.data.examples import DecodedClips

    clips = DecodedClips(data, RATE, keep_bytes=3 * 64_000)
    for row in (0, 1, 2, 0, 3):
        clips[row]
    reads.clear()
    for row in (0, 2, 3, 1):  # 1 was the least recently used
        clips[row]
    assert reads == [1]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_undecodable_clip_is_named(workers):
    data = FakeData(1)
    data.audio[0] = b"not a sound"
    expected = r"clip 'clip0' \(row 0\) cannot be decoded"
    with pytest.raises(InputError, match=expected) as caught:
        next(train(data, workers=workers, threads=1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 3, "process_count": 2}, "multiple of the 2 processes"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"process_index": 1}, "process_index=1"),
        ({"targets": "strong"}, "'strong'"),
        ({"wavmix_probability": 1.5}, "wavmix_probability=1.5"),
        ({"clip_seconds": 0.0}, "clip_seconds=0.0"),
        ({"threads": -1}, "threads=-1"),
        ({"sampling": "weighted"}, "'weighted'"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        train(**options)


def test_empty_data_is_refused():
    with pytest.raises(InputError, match="empty"):
        train(FakeData(0))
    with pytest.raises(InputError, match="empty"):
        evaluation_batches(FakeData(0), batch_size=1)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("prepared")
    source = write_folder(root / "source", n_clips=5, seconds=5.0)  # 8 kHz flac
    prepare(audioset_strong.read(source, "train"), root / "train", n_shards=2)
    return PreparedData(root / "train")


@pytest.mark.parametrize(
    ("sampling", "workers"),
    [("uniform", 0), ("balanced", 0), ("balanced_epoch", 0), ("balanced", 1)],
)
def test_prepared_data_are_loaded(prepared, sampling, workers):
    options = {"sampling": sampling, "batch_size": 5, "clip_seconds": 5.0}
    options |= {"n_frames": 125, "workers": workers, "threads": 1}
    teacher = TeacherLogitsOfRows(prepared)
    for batch in draw(train(prepared, teacher=teacher, **options), 2):
        for i, row in enumerate(batch["index"]):
            audio = to_int16(load_mono(prepared.audio_bytes(row), 16000))
            assert audio.any()
            np.testing.assert_array_equal(batch["audio"][i], audio)
            events = prepared.events(row)
            assert len(events) == 2
            labels = frame_targets(events, len(prepared.vocabulary), 125)
            np.testing.assert_array_equal(batch["labels"][i], labels)
            expected = 1 / (1 + np.exp(-float(row)))
            np.testing.assert_allclose(batch["teacher"][i], expected, atol=5e-4)


class TeacherLogitsOfRows:
    n_frames = 125

    def __init__(self, data):
        self.data = data

    def check(self, data, n_frames):
        pass

    def known_frames(self, clip_id):
        return 125

    def get(self, clip_id, first_frame, n_frames):
        assert (first_frame, n_frames) == (0, 125)
        row = self.data.ids.tolist().index(clip_id)
        return np.full((125, len(self.data.vocabulary)), row, np.float16)


def run_alone(code):
    header = (
        "import sys, numpy as np\n"
        "from jaxsed.data import batches, examples, pipelines, sampling\n"
        "from jaxsed.data.teacher_logits import TeacherLogits\n"
        "from tests.test_data.fakes import FakeData\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", header + code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_computing_a_batch_needs_neither_jax_nor_grain():
    code = """
shape = examples.ExampleShape(2.0, 16000, 50, "frames")
order = sampling.ExampleOrder("uniform", 0, 11)
source = batches.TrainingBatches(
    examples.Examples(FakeData(), shape), order, batches.ProcessShare(4)
)
assert source[7]["audio"].any()
print(*sorted({"jax", "grain", "pandas", "librosa", "h5py"} & set(sys.modules)))
"""
    assert run_alone(code) == []


def test_drawing_through_grain_touches_no_accelerator():
    # grain imports jax where it finds it; that alone claims no device.
    code = """
stream = pipelines.training_batches(FakeData(), seed=0, batch_size=4, workers=0)
assert next(stream)["audio"].any()
bridge = sys.modules.get("jax._src.xla_bridge")
print(bridge is not None and bridge.backends_are_initialized())
stream.close()
"""
    assert run_alone(code) == ["False"]
