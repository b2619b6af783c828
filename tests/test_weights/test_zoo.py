import dataclasses
import hashlib
import io
import os
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.weights import download, zoo
from jaxsed.weights.torch_file import read
from jaxsed.weights.torch_file_writer import write
from jaxsed.weights.zoo_entries import ENTRIES, IMAGENET
from jaxsed.weights.zoo_entry import STAGES, Entry, Licence
from tests.test_weights import web

RELEASED = (
    *("BEATs_strong_1", "ATST-F_strong_1", "ASIT_strong_1", "fpasst_strong_1"),
    *("M2D_strong_1", "frame_mn06_strong_1", "frame_mn10_strong_1"),
    *("BEATs_weak", "ATST-F_weak", "ASIT_weak", "fpasst_weak", "M2D_weak"),
    *("BEATs_ssl", "ATST-F_ssl", "ASIT_ssl", "fpasst_ssl", "M2D_ssl"),
)


class TestEntries:
    def test_every_checkpoint_of_the_release_is_there(self):
        assert set(RELEASED) <= {entry.name for entry in ENTRIES}

    def test_names_and_files_are_unique_whatever_their_case(self):
        names = [name.lower() for e in ENTRIES for name in (e.name, *e.aliases)]
        assert len(set(names)) == len(names)
        files = [entry.file.lower() for entry in ENTRIES if entry not in IMAGENET]
        assert len(set(files)) == len(files)

    @pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
    def test_is_complete(self, entry):
        assert entry.encoder in sed.ENCODERS
        assert entry.stage in STAGES
        assert entry.licence.name and entry.licence.source
        assert entry.urls or entry.pages
        assert all(url.startswith("https://") for url in (*entry.urls, *entry.pages))
        assert re.fullmatch(r"arXiv:\d{4}\.\d{5}", entry.paper)
        assert entry.sha256 is None or re.fullmatch(r"[0-9a-f]{8,64}", entry.sha256)
        assert Path(entry.file).name == entry.file

    def test_published_scores_are_those_of_the_five_transformers(self):
        scores = {entry.name: entry.psds1 for entry in ENTRIES if entry.psds1}
        assert scores == {
            "BEATs_strong_1": 46.5,
            "ATST-F_strong_1": 45.8,
            "fpasst_strong_1": 45.4,
            "M2D_strong_1": 46.3,
            "ASIT_strong_1": 46.2,
        }


class TestFind:
    @pytest.mark.parametrize(
        "name",
        ["BEATs_strong_1", "beats_STRONG_1", " BEATs_strong_1 ", "BEATs_strong_1.pt"],
    )
    def test_case_and_ending_do_not_matter(self, name):
        assert zoo.find(name).name == "BEATs_strong_1"

    @pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
    def test_every_name_finds_its_entry(self, entry):
        for name in (entry.name, *entry.aliases):
            assert zoo.find(name) is entry
        assert entry in IMAGENET or zoo.find(entry.file) is entry

    def test_the_nearest_name_is_suggested(self):
        with pytest.raises(InputError, match="did you mean 'ATST-F_strong_1'"):
            zoo.find("atst_f_strong_1")


