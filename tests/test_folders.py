from jaxsed import folders


def found(root, **settings):
    problems = []
    walked = folders.walk(root, problems.append, **settings)
    names = {f"{folder}/{name}" for folder, files in walked for name in files}
    return sorted(name.removeprefix(f"{root}/") for name in names), problems


def test_no_folder_twice_nothing_hidden_and_what_is_to_be_left_out(tmp_path):
    for name in ("a/x", "b/y", ".trash/z", "out/o", "cache/c", "a/.hidden"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "c").symlink_to(tmp_path / "a")  # a comes first
    assert found(tmp_path) == (["a/x", "b/y", "cache/c", "out/o"], [])
    settings = {"exclude": tmp_path / "out", "other_folders": ("cache",)}
    assert found(tmp_path, **settings) == (["a/x", "b/y"], [])


def test_a_folder_that_cannot_be_read_is_told(tmp_path):
    names, problems = found(tmp_path / "gone")
    assert not names and problems[0].filename == str(tmp_path / "gone")
