"""A pickle read as data: an interpreter of the opcodes that cannot call anything.

`pickle.Unpickler` with a restricted `find_class` is not enough for files from strangers:
it resizes its memo to any index it is told, hashes nested tuples until the stack ends,
and sets attributes of whatever it built. Here the standard library's `pickletools` takes
the opcodes apart, and what they say is done to lists and dicts of our own. A name is a
`Placeholder`; a call gives what `torch_rebuild` knows it to mean, or a placeholder.
"""

import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxsed.weights import torch_rebuild
from jaxsed.weights.torch_content import BrokenFileError, Placeholder, check_nesting

# A whole Lightning checkpoint with its optimiser has some 50,000 opcodes in 1 MB.
MAX_OPCODES = 1_000_000
MAX_BYTES = 64 * 2**20
MAX_INT_BITS = 1024


class Opcodes:
    """The part of a buffer that a pickle may lie in, as the file `pickletools` expects.

    Nothing beyond what is asked for is read, whatever lengths the pickle claims.
    """

    def __init__(self, buffer, start: int = 0, end: int | None = None):
        self._buffer = buffer
        self._position = start
        end = len(buffer) if end is None else end
        self._end = min(end, start + MAX_BYTES)
        self._is_cut = self._end < end

    def tell(self) -> int:
        """Position in the buffer."""
        return self._position

    def read(self, n_bytes: int) -> bytes:
        """Reads `n_bytes`, or nothing if there are fewer."""
        end = self._position + n_bytes
        if end > self._end:
            if self._is_cut:
                raise BrokenFileError(f"its pickle is larger than {MAX_BYTES:,} bytes")
            return b""
        content = bytes(self._buffer[self._position : end])
        self._position = end
        return content

    def readline(self) -> bytes:
        """Reads up to and with the next newline, or nothing if there is none."""
        newline = self._buffer.find(b"\n", self._position, self._end)
        return self.read(newline + 1 - self._position) if newline >= 0 else b""


def load(opcodes: Opcodes, persistent: Callable[[Any], Any]) -> Any:
    """Reads one pickle.

    Args:
      opcodes: Left behind the pickle's last byte.
      persistent: Turns a persistent id, whatever the file says, into what it stands for.

    Returns:
      Plain data, arrays and placeholders, nested no deeper than can be walked through.

    Raises:
      BrokenFileError: No pickle, or one that no checkpoint has.
      ValueError, LookupError, TypeError: Likewise.
    """
    content = _Machine(persistent).run(opcodes)
    check_nesting(content)
    return content