@pytest.mark.parametrize(
    ("environment", "platform", "folder"),
    [
        ({"JAXSED_CACHE": "/c"}, "linux", "/c/weights"),
        ({"XDG_CACHE_HOME": "/x"}, "linux", "/x/jaxsed/weights"),
        ({}, "linux", "/home/a/.cache/jaxsed/weights"),
        ({}, "darwin", "/home/a/Library/Caches/jaxsed/weights"),
        ({"LOCALAPPDATA": "/l"}, "win32", "/l/jaxsed/weights"),
        ({"JAXSED_CACHE": "~/c"}, "win32", "/home/a/c/weights"),
    ],
)
def test_cache_folder(monkeypatch, environment, platform, folder):
    for name in ("JAXSED_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/a", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert zoo.cache_folder() == Path(folder)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("content") / "a.pt"
    write(path, {"head.weight": np.arange(2000, dtype=np.float32)})
    return path.read_bytes()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSED_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("JAXSED_WEIGHTS_DIR", raising=False)
    monkeypatch.setattr(download, "BACKOFF_SECONDS", 0.001)
    return tmp_path / "cache" / "weights"


@pytest.fixture(scope="module")
def server():
    with web.running() as running:
        yield running


@pytest.fixture
def entry(server, content, request):
    url = server.add(f"/{request.node.name}.pt", content)
    return Entry(
        *("tiny_strong_1", "tiny.pt", "beats", "strong", Licence("MIT", "here")),
        urls=(url,),
        pages=("https://example.org/tiny",),
    )


def fetch(entry, offline_dir=None):
    return zoo.fetch(entry, offline_dir, progress=False)


class TestFetch:
    def test_downloads_once_into_the_cache(self, server, cache, entry, content):
        assert zoo.local_path(entry) is None
        assert fetch(entry) == cache / "tiny.pt"
        asked = len(server.requests)
        assert fetch(entry) == zoo.local_path(entry) == cache / "tiny.pt"
        assert len(server.requests) == asked
        assert read(cache / "tiny.pt").content["head.weight"][7] == 7
        assert sorted(path.name for path in cache.iterdir()) == [
            "tiny.pt",
            "tiny.pt.sha256",
        ]

    def test_records_the_checksum_and_keeps_to_it(self, cache, entry, content):
        path = fetch(entry)
        digest = hashlib.sha256(content).hexdigest()
        assert (cache / "tiny.pt.sha256").read_text() == f"{digest}  tiny.pt\n"
        changed = bytearray(content)
        changed[4000] ^= 1
        path.write_bytes(changed)
        with pytest.raises(
            InputError, match=rf"first.*delete {path} and fetch it again"
        ):
            fetch(entry)

    def test_a_second_download_must_be_the_same_file(
        self, server, cache, entry, tmp_path
    ):
        path = fetch(entry)
        path.unlink()
        write(tmp_path / "other.pt", {"head.weight": np.zeros(2000, np.float32)})
        other = server.add("/other.pt", (tmp_path / "other.pt").read_bytes())
        with pytest.raises(InputError, match="whose sha256 does not begin with"):
            fetch(dataclasses.replace(entry, urls=(other,)))
        assert zoo.local_path(entry) is None

    def test_a_known_checksum_is_kept_to(self, cache, entry, content):
        digest = hashlib.sha256(content).hexdigest()
        known = dataclasses.replace(entry, sha256=digest[:8], size_bytes=len(content))
        fetch(known)
        wrong = dataclasses.replace(entry, sha256="0" * 64)
        with pytest.raises(InputError, match="where the released file has 0000"):
            fetch(wrong)
        short = dataclasses.replace(entry, size_bytes=7)
        with pytest.raises(InputError, match="bytes where the released file has 7"):
            fetch(short)

    @pytest.mark.parametrize(
        "instead", [b"<!DOCTYPE html><html>Not found</html>", b"", b"no checkpoint"]
    )
    def test_what_is_no_checkpoint_is_not_kept(self, server, cache, entry, instead):
        url = server.add("/no.pt", instead)
        with pytest.raises(InputError, match="gave something else"):
            fetch(dataclasses.replace(entry, urls=(url,)))
        assert list(cache.iterdir()) == []

    def test_a_file_cut_short_by_the_server_is_not_kept(
        self, server, cache, entry, content
    ):
        url = server.add("/short.pt", content, web.announces(len(content) - 100))
        with pytest.raises(InputError, match=r"gave something else.*cut off"):
            fetch(dataclasses.replace(entry, urls=(url,)))
        assert list(cache.iterdir()) == []

    def test_says_what_to_download_by_hand(self, cache, entry):
        gone = dataclasses.replace(entry, urls=(entry.urls[0] + "x",))
        with pytest.raises(InputError) as caught:
            fetch(gone)
        message = str(caught.value)
        assert message.startswith(f"tiny_strong_1: {gone.urls[0]} answers 404")
        assert f"download {gone.urls[0]} or https://example.org/tiny" in message
        assert f"save it as {cache / 'tiny.pt'}" in message
        assert "\n" not in message

    def test_by_hand_only(self, cache, entry):
        with pytest.raises(
            InputError, match=r"automatically\. By hand: .*example\.org"
        ):
            fetch(dataclasses.replace(entry, urls=()))

    def test_a_file_put_there_by_hand_is_taken(self, cache, entry, content):
        cache.mkdir(parents=True)
        (cache / "tiny.pt").write_bytes(content)
        assert fetch(dataclasses.replace(entry, urls=())) == cache / "tiny.pt"
        (cache / "tiny.pt.sha256").unlink()
        (cache / "tiny.pt").write_bytes(b"<html>saved by mistake</html>")
        with pytest.raises(InputError, match="web page"):
            fetch(entry)


class TestOffline:
    def test_the_offline_folder_comes_first(self, cache, entry, content, tmp_path):
        fetch(entry)
        offline = tmp_path / "offline"
        offline.mkdir()
        assert zoo.local_path(entry, offline) == cache / "tiny.pt"
        (offline / "tiny.pt").write_bytes(content)
        assert fetch(entry, offline) == offline / "tiny.pt"
        assert [path.name for path in offline.iterdir()] == ["tiny.pt"]

    def test_folders_of_the_environment(
        self, cache, entry, content, tmp_path, monkeypatch
    ):
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "tiny.pt").write_bytes(content)
        folders = os.pathsep.join((str(tmp_path / "a"), "", str(tmp_path / "b")))
        monkeypatch.setenv("JAXSED_WEIGHTS_DIR", folders)
        assert fetch(dataclasses.replace(entry, urls=())) == tmp_path / "b" / "tiny.pt"
        assert not cache.exists()

    def test_a_wrong_file_there_is_named(self, cache, entry, tmp_path):
        (tmp_path / "tiny.pt").write_bytes(b"too short")
        known = dataclasses.replace(entry, size_bytes=10_000)
        with pytest.raises(InputError, match=rf"replace {tmp_path / 'tiny.pt'}"):
            fetch(known, tmp_path)

    def test_no_folder(self, entry, tmp_path):
        with pytest.raises(InputError, match=r"--offline-dir=.*none is not a folder"):
            fetch(entry, tmp_path / "none")


