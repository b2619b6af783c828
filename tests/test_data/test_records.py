import importlib.util
import json
import multiprocessing
import os
import pickle
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from jaxsed.audio.decode import load_mono
from jaxsed.data import records
from jaxsed.data.layouts import audioset_strong
from jaxsed.data.prepare import prepare
from jaxsed.data.records import PreparedData, pack_record, unpack_record
from jaxsed.errors import InputError
from jaxsed.labels.events import Event

from .audioset_folder import write_folder

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A source of 6 clips and the folder prepared from it, in 3 shards."""
    root = tmp_path_factory.mktemp("records")
    source = write_folder(root / "source")
    prepare(audioset_strong.read(source, "train"), root / "out" / "train", n_shards=3)
    return source, root / "out" / "train"


@pytest.fixture
def copy(prepared, tmp_path):
    """A copy of the prepared folder, to be damaged."""
    return shutil.copytree(prepared[1], tmp_path / "out" / "train")


def test_everything_comes_back(prepared):
    source, folder = prepared
    data = PreparedData(folder)
    assert len(data) == 6
    assert data.ids.tolist() == [f"clip{i:03d}_{i}000" for i in range(6)]
    assert data.durations.tolist() == [10.0] * 6
    assert data.vocabulary.names == ("Bark", "Meow", "Speech")
    assert data.manifest_hash == data.manifest["content_hash"]
    assert len(data.manifest_hash) == 64
    for i, clip in enumerate(data.ids):
        file = source / "audio" / "train" / f"{clip}.flac"
        assert data.audio_bytes(i) == file.read_bytes()
        assert data.events(i) == [
            Event(1.0, 2.5, 2),
            Event(3.0 + i / 10, 4.0 + i / 10, i % 2),
        ]
    assert load_mono(data.audio_bytes(0), 16_000).shape == (160_000,)


def test_how_long_classes_sound(prepared):
    data = PreparedData(prepared[1])
    np.testing.assert_allclose(data.activity().class_seconds(), [3.0, 3.0, 9.0])
    np.testing.assert_array_equal(data.activity().class_clips(), [3, 3, 6])


def test_a_place_names_record_and_shard(prepared):
    place = PreparedData(prepared[1]).place(3)
    assert re.fullmatch(
        r"record 1 of /.*/train/shards/00001-of-00003\.array_record", place
    )


def test_few_shards_are_open_at_a_time(prepared, monkeypatch):
    expected = PreparedData(prepared[1])
    monkeypatch.setattr(records, "_OPEN_SHARDS", 1)
    data = PreparedData(prepared[1])
    for i in (0, 2, 4, 1, 5, 0):
        assert data.audio_bytes(i) == expected.audio_bytes(i)
        assert len(data._readers) == 1


def read_in_child(data, i, queue):
    queue.put(data.audio_bytes(i))


def test_spawned_processes_open_their_own_readers(prepared):
    data = PreparedData(prepared[1])
    expected = data.audio_bytes(5)  # the parent's reader is open
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    child = context.Process(target=read_in_child, args=(data, 5, queue))
    child.start()
    assert queue.get() == expected
    child.join()


FORKING = """
import os, sys
from jaxsed.data.records import PreparedData
data = PreparedData(sys.argv[1])
expected = data.audio_bytes(5)
child = os.fork()
if child == 0:
    os._exit(0 if data.audio_bytes(5) == expected else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_forked_processes_open_their_own_readers(prepared):
    # In a process of its own: this one may hold threads, which forks do not survive.
    command = [sys.executable, "-c", FORKING, prepared[1]]
    subprocess.run(command, cwd=REPOSITORY, timeout=60, check=True)


def test_pickles_are_small_and_independent_of_the_working_folder(prepared, monkeypatch):
    monkeypatch.chdir(prepared[1].parent)
    data = PreparedData("train")
    text = pickle.dumps(data)
    monkeypatch.chdir("/")
    assert len(text) < 1_000
    assert pickle.loads(text).audio_bytes(0) == data.audio_bytes(0)


def test_threads_may_read_at_once(prepared):
    data = PreparedData(prepared[1])
    expected = [data.audio_bytes(i) for i in range(6)]
    fresh = PreparedData(prepared[1])
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(fresh.audio_bytes, [i % 6 for i in range(120)]))
    assert found == expected * 20