class _Machine:
    def __init__(self, persistent: Callable[[Any], Any]):
        self._persistent = persistent
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []  # the stacks below the marks
        self._memo: dict[int, Any] = {}
        self._budget_bytes = MAX_BYTES

    def run(self, opcodes: Opcodes) -> Any:
        for count, (opcode, arg, _) in enumerate(pickletools.genops(opcodes)):
            if count > MAX_OPCODES:
                raise BrokenFileError(
                    f"its pickle has more than {MAX_OPCODES:,} opcodes"
                )
            if opcode.name == "STOP":
                break
            if opcode.name in _VALUES:
                if isinstance(arg, int) and arg.bit_length() > MAX_INT_BITS:
                    raise BrokenFileError("a number in it has thousands of digits")
                self._stack.append(arg)
            elif opcode.name in _CONSTANTS:
                self._stack.append(_CONSTANTS[opcode.name])
            elif opcode.name not in _IGNORED:
                step = getattr(self, f"_{opcode.name.lower()}", None)
                if step is None:
                    raise BrokenFileError(f"its pickle uses the opcode {opcode.name}")
                step(arg)
        return self._stack.pop()

    def _spend(self, n_bytes: int) -> None:
        self._budget_bytes -= n_bytes
        if self._budget_bytes < 0:
            raise BrokenFileError(f"its pickle swells to over {MAX_BYTES:,} bytes")

    def _pop_mark(self, _=None) -> list[Any]:
        items, self._stack = self._stack, self._marked.pop()
        return items

    # Stack and memo.

    def _mark(self, _):
        self._marked.append(self._stack)
        self._stack = []

    def _pop(self, _):
        if self._stack:
            self._stack.pop()
        else:
            self._pop_mark()

    def _dup(self, _):
        self._stack.append(self._stack[-1])

    def _put(self, index):
        value = self._stack[-1]
        self._memo[index] = value
        if isinstance(value, torch_rebuild.PendingArray):
            value.memo_keys.append(index)

    _binput = _long_binput = _put

    def _memoize(self, _):
        self._put(len(self._memo))

    def _get(self, index):
        self._stack.append(self._memo[index])

    _binget = _long_binget = _get

    # Containers.

    def _empty_list(self, _):
        self._stack.append([])

    def _empty_dict(self, _):
        self._stack.append({})

    def _empty_set(self, _):
        self._stack.append(set())

    def _list(self, _):
        items = self._pop_mark()
        self._stack.append(items)

    def _tuple(self, _):
        items = self._pop_mark()
        self._stack.append(tuple(items))

    def _frozenset(self, _):
        members = self._pop_mark()
        self._stack.append(frozenset(map(torch_rebuild.key_of, members)))

    def _dict(self, _):
        items = self._pop_mark()
        self._stack.append({})
        self._set(items)

    def _last_to_tuple(self, n_items):
        if len(self._stack) < n_items:
            raise BrokenFileError("its pickle takes more from the stack than there is")
        items = tuple(self._stack[-n_items:])
        self._stack[-n_items:] = [items]

    def _tuple1(self, _):
        self._last_to_tuple(1)

    def _tuple2(self, _):
        self._last_to_tuple(2)

    def _tuple3(self, _):
        self._last_to_tuple(3)

    def _append(self, _):
        self._extend([self._stack.pop()])

    def _appends(self, _):
        self._extend(self._pop_mark())

    def _extend(self, items):
        target = self._stack[-1]
        if isinstance(target, Placeholder):  # of a class that is a list
            target.items = target.items if isinstance(target.items, list) else []
            target = target.items
        if not isinstance(target, list):
            raise BrokenFileError("its pickle appends to what is not a list")
        target.extend(items)

    def _additems(self, _):
        members = self._pop_mark()
        if not isinstance(self._stack[-1], set):
            raise BrokenFileError("its pickle adds to what is not a set")
        self._stack[-1].update(map(torch_rebuild.key_of, members))

    def _setitem(self, _):
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def _setitems(self, _):
        self._set(self._pop_mark())

    def _set(self, items):
        target = self._stack[-1]
        if isinstance(target, Placeholder):  # of a class that is a dict
            target.items = target.items if isinstance(target.items, dict) else {}
            target = target.items
        if not isinstance(target, dict) or len(items) % 2:
            raise BrokenFileError("its pickle sets items of what is not a dict")
        for key, value in zip(items[::2], items[1::2]):
            target[torch_rebuild.key_of(key)] = value

    # Names, calls and state: all that could run something in an ordinary unpickler.

    def _global(self, names):
        module, _, name = names.partition(" ")
        self._stack.append(Placeholder(module, name))

    def _stack_global(self, _):
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise BrokenFileError("its pickle names something by what is not text")
        self._stack.append(Placeholder(module, name))

    def _ext1(self, code):
        self._stack.append(Placeholder("copyreg", f"extension_{code}"))

    _ext2 = _ext4 = _ext1

    def _call(self, function, args):
        if not isinstance(function, Placeholder):
            raise BrokenFileError("its pickle calls what is not a function")
        self._stack.append(torch_rebuild.call(function, args, self._spend))

    def _reduce(self, _):
        args, function = self._stack.pop(), self._stack.pop()
        self._call(function, args)

    _newobj = _reduce

    def _newobj_ex(self, _):
        keywords, args = self._stack.pop(), self._stack.pop()
        # What is called with keywords is none of what we know.
        self._call(self._stack.pop(), (args, keywords))

    def _inst(self, names):
        args = tuple(self._pop_mark())
        self._global(names)
        self._call(self._stack.pop(), args)

    def _obj(self, _):
        function, *args = self._pop_mark()
        self._call(function, tuple(args))

    def _build(self, _):
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, torch_rebuild.PendingArray):
            array = target.array(state)
            if array is not None:
                self._stack[-1] = array
                self._memo.update(dict.fromkeys(target.memo_keys, array))
                return
        if isinstance(target, Placeholder):
            target.state = state
        elif not isinstance(target, (dict, list, tuple, set, np.ndarray)):
            raise BrokenFileError("its pickle gives attributes to what can have none")
        # Attributes of plain data (`_metadata` of a state dict) are none of its content.

    def _binpersid(self, _):
        self._stack.append(self._persistent(self._stack.pop()))

    def _persid(self, text):
        self._stack.append(self._persistent(text))


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_IGNORED = {"PROTO", "FRAME"}
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"),
    *("FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
