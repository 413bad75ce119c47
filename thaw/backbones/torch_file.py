"""Reading a state dict from PyTorch's old file format, without PyTorch and without running its code.

The file is four pickles one after the other (a magic number, a protocol version, system information, the
state dict with its tensors by reference, and the list of storage keys) followed by the storages: for
each an 8-byte count and the raw values. A pickle can call anything that it can name, so only the three
names that a state dict needs are resolved, to functions of ours, and everything else is refused.
"""

import math
import os
import pickle
import reprlib
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from thaw.errors import UserError
from thaw.files.reading import naming, require_regular

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
Storage = tuple[str, np.dtype, int]
"""A storage's key, the type of its values and their number."""
STORAGE_TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
OPCODES = (
    *(pickle.PROTO, pickle.STOP, pickle.MARK, pickle.GLOBAL, pickle.REDUCE, pickle.BUILD, pickle.BINPERSID),
    *(
        pickle.BINPUT,
        pickle.LONG_BINPUT,
        pickle.BINGET,
        pickle.LONG_BINGET,
        pickle.NONE,
        pickle.NEWTRUE,
        pickle.NEWFALSE,
    ),
    *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.BINFLOAT, pickle.BINUNICODE),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.EMPTY_LIST, pickle.APPEND),
    *(pickle.APPENDS, pickle.EMPTY_DICT, pickle.SETITEM, pickle.SETITEMS),
)
"""What `torch.save` writes of a state dict, in the protocol 2."""
# What unpickling raises when a file is not what it should be, and NumPy when a tensor cannot be.
_DAMAGED = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    OverflowError,
    MemoryError,
    RecursionError,
    AssertionError,
    struct.error,
)


_Unpickler: Any = pickle._Unpickler
"""The one that is written in Python, since that in C takes as much memory as a file asks for, whatever its size."""


class _Tensor:
    """A tensor that is known by its storage's key and its place there, until the storage is read."""

    def __init__(
        self, storage: "Storage", offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
    ) -> None:
        self.key, self.dtype, self.count = storage
        self.offset, self.shape, self.strides = offset, shape, strides

    def array(self, storage: np.ndarray) -> np.ndarray:
        """Return the tensor's values; its strides are counted in values, not bytes."""
        last = self.offset + sum((length - 1) * step for length, step in zip(self.shape, self.strides, strict=True))
        if self.offset < 0 or min((0, *self.strides)) < 0 or min((1, *self.shape)) < 1 or last >= storage.size:
            raise ValueError("a tensor lies outside its storage")
        if math.prod(self.shape) > storage.size:
            raise ValueError("a tensor is larger than its storage")
        steps = [step * storage.itemsize for step in self.strides]
        return np.lib.stride_tricks.as_strided(storage[self.offset :], self.shape, steps).copy()


class _StateDictUnpickler(_Unpickler):  # type: ignore[misc]
    """Knows what a state dict is made of, and nothing else.

    Keys are text: to hash tuples of tuples may take for ever.
    """

    stack: list[Any]
    append: Any

    dispatch = {code: run for code, run in _Unpickler.dispatch.items() if code in b"".join(OPCODES)}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in STORAGE_TYPES:
            return STORAGE_TYPES[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which a state dict has no need of")

    def persistent_load(self, reference: Any) -> Storage:
        match reference:
            case ("storage", np.dtype() as dtype, str(key), str(), int(count), None):
                return key, dtype, count
        raise pickle.UnpicklingError(f"unexpected reference {reprlib.repr(reference)}")

    def load_setitems(self) -> None:
        items = self.pop_mark()
        if not all(isinstance(key, str) for key in items[::2]):
            raise pickle.UnpicklingError("a key is no text")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def load_setitem(self) -> None:
        self.metastack.append(self.stack[:-2])
        self.stack = self.stack[-2:]
        self.load_setitems()

    dispatch |= {pickle.SETITEM[0]: load_setitem, pickle.SETITEMS[0]: load_setitems}


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors of a state dict that `torch.save` wrote before PyTorch 1.6.

    Returns:
        Arrays of float32 or int64 by name, in the file's order.

    Raises:
        UserError: the file is something else, is truncated, or names anything that a state dict does not
            need.
    """
    try:
        require_regular(path)
        with naming(path), path.open("rb") as file:
            return _read_tensors(file)
    except _DAMAGED as error:
        raise UserError(f"{path}: not a state dict in PyTorch's old format: {error}") from None


def _read_tensors(file: BinaryIO) -> dict[str, np.ndarray]:
    if (_unpickled(file), _unpickled(file)) != (MAGIC_NUMBER, PROTOCOL_VERSION):
        raise ValueError("wrong magic number")
    _unpickled(file)
    tensors: dict[str, _Tensor] = _unpickled(file)
    declared = {tensor.key: (tensor.dtype, tensor.count) for tensor in tensors.values()}
    storages = {}
    size = os.fstat(file.fileno()).st_size
    for key in map(str, _unpickled(file)):
        dtype, count = declared[key]
        if count * dtype.itemsize > size:
            raise ValueError(f"storage {key} is larger than the file")
        if int.from_bytes(file.read(8), "little") != count:
            raise ValueError(f"storage {key} has another length than declared")
        storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype)
        if storages[key].shape != (count,):
            raise ValueError("it is truncated")
    if file.read(1):
        raise ValueError("it has bytes behind its end")
    return {name: tensor.array(storages[tensor.key]) for name, tensor in tensors.items()}


def _unpickled(file: BinaryIO) -> Any:
    return _StateDictUnpickler(file).load()
