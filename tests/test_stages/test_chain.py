import pytest

from jaxsed.errors import InputError
from jaxsed.main import run_config
from jaxsed.stages import chain


def test_links_run_in_order_in_folders_of_their_own(tmp_path):
    done = []
    stages = {"note": lambda config, workdir: done.append((config["say"], workdir))}
    links = {
        "b": {"stage": "note", "say": "first"},
        "a": {"stage": "note", "say": "@/b/model"},
    }
    config = {"stage": "chain", "order": ("b", "a"), "links": links}
    chain.run(config, tmp_path, stages)
    expected = [("first", tmp_path / "b"), (str(tmp_path / "b/model"), tmp_path / "a")]
    assert done == expected


def test_nothing_runs_if_a_later_link_is_wrong(tmp_path):
    done = []
    stages = {"note": lambda config, workdir: done.append(workdir)}
    links = {"a": {"stage": "note"}, "b": {"stage": "nope"}}
    with pytest.raises(InputError, match=r"unknown stage of link 'b' 'nope': .*note"):
        chain.run({"order": ("a", "b"), "links": links}, tmp_path, stages)
    assert not done


def test_an_order_of_links_that_are_not_there_is_refused(tmp_path):
    config = {"order": ("a", "wek"), "links": {"a": {"stage": "x"}, "weak": {}}}
    with pytest.raises(InputError, match=r"unknown link in order 'wek'.* 'weak'"):
        chain.run(config, tmp_path / "run", {"x": print})
    assert not (tmp_path / "run").exists()


def test_a_link_that_other_jobs_would_have_to_finish_is_refused_at_once(tmp_path):
    done = []
    stages = {"note": lambda config, workdir: done.append(workdir)}
    links = {"a": {"stage": "note", "part": ""}, "b": {"stage": "note", "part": "3/16"}}
    with pytest.raises(
        InputError, match=r"link 'b' has part=3/16: a chain is run by one"
    ):
        chain.run({"order": ("a", "b"), "links": links}, tmp_path / "run", stages)
    assert not done and not (tmp_path / "run").exists()


def test_paths_are_resolved_at_any_depth(tmp_path):
    config = {"x": [("@/a", "last"), "b"], "y": {"z": "@/c/d", "n": 1}}
    assert chain.resolve(config, tmp_path) == {
        "x": [(str(tmp_path / "a"), "last"), "b"],
        "y": {"z": str(tmp_path / "c/d"), "n": 1},
    }


def test_unknown_stage_is_named(tmp_path):
    with pytest.raises(InputError, match="unknown stage 'taecher'"):
        run_config({"stage": "taecher"}, tmp_path)
