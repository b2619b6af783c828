import pytest

from jaxsed.data.atomic import replacing, write_atomically
from jaxsed.errors import InputError


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("error", "seen"),
    [(OSError(28, "No space left"), InputError), (KeyError, KeyError)],
)
def test_what_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path, error, seen):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with pytest.raises(seen), replacing(path) as file:
        file.write(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be written: No such file"):
        write_atomically(tmp_path / "no folder" / "file", b"new")
