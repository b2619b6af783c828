"""Files made to do harm: nothing runs, memory stays bounded, one line says no."""

import io
import os
import pickle
import struct
import sys
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.weights import torch_file, torch_pickle
from jaxsed.weights.torch_content import MAX_DEPTH, Placeholder, flatten

GOLDEN = Path(__file__).parents[1] / "golden" / "torch"
MEMORY_LIMIT_BYTES = 200 * 2**20
# What opening a file may do; everything else that Python reports is an execution.
HARMLESS = {"open", "mmap.__new__", "builtins.id"}


class Watch:
    """Records the audit events of this thread's doings while it is on."""

    events: list[str] | None = None

    def __call__(self, event, args):
        if self.events is not None and event not in HARMLESS:
            self.events.append(event)


WATCH = Watch()
sys.addaudithook(WATCH)


def opened(path):
    """Reads a file and asserts that nothing but reading took place."""
    WATCH.events = []
    try:
        return torch_file.read(path)
    finally:
        events, WATCH.events = WATCH.events, None
        assert events == []


@pytest.fixture(autouse=True, scope="module")
def imports_done():
    torch_file.read(GOLDEN / "lightning.ckpt")
    b"a".decode("cp437")  # of names in zip archives; codecs are imported at first use


@pytest.fixture
def checkpoint(tmp_path):
    """Writes a zip checkpoint around a pickle and storages of bytes."""

    def make(pickled, storages=None, compression=zipfile.ZIP_STORED):
        path = tmp_path / "bad.pt"
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("archive/data.pkl", pickled)
            for key, content in (storages or {}).items():
                archive.writestr(f"archive/data/{key}", content)
        return path

    return make


def text(value):
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


