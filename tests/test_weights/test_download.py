import hashlib
import json
import shutil
import threading
import time
from collections import namedtuple

import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.weights import download as download_module
from jaxsed.weights import download_request
from jaxsed.weights.download import download
from jaxsed.weights.download_request import Wanted
from tests.test_weights import web

CONTENT = np.random.default_rng(0).bytes(1_000_003)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = np.random.default_rng(1).bytes(len(CONTENT))
CASES = {"unknown": {}, "known": {"size_bytes": len(CONTENT), "sha256": SHA256}}


@pytest.fixture(scope="module")
def server():
    with web.running() as running:
        yield running


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(download_module, "BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(download_request, "TIMEOUT_SECONDS", 0.5)


@pytest.fixture
def serve(server, request):
    """Serves content at an address of this test's own."""

    def add(content=CONTENT, behaviour=None, name="file"):
        return server.add(f"/{request.node.name}/{name}", content, behaviour)

    return add


@pytest.fixture
def target(tmp_path):
    return tmp_path / "folder" / "weights.pt"


def fetched(target, *urls, **known):
    """Downloads and asserts that it is the file and that nothing else is left."""
    assert download(Wanted(urls, target, **known), progress=False) == target
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def refused(target, *urls, **known):
    """Asserts that nothing that could be taken for the file is there; returns why."""
    with pytest.raises(InputError) as caught:
        download(Wanted(urls, target, **known), progress=False)
    assert not target.exists()
    assert not list(target.parent.glob(".*.lock"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("known", CASES.values(), ids=CASES)
class TestUnsteadyServers:
    def test_a_good_one(self, serve, target, known):
        fetched(target, serve(), **known)

    def test_drops_the_connection_again_and_again(self, server, serve, target, known):
        url = serve(behaviour=web.drops(150_000))
        fetched(target, url, **known)
        path = url.partition("//")[2].partition("/")[2]
        starts = server.ranges(f"/{path}")
        assert starts == [None, *(f"bytes={150_000 * k}-" for k in range(1, 7))]

    def test_ignores_range(self, serve, target, known):
        fetched(target, serve(behaviour=web.ignores_range(600_000)), **known)

    def test_troubles_that_pass(self, serve, target, known):
        fetched(target, serve(behaviour=web.answers(503, times=3)), **known)

    def test_redirects(self, serve, target, known):
        away = serve(name="away")
        fetched(target, serve(behaviour=web.answers(302, Location=away)), **known)

    def test_stalls(self, serve, target, known):
        def stalls(handler, content, earlier):
            if earlier:
                web.serve(handler, content, earlier)
            else:
                handler.begin(200, len(content), ETag='"one"')
                handler.wfile.write(content[:1000])
                handler.wfile.flush()
                time.sleep(1)

        fetched(target, serve(behaviour=stalls), **known)

    def test_no_length(self, serve, target, known):
        def chunked(handler, content, earlier):
            handler.begin(200, None)
            handler.wfile.write(content)

        fetched(target, serve(behaviour=chunked), **known)

    def test_the_next_address_is_asked(self, serve, target, known):
        bad = [
            serve(name="404", behaviour=web.answers(404)),
            serve(name="500", behaviour=web.answers(500)),
            serve(name="page", behaviour=web.web_page),
            "http://127.0.0.1:9/refused",
            "ftp://127.0.0.1/file",
            "not an address",
        ]
        fetched(target, *bad, serve(), **known)

    def test_a_half_from_one_and_the_rest_from_another(self, serve, target, known):
        def first_half_only(handler, content, earlier):
            web.serve(handler, content, earlier, 500_000 if earlier == 0 else 0)

        half = serve(name="half", behaviour=first_half_only)
        fetched(target, half, serve(), **known)


class TestLies:
    def test_more_announced_than_sent(self, serve, target):
        url = serve(behaviour=web.announces(len(CONTENT) + 10))
        message = refused(target, url)
        assert "breaks off after 1,000,003 of 1,000,013 bytes" in message

    def test_less_announced_than_sent(self, serve, target):
        url = serve(behaviour=web.announces(len(CONTENT) - 10))
        message = refused(target, url, size_bytes=len(CONTENT))
        assert "offers 999,993 bytes where the file has 1,000,003" in message

    def test_less_announced_than_sent_is_seen_by_the_check(self, serve, target):
        def check(path):
            if path.stat().st_size < len(CONTENT):
                raise InputError(f"{path}: cut off")

        url = serve(behaviour=web.announces(len(CONTENT) - 10))
        assert "gave something else (cut off)" in refused(target, url, check=check)
        assert list(target.parent.iterdir()) == []

    def test_wrong_bytes(self, serve, target):
        message = refused(target, serve(OTHER), size_bytes=len(OTHER), sha256=SHA256)
        assert "sha256 does not begin with" in message
        assert list(target.parent.iterdir()) == []

    def test_wrong_bytes_here_and_right_ones_there(self, serve, target):
        bad = serve(OTHER, name="bad")
        fetched(target, bad, serve(), **CASES["known"])

    def test_another_part_than_asked_for(self, serve, target):
        def behave(handler, content, earlier):
            if earlier == 0:
                web.serve(handler, content, earlier, 1000)
            else:
                handler.begin(206, 10, Content_Range="bytes 5-14/1000003")
                handler.wfile.write(content[5:15])

        assert "gives another part" in refused(target, serve(behaviour=behave))

    def test_a_web_page(self, serve, target):
        message = refused(target, serve(behaviour=web.web_page))
        assert "web page instead of the file" in message

    def test_redirects_in_circles(self, serve, target):
        url = serve(behaviour=None)
        serve(behaviour=web.answers(302, Location=url))
        assert "infinite loop" in refused(target, url)

    def test_redirects_to_a_local_file(self, serve, target, tmp_path):
        (tmp_path / "secret").write_bytes(CONTENT)
        behaviour = web.answers(302, Location=f"file://{tmp_path}/secret")
        assert "not allowed" in refused(target, serve(behaviour=behaviour))

    def test_every_answer_is_named(self, serve, target):
        urls = [
            serve(name="404", behaviour=web.answers(404)),
            serve(name="500", behaviour=web.answers(500)),
        ]
        message = refused(target, *urls)
        assert f"{urls[0]} answers 404" in message
        assert f"{urls[1]} answers 500" in message


class TestGoingOn:
    """A part of an earlier run, of this file or of another one."""

    def leave_part(self, target, content, **source):
        wanted = Wanted((), target)
        target.parent.mkdir()
        wanted.part.write_bytes(content)
        if source:
            wanted.source.write_text(json.dumps(source))

    def test_goes_on_where_it_was_killed(self, server, serve, target):
        url = serve()
        self.leave_part(target, CONTENT[:700_000], url=url, validator='"one"')
        fetched(target, url)
        assert server.requests[-1][1] == "bytes=700000-"

    def test_starts_again_if_the_file_has_changed(self, serve, target):
        url = serve()
        self.leave_part(target, OTHER[:700_000], url=url, validator='"old"')
        fetched(target, url)

    def test_starts_again_if_nothing_tells_what_the_part_is(
        self, server, serve, target
    ):
        url = serve()
        self.leave_part(target, OTHER[:700_000])
        fetched(target, url)
        assert server.requests[-1][1] is None

    def test_starts_again_if_the_part_proves_wrong(self, serve, target):
        url = serve()
        self.leave_part(target, OTHER[:700_000])
        fetched(target, url, **CASES["known"])

    @pytest.mark.parametrize("extra", [0, 5])
    def test_a_part_that_is_whole_or_too_long(self, serve, target, extra):
        url = serve()
        part = CONTENT + bytes(extra)
        self.leave_part(target, part, url=url, validator='"one"')
        fetched(target, url)

    def test_a_damaged_note_about_the_part(self, serve, target):
        self.leave_part(target, OTHER[:10])
        Wanted((), target).source.write_bytes(b"\xff{")
        fetched(target, serve())

    def test_what_has_arrived_is_kept(self, serve, target):
        def first_only(handler, content, earlier):
            web.serve(handler, content, earlier, 300_000 if earlier == 0 else 0)

        url = serve(behaviour=first_only)
        assert "breaks off after 300,000" in refused(target, url)
        assert Wanted((), target).part.read_bytes() == CONTENT[:300_000]
        serve()  # the same address, well again
        fetched(target, url)


def test_a_file_that_is_there_is_not_asked_for(target):
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    fetched(target, "http://127.0.0.1:9/refused")


def test_two_at_once_make_one_download(server, serve, target):
    def slow(handler, content, earlier):
        handler.begin(200, len(content), ETag='"one"')
        for start in range(0, len(content), 100_000):
            handler.wfile.write(content[start : start + 100_000])
            time.sleep(0.01)

    url = serve(behaviour=slow)
    before = len(server.requests)
    threads = [
        threading.Thread(target=download, args=(Wanted([url], target), False))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert len(server.requests) - before == 1


def test_no_room(serve, target, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1))
    message = refused(target, serve())
    assert "0 MB free and 1 MB are needed; make room, or set JAXSED_CACHE" in message


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be written"):
        download(Wanted(("http://127.0.0.1:9/",), tmp_path / "file" / "a.pt"), False)
