import os
import pickle

import pytest

from jaxsed.audio.decode import AudioError
from jaxsed.data.layouts.audio_source import AudioReader, AudioSource, Folder
from jaxsed.data.layouts.hdf5_pack import Hdf5Pack
from jaxsed.data.layouts.parquet_audio import ParquetAudio

from . import packs


def in_a_folder(root):
    packs.write_files(root)
    names = [f"audio/Y{video}.mp3" for video in packs.VIDEOS]
    return [AudioSource(Folder(root), name) for name in names]


def in_a_pack(root):
    pack = Hdf5Pack(root, packs.write_pack(root / "mp3").relative_to(root).as_posix())
    return [AudioSource(pack, row) for row in range(len(packs.SOUNDS))]


def in_parquet(root):
    path = packs.write_parquet(root, packs.clip_columns())
    container = ParquetAudio(root, path.relative_to(root).as_posix(), "audio")
    return [AudioSource(container, row) for row in range(len(packs.SOUNDS))]


def in_parquet_as_bytes(root):
    path = packs.write_parquet(root, packs.event_columns(), rows=3)
    container = ParquetAudio(root, path.relative_to(root).as_posix(), "mp3_bytes")
    return [AudioSource(container, row) for row in range(len(packs.SOUNDS))]


CONTAINERS = [in_a_folder, in_a_pack, in_parquet, in_parquet_as_bytes]


@pytest.mark.parametrize("make", CONTAINERS)
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 0, 0, 2), (2, 1)])
def test_bytes_come_back_in_any_order(make, order, tmp_path):
    sources = make(tmp_path)
    with AudioReader() as reader:
        for k in order:
            assert reader.read(sources[k]) == packs.SOUNDS[k]
    assert sources[1].read() == packs.SOUNDS[1]


@pytest.mark.parametrize("make", CONTAINERS)
def test_sources_travel_between_processes(make, tmp_path):
    sources = make(tmp_path)
    with AudioReader() as reader:
        reader.read(sources[0])  # what is open stays here
        text = pickle.dumps(sources * 100)
    assert len(text) < 20_000
    copy = pickle.loads(text)[1]
    assert copy == sources[1]
    assert copy.read() == packs.SOUNDS[1]


@pytest.mark.parametrize("make", CONTAINERS)
def test_a_fingerprint_tells_changes_without_reading(make, tmp_path):
    sources = make(tmp_path)
    before = [source.fingerprint() for source in sources]
    assert len(set(before)) == len(sources)
    assert before[0][0] == sources[0].name
    asked = []

    def stat(path):
        asked.append(path)
        return os.stat(path)

    assert sources[0].fingerprint(stat) == before[0]
    assert asked == [str(sources[0].path)]
    os.utime(sources[0].path, ns=(0, 0))
    assert sources[0].fingerprint() != before[0]
    sources[0].path.unlink()
    assert sources[0].fingerprint() is None


@pytest.mark.parametrize("make", [in_a_pack, in_parquet])
def test_a_pack_is_opened_once(make, tmp_path, monkeypatch):
    sources = make(tmp_path)
    container = type(sources[0].container)
    opened, open_it = [], container.open
    monkeypatch.setattr(container, "open", lambda it: opened.append(it) or open_it(it))
    with AudioReader() as reader:
        for source in sources:
            reader.read(source)
    assert len(opened) == 1


def test_rows_of_a_group_are_read_in_one_go(tmp_path, monkeypatch):
    """Or a group of 100 sounds would be decompressed 100 times."""
    from pyarrow import parquet

    path = packs.write_parquet(tmp_path, packs.clip_columns(), rows=4)
    container = ParquetAudio(tmp_path, path.relative_to(tmp_path).as_posix(), "audio")
    started, start = [], parquet.ParquetFile.iter_batches
    monkeypatch.setattr(
        parquet.ParquetFile,
        "iter_batches",
        lambda *args, **options: started.append(options) or start(*args, **options),
    )
    with AudioReader() as reader:
        for row, content in enumerate(packs.SOUNDS):
            assert reader.read(AudioSource(container, row)) == content
    assert [options["columns"] for options in started] == [["audio.bytes"]]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AudioError, match=r"audio/gone.wav: No such file") as error:
        AudioSource(Folder(tmp_path), "audio/gone.wav").read()
    assert error.value.kind == "missing"


def test_a_row_without_bytes_is_named(tmp_path):
    columns = packs.clip_columns()
    columns["audio"][1] = {"bytes": None, "path": "somewhere/else.mp3"}
    columns["audio"][2] = None
    path = packs.write_parquet(tmp_path, columns)
    container = ParquetAudio(tmp_path, path.relative_to(tmp_path).as_posix(), "audio")
    with AudioReader() as reader:
        for row in (1, 2):
            with pytest.raises(AudioError, match=rf"parquet.{row}.: the row has no b"):
                reader.read(AudioSource(container, row))
        assert reader.read(AudioSource(container, 3)) == packs.SOUNDS[3]


def test_a_damaged_row_of_parquet_spares_the_other_groups(tmp_path):
    from pyarrow import parquet

    path = packs.write_parquet(tmp_path, packs.clip_columns(), rows=1)
    container = ParquetAudio(tmp_path, path.relative_to(tmp_path).as_posix(), "audio")
    groups = parquet.ParquetFile(path).metadata
    chunk = next(
        column
        for column in map(groups.row_group(1).column, range(groups.num_columns))
        if column.path_in_schema == "audio.bytes"
    )
    with open(path, "r+b") as file:
        file.seek(chunk.dictionary_page_offset or chunk.data_page_offset)
        file.write(bytes(1000))
    with AudioReader() as reader:
        assert reader.read(AudioSource(container, 0)) == packs.SOUNDS[0]
        with pytest.raises(AudioError, match=r"parquet.1.: cannot be read \(") as error:
            reader.read(AudioSource(container, 1))
        assert error.value.kind == "missing"
        assert reader.read(AudioSource(container, 2)) == packs.SOUNDS[2]
