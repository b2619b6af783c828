import pickle

import numpy as np
import pytest

from jaxsed.data.joined import JoinedData, annotation_of, are_there, open_data, parts_of
from jaxsed.data.layouts import desed
from jaxsed.data.pipelines import training_batches
from jaxsed.data.prepare import prepare
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.labels.vocab import Vocabulary

from .event_folders import write_desed

SPLITS = ("train_strong", "train_weak", "train_synthetic")
SHORT = {"clip_seconds": 0.4, "n_frames": 10, "threads": 0}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """DESED's three training splits: two strong clips, a weak and a synthetic one."""
    root = tmp_path_factory.mktemp("desed")
    source = write_desed(root / "dataset")
    for split in SPLITS:
        prepare(desed.read(source, split), root / split)
    other = Vocabulary("other", ("Cat", "Speech", "Dog"))
    prepare(desed.read(source, "validation", other), root / "other")
    return root


@pytest.fixture(scope="module")
def joined(folders):
    return open_data(tuple(folders / split for split in SPLITS))


def batches_of(data, n=3, **options):
    options = {"seed": 1, "batch_size": 4, "sampling": "uniform"} | SHORT | options
    iterator = training_batches(data, **options)
    found = [next(iterator) for _ in range(n)]
    iterator.close()
    return found


def test_rows_are_those_of_one_folder_after_another(joined):
    rows = [(part, i) for part in joined.parts for i in range(len(part))]
    assert len(joined) == len(joined.ids) == len(rows) == 4
    assert list(joined.ids) == [part.ids[i] for part, i in rows] == joined.ids[0:4]
    for row, (part, i) in enumerate(rows):
        assert joined.ids[row] == part.ids[i]
        assert joined.events(row) == part.events(i)
        assert joined.audio_bytes(row) == part.audio_bytes(i)
        assert joined.place(row) == part.place(i)
        assert joined.durations[row] == part.durations[i]
    assert joined.ids[-1] == rows[-1][0].ids[-1]
    with pytest.raises(IndexError):
        joined.events(4)


def test_activity_is_that_of_all_parts(joined):
    activity = joined.activity()
    parts = [part.activity() for part in joined.parts]
    assert activity.n_clips == 4
    for name in ("class_seconds", "class_clips"):
        expected = sum(getattr(part, name)() for part in parts)
        np.testing.assert_allclose(getattr(activity, name)(), expected)
    clips = np.concatenate([clips for clips, _, _ in activity.blocks()])
    expected = [row for row in range(4) for _ in joined.events(row)]
    np.testing.assert_array_equal(clips, expected)


def test_it_knows_of_which_clips_times_are_known(joined, folders):
    assert annotation_of(joined) == "mixed"
    assert [joined.knows_times(row) for row in range(4)] == [True, True, False, True]
    timed = open_data([folders / "train_strong", folders / "train_synthetic"])
    assert annotation_of(timed) == "frames" and parts_of(timed) == timed.parts
    (batch,) = batches_of(joined, 1)
    assert batch["times_known"].dtype == bool and batch["clip_labels"].shape == (4, 10)
    for row, known, labels, of_clip in zip(
        *(batch[k] for k in ("index", "times_known", "labels", "clip_labels"))
    ):
        assert known == joined.knows_times(row)
        classes = sorted({event.label for event in joined.events(row)})
        assert np.flatnonzero(of_clip).tolist() == classes
        assert not known or np.flatnonzero(labels.any(0)).tolist() == classes
    assert "times_known" not in batches_of(timed, 1)[0]


def test_a_mix_with_a_weak_clip_has_no_times(joined):
    for batch in batches_of(joined, wavmix_probability=1.0, shares=(1, 2, 1)):
        assert not batch["times_known"][np.isin(batch["index"], [2])].any()
        assert batch["clip_labels"].dtype == np.float16


def test_one_folder_is_itself(folders):
    folder = folders / "train_strong"
    for given in (folder, str(folder), (folder,)):
        found = open_data(given)
        assert isinstance(found, PreparedData) and parts_of(found) == (found,)
    assert are_there(folder) and are_there([folder])
    assert not are_there("") and not are_there((folder, "no such folder"))


def test_it_travels_to_loader_processes(joined):
    again = pickle.loads(pickle.dumps(joined))
    assert again.manifest_hash == joined.manifest_hash
    assert list(again.ids) == list(joined.ids)
    order = JoinedData(joined.parts[::-1])
    assert order.manifest_hash != joined.manifest_hash


def test_sounds_alone_need_no_classes_in_common(folders):
    strong, other = (PreparedData(folders / name) for name in ("train_strong", "other"))
    both = open_data((strong.directory, other.directory), reads_labels=False)
    assert list(both.ids) == [*strong.ids, *other.ids]
    (batch,) = batches_of(pickle.loads(pickle.dumps(both)), 1, targets=None)
    assert batch["audio"].any(1).all() and "labels" not in batch
    for read in (both.activity, lambda: both.events(0)):
        with pytest.raises(InputError, match=r"set data\.sampling=uniform"):
            read()


def test_folders_that_do_not_fit_are_named(folders):
    strong = folders / "train_strong"
    with pytest.raises(InputError, match="train_strong twice"):
        open_data((strong, folders / "train_weak", strong))
    with pytest.raises(InputError, match="other has the 3 classes of other"):
        open_data((strong, folders / "other"))
    with pytest.raises(InputError, match="names no folder"):
        open_data(())
    with pytest.raises(InputError, match="nowhere is not a folder"):
        open_data((strong, folders / "nowhere"))
