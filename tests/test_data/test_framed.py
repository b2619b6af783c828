import pickle

import numpy as np
import pytest

from jaxsed.data.framed import FramedSlices, JoinedFrames
from jaxsed.data.pipelines import evaluation_batches, training_batches
from jaxsed.data.slices import Slices
from jaxsed.errors import InputError
from tests.test_data.fakes import assert_same_batch
from tests.test_data.frame_stores import SLICES, FakeClips, frames_of, write_store

SHAPE = {"clip_seconds": 1.0, "n_frames": 25, "sample_rate": 16000}


@pytest.fixture
def framed(tmp_path):
    return FramedSlices(FakeClips(tmp_path), 1.0, None, write_store(tmp_path))


def test_batches_have_frames_in_place_of_audio_and_labels_of_the_slice(framed):
    (batch,) = evaluation_batches(framed, batch_size=SLICES, **SHAPE)
    assert batch.keys() == {"aligned", "summary", "labels", "index", "valid"}
    for name, expected in frames_of(range(SLICES)).items():
        np.testing.assert_array_equal(batch[name], expected)
    slices = Slices(FakeClips(framed.directory), 1.0)
    (heard,) = evaluation_batches(slices, batch_size=SLICES, **SHAPE)
    np.testing.assert_array_equal(batch["labels"], heard["labels"])


def test_training_reads_them_at_random_wherever_batches_are_computed(framed):
    given = {"seed": 3, "batch_size": 4, "n_batches": 4, "sampling": "balanced"}
    sent = pickle.loads(pickle.dumps(framed))  # as to a loader process
    here = list(training_batches(framed, threads=0, **given, **SHAPE))
    there = training_batches(sent, threads=2, **given, **SHAPE)
    for left, right in zip(here, there, strict=True):
        assert_same_batch(left, right)
        expected = frames_of(left["index"])["aligned"]
        np.testing.assert_array_equal(left["aligned"], expected)
    there.close()
    assert len({row for batch in here for row in batch["index"].tolist()}) > 2


def test_a_run_does_not_go_on_with_frames_of_another_encoder(framed, tmp_path):
    given = {"seed": 3, "batch_size": 4, **SHAPE}
    state = training_batches(framed, **given).get_state()
    other = write_store(tmp_path, encoder={"encoder": "tiny", "sha256": "ffff"})
    other = FramedSlices(FakeClips(tmp_path), 1.0, None, other)
    with pytest.raises(InputError, match=r"encoder='0123456789ab'.* 'ffff'"):
        training_batches(other, **given).set_state(state)


def test_folders_with_frames_are_read_as_one(framed, tmp_path):
    folder = tmp_path / "second"
    folder.mkdir()
    other = FramedSlices(FakeClips(folder), 1.0, None, write_store(folder))
    joined = pickle.loads(pickle.dumps(JoinedFrames([framed, other])))
    assert len(joined) == 2 * SLICES and joined.encoder_hash == framed.encoder_hash
    for row, expected in ((2, 2), (SLICES + 5, 5)):
        assert (joined.frames(row)["aligned"] == expected).all()
    assert joined.place_in_clip(2) == ("clip0", 50)
    assert joined.place_in_clip(SLICES + 5) == ("clip2", 0)
    assert joined.clips.durations.tolist() == [3.5, 0.5, 2.0] * 2


def test_frames_of_other_slices_are_a_mistake(tmp_path):
    with pytest.raises(ValueError, match="frames of 7 slices for 3"):
        FramedSlices(FakeClips(tmp_path), 1.0, 1, write_store(tmp_path))