# What is not, or no longer, a prepared folder.


def test_without_array_record_one_line_says_so(prepared, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="no build for Windows"):
        PreparedData(prepared[1])
    with pytest.raises(InputError, match="no build for Windows"):
        prepare(audioset_strong.read(prepared[0], "train"), prepared[1])


def test_array_record_takes_no_name_that_is_not_unicode(prepared, tmp_path):
    odd = tmp_path / os.fsdecode(b"\xff")
    for use in (
        lambda: prepare(audioset_strong.read(prepared[0], "train"), odd / "train"),
        lambda: PreparedData(odd),
    ):
        with pytest.raises(InputError, match="has to be Unicode"):
            use()
    assert not odd.exists()


def test_not_a_prepared_folder(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        PreparedData(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"not a prepared folder .no manifest"):
        PreparedData(tmp_path)


def test_the_folder_above_the_splits(copy):
    with pytest.raises(InputError, match=r"holds several splits; use .*train$"):
        PreparedData(copy.parent)


def test_an_unfinished_folder(copy):
    (copy / "manifest.json").unlink()
    with pytest.raises(InputError, match="unfinished; run the same `jaxsed prepare`"):
        PreparedData(copy)


def change_manifest(folder, **values):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_labels_of_folders_from_before_there_was_a_choice(prepared, copy):
    assert PreparedData(copy).labels == "multi"
    manifest = json.loads((copy / "manifest.json").read_text())
    assert manifest.pop("labels") == "multi"
    (copy / "manifest.json").write_text(json.dumps(manifest))
    claim = json.loads((copy / "shards" / "source.json").read_text())
    del claim["labels"]
    (copy / "shards" / "source.json").write_text(json.dumps(claim))
    assert PreparedData(copy).labels == "multi"
    source = audioset_strong.read(prepared[0], "train")
    assert prepare(source, copy, n_shards=3)["labels"] == "multi"  # goes on


def test_a_newer_format(copy):
    change_manifest(copy, format=records.FORMAT_VERSION + 1)
    with pytest.raises(InputError, match=r"has format 2.*update jaxsed"):
        PreparedData(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}'])
def test_a_broken_manifest(copy, text):
    (copy / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json"):
        PreparedData(copy)


def test_a_missing_shard(copy):
    (copy / "shards" / "00001-of-00003.array_record").unlink()
    with pytest.raises(InputError, match=r"00001-of-00003.array_record is missing"):
        PreparedData(copy)


def test_a_truncated_shard(copy):
    path = copy / "shards" / "00001-of-00003.array_record"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(InputError, match=r"00001-of-00003.array_record has .* cut off"):
        PreparedData(copy)


def test_a_shard_with_flipped_bits(copy):
    path = copy / "shards" / "00001-of-00003.array_record"
    content = bytearray(path.read_bytes())
    content[1_000:1_100] = bytes(byte ^ 255 for byte in content[1_000:1_100])
    path.write_bytes(content)
    data = PreparedData(copy)
    data.audio_bytes(0)
    with pytest.raises(InputError, match=r"00001-of-00003.*damaged at clip 'clip002"):
        data.audio_bytes(2)


def test_shards_of_another_index(copy):
    first, second = (copy / "shards" / f"0000{k}-of-00003.array_record" for k in (0, 1))
    content = first.read_bytes()
    second.write_bytes(content)
    shards = json.loads((copy / "manifest.json").read_text())["shards"]
    shards[1]["bytes"] = len(content)
    change_manifest(copy, shards=shards)
    with pytest.raises(InputError, match="holds clip 'clip000_0000' where the index"):
        PreparedData(copy).audio_bytes(2)


def test_a_broken_index(copy):
    (copy / "index.npz").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"index\.npz is damaged"):
        PreparedData(copy)


def test_an_index_of_other_length(copy):
    change_manifest(copy, clips=7)
    with pytest.raises(InputError, match="has 6 clips, the manifest 7"):
        PreparedData(copy)


def test_records_round_trip():
    header = {"id": "音", "channels": 2}
    assert unpack_record(pack_record(header, b"\x00audio")) == (header, b"\x00audio")
    for broken in (b"", b"\x02", b"\xff\xff\xff\xff{}", b"\x02\0\0\0[["):
        with pytest.raises(InputError, match="not a clip record"):
            unpack_record(broken)