class TestArchives:
    """A checkpoint that is released in a zip archive."""

    def archive(self, server, request, files):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return server.add(f"/{request.node.name}.zip", file.getvalue())

    def test_the_checkpoint_in_it_is_kept(self, server, cache, entry, content, request):
        files = {"model/readme.txt": b"x", "model/weights_ep67.pth": content}
        url = self.archive(server, request, files)
        packed = dataclasses.replace(entry, urls=(url,), member=".pth")
        assert fetch(packed) == cache / "tiny.pt"
        assert (cache / "tiny.pt").read_bytes() == content
        assert sorted(path.name for path in cache.iterdir()) == [
            "tiny.pt",
            "tiny.pt.sha256",
        ]

    @pytest.mark.parametrize("names", [(), ("a.pth", "b.pth")])
    def test_none_or_several_in_it(self, server, cache, entry, request, names):
        url = self.archive(server, request, dict.fromkeys(names, b"x"))
        packed = dataclasses.replace(entry, urls=(url,), member=".pth")
        with pytest.raises(InputError, match=r"unpack the \.pth file in it") as caught:
            fetch(packed)
        assert f"{len(names)} of its files end in .pth" in str(caught.value)
        assert list(cache.iterdir()) == []

    def test_no_checkpoint_in_it(self, server, cache, entry, request):
        url = self.archive(server, request, {"a.pth": b"hello"})
        packed = dataclasses.replace(entry, urls=(url,), member=".pth")
        message = r"gave something else.*a\.pth in it.*text file that begins 'hello'"
        with pytest.raises(InputError, match=message) as caught:
            fetch(packed)
        assert ".tmp" not in str(caught.value)
        assert list(cache.iterdir()) == []

    def test_a_damaged_one_is_fetched_again(
        self, server, cache, entry, content, request
    ):
        """One that zlib stumbles over; kept, it would be in the way of every other."""
        url = self.archive(server, request, {"a.pth": content})
        packed = dataclasses.replace(entry, urls=(url,), member=".pth")
        path = f"/{request.node.name}.zip"
        whole, _ = server.files[path]
        server.add(path, whole[:40] + bytes([255] * 40) + whole[80:])
        with pytest.raises(
            InputError, match=r"gave something else.*cannot be unpacked"
        ):
            fetch(packed)
        assert list(cache.iterdir()) == []
        server.add(path, whole)
        assert fetch(packed).read_bytes() == content


def test_one_file_may_be_the_start_of_several_models():
    names = {
        "deit_base_distilled_patch16_384": "fpasst",
        "deit_base_distilled_patch16_384-d0272ac0.pth": "fpasst",
        "ast_imagenet": "ast",
        "AST_imagenet_s16": "ast_s16",
    }
    entries = {name: zoo.find(name) for name in names}
    assert {name: entry.encoder for name, entry in entries.items()} == names
    assert len({entry.file for entry in entries.values()}) == 1
