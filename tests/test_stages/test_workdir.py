import json
import subprocess
import sys
from pathlib import Path

import pytest

from jaxsed.errors import InputError
from jaxsed.stages.workdir import agree, claim

CONFIG = {"seed": 1, "every": {"log": 5}, "eval": {"metrics": ("a", "b")}}


def begin(workdir, config):
    claim(workdir, config)
    (workdir / "metrics.jsonl").touch()


def test_same_config_again_is_welcome(tmp_path):
    claim(tmp_path / "run", CONFIG)
    claim(tmp_path / "run", CONFIG)
    claim(tmp_path / "run", CONFIG | {"every": {"log": 7}})


def test_what_is_shown_may_change_in_a_link_too(tmp_path):
    begin(tmp_path, {"links": {"weak": CONFIG}})
    claim(tmp_path, {"links": {"weak": CONFIG | {"every": {"log": 7}}}})
    with pytest.raises(InputError, match=r"another links\.weak\.seed"):
        claim(tmp_path, {"links": {"weak": CONFIG | {"seed": 2}}})


@pytest.mark.parametrize(
    "change, key",
    [
        ({"seed": 2}, "seed"),
        ({"eval": {"metrics": ("a",)}}, r"eval\.metrics"),
        ({"extra": 1}, "extra"),
    ],
)
def test_another_config_is_refused_by_key(tmp_path, change, key):
    begin(tmp_path, CONFIG)
    with pytest.raises(InputError, match=f"another {key}: use another --workdir"):
        claim(tmp_path, CONFIG | change)


def test_what_was_refused_before_it_began_may_be_corrected(tmp_path):
    claim(tmp_path, {"links": {"weak": CONFIG}})
    claim(tmp_path / "weak", CONFIG)
    (tmp_path / ".xla").mkdir()
    (tmp_path / ".xla" / "program").touch()
    corrected = {"links": {"weak": CONFIG | {"seed": 2}}}
    claim(tmp_path, corrected)
    said = json.loads((tmp_path / "config.json").read_text())
    assert said["links"]["weak"]["seed"] == 2
    (tmp_path / "weak" / "metrics.jsonl").touch()
    with pytest.raises(InputError, match=r"another links\.weak\.seed"):
        claim(tmp_path, {"links": {"weak": CONFIG}})


def test_links_of_a_chain_go_on_where_its_folder_is_called_otherwise(
    tmp_path, monkeypatch
):
    def chain_in(folder, init="weak"):
        agree(folder, {"links": {"student": {"init": f"@/{init}/model"}}})
        link = {
            "init": f"{folder / init}/model",
            "rows": [["a", f"{folder / 'b'}"], []],
        }
        agree(folder / "student", link)

    monkeypatch.chdir(tmp_path)
    chain_in(Path("runs/demo"))
    chain_in(tmp_path / "runs/demo")
    (tmp_path / "runs").rename(tmp_path / "moved")
    chain_in(tmp_path / "moved/demo")
    monkeypatch.chdir(tmp_path / "moved/demo")
    chain_in(Path())
    chain_in(tmp_path / "moved/demo")
    said = json.loads((tmp_path / "moved/demo/student/config.json").read_text())
    assert said["init"] == f"{tmp_path}/moved/demo/weak/model"
    with pytest.raises(InputError, match=r"another links\.student\.init"):
        chain_in(tmp_path / "moved/demo", init="other")
    with pytest.raises(InputError, match="student holds a run with another init, rows"):
        agree(tmp_path / "moved/demo/student", {"init": "/weak/model", "rows": [[]]})


def test_a_run_may_go_on_by_other_means(tmp_path):
    means = {"mesh": {"data": -1, "fsdp": 1}, "accumulate": 1, "remat": "none"}
    means["frames"] = "run/frames"
    claim(tmp_path, CONFIG | means)
    other = {"mesh": {"data": 2, "fsdp": 4}, "accumulate": 4, "remat": "blocks"}
    other["frames"] = "/elsewhere"
    claim(tmp_path, CONFIG | other)
    # A folder from before there were such settings.
    claim(tmp_path, CONFIG | {"mesh": other["mesh"]})


def test_a_folder_in_use_is_refused(tmp_path):
    program = "import sys; from pathlib import Path; from jaxsed import locks;"
    program += "locks.hold(Path(sys.argv[1])); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        holder.stdout.readline()
        with pytest.raises(InputError, match="in use by process"):
            claim(tmp_path, CONFIG)
        holder.kill()
    claim(tmp_path, CONFIG)


def test_a_damaged_config_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"seed": 1,')
    with pytest.raises(InputError, match=r"config\.json is damaged .*: remove it if"):
        agree(tmp_path, CONFIG)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"workdir=.*cannot be written to \(Not a dir"):
        claim(tmp_path / "file" / "run", CONFIG)


def test_several_jobs_may_agree_on_a_folder_and_each_leave_out_what_is_its_own(
    tmp_path,
):
    config = {"part": "0/2", "axes": {"seed": (1,)}, "base": CONFIG}
    agree(tmp_path, config, ("part", "axes"))
    agree(
        tmp_path, {**config, "part": "1/2", "axes": {"seed": (1, 2)}}, ("part", "axes")
    )
    assert json.loads((tmp_path / "config.json").read_text())["axes"] == {
        "seed": [1, 2]
    }
    assert not (tmp_path / ".lock").exists()
    with pytest.raises(InputError, match=r"another base\.seed"):
        agree(tmp_path, {**config, "base": CONFIG | {"seed": 2}}, ("part", "axes"))
    with pytest.raises(InputError, match=r"another axes\.seed, part"):
        agree(tmp_path, {**config, "part": ""})
