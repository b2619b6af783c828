import io

import numpy as np
import pytest

from jaxsed.audio.ogg_pages import is_cut_off

from .sounds import FORMATS, encoded


@pytest.mark.parametrize("ending", ["ogg", "opus"])
def test_a_file_without_its_last_page_was_cut_off(ending):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 300_000).astype(np.float32)
    whole = encoded(wave, **FORMATS[ending])
    assert not is_cut_off(io.BytesIO(whole))
    for n in (len(whole) - 1, len(whole) // 2, 3000, 60, 20, 4):
        assert is_cut_off(io.BytesIO(whole[:n]))
    assert not is_cut_off(io.BytesIO(whole + b"\0" * 100))
    # Right after a page that is whole, too.
    second = whole.index(b"OggS", 4)
    third = whole.index(b"OggS", second + 4)
    for end in (second, third):
        assert is_cut_off(io.BytesIO(whole[:end]))


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3"])
def test_other_formats_are_none_of_its_business(ending):
    whole = encoded(np.zeros(9000, np.float32), **FORMATS[ending])
    assert not is_cut_off(io.BytesIO(whole[: len(whole) // 2]))
    assert not is_cut_off(io.BytesIO(b""))