COMMAND = text("touch executed")
# Each is the body of a pickle that an ordinary unpickler would act on.
ATTACKS = {
    "os.system": b"cos\nsystem\n" + COMMAND + b"\x85R",
    "posix.system": b"cposix\nsystem\n" + COMMAND + b"\x85R",
    "subprocess": b"csubprocess\nPopen\n" + COMMAND + b"\x85R",
    "eval": b"cbuiltins\neval\n" + text("open('executed', 'w')") + b"\x85R",
    "exec": b"c__builtin__\nexec\n" + text("open('executed', 'w')") + b"\x85R",
    "import": b"cbuiltins\n__import__\n" + text("antigravity") + b"\x85R",
    "open": b"cbuiltins\nopen\n" + text("executed") + text("w") + b"\x86R",
    "dotted": b"ctorch\n_utils.__builtins__.eval\n" + text("1+1") + b"\x85R",
    "getattr": b"cbuiltins\ngetattr\n" + b"ctorch\n_utils\n" + text("os") + b"\x86R",
    "chain": b"cbuiltins\ngetattr\ncos\npath\n" + text("os") + b"\x86R)R)R",
    "stack_global": b"\x8c\x02os\x8c\x06system\x93" + COMMAND + b"\x85R",
    "inst": b"(" + COMMAND + b"ios\nsystem\n",
    "obj": b"(cos\nsystem\n" + COMMAND + b"o",
    "newobj": b"cos\nsystem\n" + COMMAND + b"\x85\x81",
    "newobj_ex": b"cos\nsystem\n" + COMMAND + b"\x85}\x92",
    "setstate": b"cos\nsystem\n)R}" + text("__setstate__") + b"cos\nsystem\nsb"
    b"}" + text("x") + COMMAND + b"sb",
    "class": b"cargparse\nNamespace\n)\x81}"
    + text("__class__")
    + b"cos\n_wrap_close\nsb",
    "slots": b"ccollections\nOrderedDict\nN}" + text("update") + b"cos\nsystem\ns\x86b",
    "extension": b"\x82\x01" + COMMAND + b"\x85R",
    "extension 4": b"\x84\x01\x00\x00\x00)R",
    "nested load": b"ctorch.storage\n_load_from_bytes\nC\x0fcos\nsystem\n(tR.\x85R",
    "reconstructor": b"ccopyreg\n_reconstructor\n(cos\nsystem\nc__builtin__\nobject\nNtR",
    "numpy array of objects": b"cnumpy.core.multiarray\n_reconstruct\n"
    b"(cnumpy\nndarray\nK\x00\x85C\x01btR(K\x01K\x01\x85cnumpy\ndtype\n"
    + text("O8")
    + b"\x85R\x89]"
    + COMMAND
    + b"atb",
    "hooks": b"ctorch._utils\n_rebuild_parameter\n(cos\nsystem\n\x88cos\nsystem\ntR",
    "rebuild type": b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\n"
    b"cos\nsystem\n" + COMMAND + b"\x85}tR",
    "default factory": b"ccollections\ndefaultdict\ncos\nsystem\n\x85R",
    "persistent id": b"cos\nsystem\n" + COMMAND + b"\x85RQ",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_runs(attack, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = opened(checkpoint(b"\x80\x04" + ATTACKS[attack] + b"."))
    assert isinstance(found.content, (Placeholder, dict))
    assert sorted(os.listdir(tmp_path)) == ["bad.pt"]
    assert found.foreign or found.content == {}


def test_the_watch_sees_what_an_unpickler_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    WATCH.events = []
    pickle.loads(b"\x80\x04" + ATTACKS["os.system"] + b".")
    events, WATCH.events = WATCH.events, None
    assert "os.system" in events
    assert os.listdir(tmp_path) == ["executed"]


def test_a_legacy_file_runs_nothing_either(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    attack = b"\x80\x02" + ATTACKS["os.system"] + b"."
    (tmp_path / "a.pt").write_bytes(
        head + attack
    )  # in the place of the machine's facts
    with pytest.raises(InputError, match="damaged"):
        opened(tmp_path / "a.pt")
    whole = head + pickle.dumps({}, 2) + attack + pickle.dumps([], 2)
    (tmp_path / "a.pt").write_bytes(whole)
    assert opened(tmp_path / "a.pt").foreign == ("os.system",)
    assert os.listdir(tmp_path) == ["a.pt"]


def laughs():
    """Ten lists, each holding the next one ten times: 10^10 values when unfolded."""
    body = b"]\x94"
    for level in range(9):
        body = (
            body
            + b"]("
            + b"h"
            + bytes([level])
            + (b"h" + bytes([level])) * 9
            + b"e\x94"
        )
    return b"\x80\x04" + body + b"."


def tensor(offset=0, size=(2,), stride=(1,), n_elements=4, kind="FloatStorage"):
    def number(value):
        return b"J" + struct.pack("<i", value)

    def numbers(values):
        return b"(" + b"".join(map(number, values)) + b"t"

    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(("
        + text("storage")
        + f"ctorch\n{kind}\n".encode()
        + text("0")
        + text("cpu")
        + number(n_elements)
        + b"tQ"
        + number(offset)
        + numbers(size)
        + numbers(stride)
        + b"\x89NtR."
    )


HUGE = struct.pack("<Q", 2**40)
REFUSED = {
    "lists, 100,000 deep": (b"]" * 100_000 + b"a" * 99_999 + b".", "nest deeper"),
    "tuples, 100,000 deep": (b")" + b"\x85" * 100_000 + b".", "nest deeper"),
    "dicts, 100,000 deep": (b"}K\x00" * 100_000 + b"N" + b"s" * 100_000 + b".", "nest"),
    "a list in itself": (b"]q\x00h\x00a.", "holds itself"),
    "a tuple in itself": (
        b"](h\x00t." if False else b"]q\x00h\x00\x85a.",
        "holds itself",
    ),
    "bytes, 1 TB claimed": (b"\x8e" + HUGE + b"x.", "damaged"),
    "bytearray, 1 TB claimed": (b"\x96" + HUGE + b"x.", "damaged"),
    "text, 1 TB claimed": (b"\x8d" + HUGE + b"x.", "damaged"),
    "number, 2 GB claimed": (b"\x8b\xff\xff\xff\x7f1.", "damaged"),
    "number, 10 kB": (b"\x8b\x10\x27\x00\x00" + b"\x7f" * 10_000 + b".", "digits"),
    "number in text": (b"I" + b"9" * 100_000 + b"\n.", "damaged"),
    "text that swells": (
        text("a" * 2**20)
        + b"q\x000"
        + (b"c_codecs\nencode\n(h\x00" + text("latin1") + b"tR") * 100
        + b".",
        "swells",
    ),
    "out of band": (b"\x97.", "opcode NEXT_BUFFER"),
    "no end": (b"]", "damaged"),
    "no stack": (b"\x87.", "takes more from the stack"),
    "no mark": (b"t.", "damaged"),
    "no memo": (b"h\x07.", "damaged"),
    "unknown opcode": (b"\xff.", "damaged"),
    "nothing": (b"", "damaged"),
    "calls text": (text("os.system") + b")R.", "calls what is not a function"),
    "calls without arguments": (b"cos\nsystem\nNR.", "without arguments"),
    "state of a number": (b"K\x01}b.", "can have none"),
    "appends to text": (text("a") + b"K\x01a.", "not a list"),
    "half an item": (b"}(K\x01u.", "not a dict"),
    "beyond the storage": (tensor(offset=3), "reaches beyond the 4 elements"),
    "strides beyond the storage": (tensor(size=(2, 2), stride=(4, 1)), "beyond"),
    "many repeats": (tensor(size=(2**30, 2**30), stride=(0, 0)), "beyond"),
    "negative stride": (tensor(offset=1, stride=(-1,)), "negative"),
    "negative offset": (tensor(offset=-1), "negative"),
    "negative size": (tensor(size=(-2,)), "negative"),
    "another number of strides": (tensor(size=(2, 2)), "does not fit its strides"),
    "100 axes": (tensor(size=(1,) * 100, stride=(0,) * 100), "does not fit"),
    "empty, but huge": (tensor(size=(0, 2**30), stride=(0, 0)), "empty tensor"),
    "storage too short": (tensor(n_elements=5), "shorter than it says"),
    "numpy shape": (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
        b"(K\x01J\xff\xff\xff\x7f\x85cnumpy\ndtype\n" + text("f8") + b"\x85R\x89C\x08"
        b"12345678tb.",
        "damaged",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bombs_are_refused_in_bounded_memory(case, checkpoint):
    pickled, message = REFUSED[case]
    path = checkpoint(pickled, {"0": np.zeros(4, np.float32).tobytes()})
    tracemalloc.start()
    started = time.monotonic()
    try:
        with pytest.raises(InputError, match=message) as caught:
            opened(path)
        assert tracemalloc.get_traced_memory()[1] < MEMORY_LIMIT_BYTES
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 60


def test_more_opcodes_than_any_checkpoint_has(checkpoint, monkeypatch):
    monkeypatch.setattr(torch_pickle, "MAX_OPCODES", 1000)
    with pytest.raises(InputError, match="more than 1,000 opcodes"):
        opened(checkpoint(b"\x8f" * 1002 + b"."))


def test_a_pickle_longer_than_any_checkpoint_s(checkpoint, monkeypatch):
    monkeypatch.setattr(torch_pickle, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match="larger than 1,000 bytes"):
        opened(checkpoint(text("a" * 1000) + b"."))


def test_a_memo_index_is_only_a_number(checkpoint):
    path = checkpoint(b"K\x05r\xff\xff\xff\xff0j\xff\xff\xff\xff.")
    tracemalloc.start()
    assert opened(path).content == 5
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_containers_that_hold_each_other_often_do_not_unfold(checkpoint):
    content = opened(checkpoint(laughs())).content
    with pytest.raises(InputError, match="unfolding them would fill the memory"):
        flatten(content)


def test_paths_do_not_multiply_long_keys(checkpoint):
    key = "k" * 20_000
    path = checkpoint(pickle.dumps({key: [{"x": 1}] * 50}, 2))
    with pytest.raises(InputError, match="unfolding"):
        flatten(opened(path).content)


def test_a_key_that_is_part_of_many_paths_is_counted_in_each(checkpoint):
    """100 kB of file that would be 45 MB of paths, of 450 steps each."""
    array = pickle.dumps(np.zeros(1), 2)[2:-1]
    held = text("k." * 450) + b"](" + b"h\xff" * 50_000 + b"es"
    path = checkpoint(b"\x80\x02" + array + b"q\xff0}" + held + b".")
    assert path.stat().st_size < 2**17
    with pytest.raises(InputError, match="unfolding"):
        flatten(opened(path).content)


def test_two_tensors_of_one_path_are_refused():
    array = np.zeros(1)
    with pytest.raises(InputError, match=r"two of its tensors are called 'a\.b'"):
        flatten({"a": {"b": array}, "a.b": array})


def test_as_deep_as_allowed_can_be_walked_through(checkpoint):
    depth = MAX_DEPTH - 1
    content = opened(checkpoint(b"]" * depth + b"a" * (depth - 1) + b".")).content
    assert flatten(content) == {}


def test_foreign_objects_may_nest_and_hold_themselves(checkpoint):
    chain = b"cfoo\nbar\n" * 50_000 + b")R" + b"\x85R" * 49_999
    found = opened(checkpoint(chain + b"."))
    assert found.foreign == ("foo.bar",)
    itself = opened(checkpoint(b"cfoo\nbar\n)Rq\x00}" + text("me") + b"h\x00sb."))
    assert itself.content.state["me"] is itself.content


def test_keys_that_cannot_be_hashed_safely_are_wrapped(checkpoint):
    deep_tuple = b")" + b"\x85" * 50
    # All tuples of -1 and -2 have the same hash: thousands in a dict take minutes.
    same_hash = b"(" + b"J\xff\xff\xff\xff" * 8 + b"J\xfe\xff\xff\xff" * 8 + b"t"
    for odd in (deep_tuple, same_hash):
        (key,) = opened(checkpoint(b"}" + odd + b"K\x01s.")).content
        assert isinstance(key, Placeholder)
    found = opened(checkpoint(b"}]K\x01s."))  # a list as key
    assert isinstance(next(iter(found.content)), Placeholder)


def test_rounded_tensors_of_other_devices_are_bounded(checkpoint):
    """A thousand times 1 MB of bfloat16, all of one array in the file."""
    array = pickle.dumps(np.zeros(2**19, np.float32), 2)[2:-1]
    call = b"ctorch._utils\n_rebuild_device_tensor_from_numpy\n(h\xff"
    call += b"ctorch\nbfloat16\n" + text("xla:0") + b"\x89tRa"
    path = checkpoint(b"\x80\x02]" + array + b"q\xff0" + call * 1000 + b".")
    with pytest.raises(InputError, match="swells to over"):
        opened(path)


class TestArchives:
    def test_a_bomb(self, checkpoint):
        zeros = bytes(2**28)
        path = checkpoint(
            tensor(n_elements=4), {"0": zeros}, compression=zipfile.ZIP_DEFLATED
        )
        assert path.stat().st_size < 2**20
        tracemalloc.start()
        with pytest.raises(InputError, match="zip bomb"):
            opened(path)
        assert tracemalloc.get_traced_memory()[1] < 2**25
        tracemalloc.stop()

    def test_an_entry_that_inflates_beyond_what_it_says(self, tmp_path):
        content = tensor() + bytes(10_000_000)
        packed = zlib.compressobj(9, zlib.DEFLATED, -15)
        body = packed.compress(content) + packed.flush()
        path = tmp_path / "a.pt"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", body)
            archive.infolist()[0].compress_type = zipfile.ZIP_DEFLATED
        with pytest.raises(InputError, match="damaged"):
            opened(path)

    def test_entries_of_the_same_name(self, tmp_path):
        path = tmp_path / "a.pt"
        with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning):
            archive.writestr("archive/data.pkl", b"N.")
            archive.writestr("archive/data.pkl", ATTACKS["os.system"] + b".")
        with pytest.raises(InputError, match="same name"):
            opened(path)

    def test_entries_that_overlap(self, tmp_path):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", b"N.")
            archive.writestr("archive/data/0", bytes(64))
            archive.infolist()[1].header_offset = archive.infolist()[0].header_offset
        (tmp_path / "a.pt").write_bytes(file.getvalue())
        with pytest.raises(InputError, match=r"overlap|damaged"):
            opened(tmp_path / "a.pt")

    @pytest.mark.parametrize("name", ["../../data.pkl", "/etc/data.pkl", "data.pkl"])
    def test_names_lead_nowhere(self, tmp_path, name):
        path = tmp_path / "a.pt"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, b"N.")
        with pytest.raises(InputError, match="zip archive of something else"):
            opened(path)

    def test_a_list_of_entries_that_would_fill_the_memory(self, tmp_path):
        path = tmp_path / "a.pt"
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, 2**31, 0, 0)
        path.write_bytes(b"PK\3\4" + end)
        with pytest.raises(InputError, match="longer than any checkpoint's"):
            opened(path)

    def test_a_missing_storage(self, checkpoint):
        with pytest.raises(InputError, match="lacks the entry 'archive/data/0'"):
            opened(checkpoint(tensor()))
