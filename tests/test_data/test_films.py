import pytest

from jaxsed.data.layouts.audio_source import AudioSource, Folder
from jaxsed.data.layouts.films import is_film, refuse_films
from jaxsed.data.layouts.hdf5_pack import Hdf5Pack
from jaxsed.errors import InputError

from .clip_folders import write_sound, write_text

MP4 = b"\0\0\0\x18ftypmp42\0\0\0\0" + bytes(100)


def sources(root, *names):
    return [AudioSource(Folder(root), name) for name in names]


def test_a_folder_of_films_is_refused_with_what_to_do(tmp_path):
    for name in ("a.mp4", "b.MP4"):
        write_text(tmp_path / name, MP4)
    with pytest.raises(InputError, match=r"all 2 sounds are films.* a\.mp4.*ffmpeg -i"):
        refuse_films([None, *sources(tmp_path, "a.mp4", "b.MP4")])


def test_a_sound_among_them_is_enough(tmp_path):
    write_text(tmp_path / "a.mp4", MP4)
    refuse_films(sources(tmp_path, "a.mp4", "b.wav"))
    refuse_films([None])
    refuse_films([])


def test_a_sound_with_a_films_name_is_no_film(tmp_path):
    write_sound(tmp_path / "a.mp4", format="FLAC")
    refuse_films(sources(tmp_path, "a.mp4"))
    refuse_films(sources(tmp_path, "gone.mp4"))  # to be counted as missing


def test_rows_of_packs_are_sounds(tmp_path):
    assert not is_film(AudioSource(Hdf5Pack(tmp_path, "a.mp4"), 3))
    assert is_film(*sources(tmp_path, "x/y.m4a"))
