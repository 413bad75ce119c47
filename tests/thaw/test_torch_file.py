"""thaw.backbones.torch_file on files built by hand: PyTorch's old format, without PyTorch."""

import io
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from thaw.backbones.torch_file import read_state_dict
from thaw.errors import UserError

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
STORAGE_OF = {"<f4": "FloatStorage", "<i8": "LongStorage"}


class Global:
    """Pickled as the name `module.name`, whatever it is; called with `arguments` if there are any."""

    def __init__(self, module: str, name: str, *arguments):
        self.module, self.name, self.arguments = module, name, arguments


class Storage:
    def __init__(self, key: str, values: np.ndarray, kind: str | None = None, count: int | None = None):
        self.key, self.values = key, values
        self.kind = kind or STORAGE_OF[values.dtype.str]
        self.count = len(values) if count is None else count


class Writer(pickle._Pickler):
    """Pickles `Global`s as names that need not exist here, and storages by reference, as PyTorch does."""

    def persistent_id(self, obj):
        if isinstance(obj, Storage):
            return ("storage", Global("torch", obj.kind), obj.key, "cpu", obj.count, None)
        return None

    def save(self, obj, save_persistent_id=True):
        if not isinstance(obj, Global):
            return super().save(obj, save_persistent_id)
        self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        if obj.arguments:
            self.save(obj.arguments)
            self.write(pickle.REDUCE)
        return None


def pickled(tree) -> bytes:
    file = io.BytesIO()
    Writer(file, protocol=2).dump(tree)
    return file.getvalue()


def tensor(storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Global:
    return Global("torch._utils", "_rebuild_tensor_v2", storage, offset, shape, strides, False, {})


def file_of(tree, *storages: Storage, magic: int = MAGIC_NUMBER, version: int = 1001) -> bytes:
    head = [magic, version, {"protocol_version": version, "little_endian": True}, tree]
    keys = [storage.key for storage in storages]
    values = [struct.pack("<q", len(storage.values)) + storage.values.tobytes() for storage in storages]
    return b"".join([*map(pickled, [*head, keys]), *values])


@pytest.fixture
def read(tmp_path):
    def read_bytes(data: bytes) -> dict[str, np.ndarray]:
        path = tmp_path / "weights.pth"
        path.write_bytes(data)
        return read_state_dict(path)

    return read_bytes


FLOATS = Storage("94", np.random.default_rng(0).normal(size=24).astype("<f4"))
INTEGERS = Storage("95", np.array([2**40, -1, 7], "<i8"))


def a_state_dict() -> bytes:
    tree = {"conv.weight": tensor(FLOATS, 0, (4, 6), (6, 1)), "steps": tensor(INTEGERS, 0, (3,), (1,))}
    return file_of(tree, FLOATS, INTEGERS)


def test_tensors_are_read_exactly_and_in_order(read):
    state = read(a_state_dict())
    assert list(state) == ["conv.weight", "steps"]
    np.testing.assert_array_equal(state["conv.weight"], FLOATS.values.reshape(4, 6), strict=True)
    np.testing.assert_array_equal(state["steps"], INTEGERS.values, strict=True)


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "expected"),
    [
        pytest.param(0, (6, 4), (1, 6), FLOATS.values.reshape(4, 6).T, id="transposed"),
        pytest.param(0, (2, 4, 3), (12, 1, 4), FLOATS.values.reshape(2, 3, 4).swapaxes(1, 2), id="axes swapped"),
        pytest.param(5, (3,), (1,), FLOATS.values[5:8], id="a part"),
        pytest.param(1, (4, 3), (6, 2), FLOATS.values.reshape(4, 6)[:, 1::2], id="every second column"),
        pytest.param(2, (3, 2), (0, 1), np.tile(FLOATS.values[2:4], (3, 1)), id="expanded"),
        pytest.param(23, (), (), FLOATS.values[23], id="a scalar"),
        pytest.param(23, (1, 1), (24, 24), FLOATS.values[23:].reshape(1, 1), id="the last value"),
    ],
)
def test_strides_and_offsets_are_followed(read, offset, shape, strides, expected):
    found = read(file_of({"w": tensor(FLOATS, offset, shape, strides)}, FLOATS))["w"]
    np.testing.assert_array_equal(found, expected)
    assert (found.shape, found.dtype) == (shape, np.float32)


def test_tensors_that_share_a_storage_do_not_share_memory(read):
    whole, part = tensor(FLOATS, 0, (24,), (1,)), tensor(FLOATS, 0, (6,), (1,))
    state = read(file_of({"whole": whole, "part": part}, FLOATS))
    state["part"][:] = 0
    np.testing.assert_array_equal(state["whole"], FLOATS.values)


def test_an_ordered_dict_is_a_state_dict(read):
    items = (("b", tensor(INTEGERS, 0, (3,), (1,))), ("a", tensor(INTEGERS, 1, (2,), (1,))))
    state = read(file_of(Global("collections", "OrderedDict", items), INTEGERS))
    assert list(state) == ["b", "a"]
    assert state["a"].tolist() == [-1, 7]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "getattr"),
        ("subprocess", "Popen"),
        ("torch", "HalfStorage"),
        ("torch", "load"),
        ("torch._utils", "_rebuild_parameter"),
        ("torch.nn.modules.linear", "Linear"),
        ("collections", "Counter"),
        ("thaw.backbones.torch_file", "read_state_dict"),
    ],
)
@pytest.mark.parametrize("place", range(5), ids=["magic", "version", "system", "state dict", "keys"])
def test_every_other_name_is_refused_wherever_it_stands(read, module, name, place):
    trees = [MAGIC_NUMBER, 1001, {}, {}, []]
    trees[place] = Global(module, name, "1")
    with pytest.raises(UserError, match=rf"weights.pth: .*it names {module}.{name}, which a state dict has no need of"):
        read(b"".join(map(pickled, trees)))


@pytest.mark.parametrize(
    "call",
    [
        lambda mark: Global("os", "system", f"echo > '{mark}'"),
        lambda mark: Global("builtins", "eval", f"open({str(mark)!r}, 'w').close()"),
        lambda mark: Global("io", "open", str(mark), "w"),
    ],
)
def test_nothing_that_a_file_names_is_run(tmp_path, read, call):
    mark = tmp_path / "was run"
    data = file_of({"w": call(mark)})
    with pytest.raises(UserError, match="it names"):
        read(data)
    assert not mark.exists()
    # The pickle is a real one: Python's own reader runs it.
    pickle.loads(pickled(call(mark)))
    assert mark.exists()


def test_every_truncation_is_refused(read):
    data = a_state_dict()
    for length in range(len(data)):
        with pytest.raises(UserError, match="weights.pth: not a state dict in PyTorch's old format"):
            read(data[:length])


def test_bytes_behind_the_end_are_refused(read):
    with pytest.raises(UserError, match="bytes behind its end"):
        read(a_state_dict() + b"\0")


@pytest.mark.parametrize("wrong", [{"magic": MAGIC_NUMBER + 1}, {"version": 1002}, {"magic": "1"}])
def test_a_wrong_magic_number_or_version_is_refused(read, wrong):
    with pytest.raises(UserError, match="wrong magic number"):
        read(file_of({}, **wrong))


@pytest.mark.parametrize(
    "data", [b"PK\x03\x04" + b"\0" * 60, b"just some text\n", b"\x80\x02}.", b"\0" * 100, b"<!DOCTYPE html><html>"]
)
def test_files_of_another_kind_are_refused(read, data):
    with pytest.raises(UserError, match="weights.pth: not a state dict"):
        read(data)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        pytest.param(0, (25,), (1,), id="too long"),
        pytest.param(1, (4, 6), (6, 1), id="too far behind"),
        pytest.param(24, (1,), (1,), id="behind the end"),
        pytest.param(-1, (3,), (1,), id="before the beginning"),
        pytest.param(3, (4,), (-1,), id="backwards"),
        pytest.param(0, (2, 2), (23, 2), id="strides too large"),
        pytest.param(0, (2**62, 2), (2**62, 1), id="larger than memory"),
        pytest.param(0, (-1, -1), (1, 1), id="negative lengths"),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(read, offset, shape, strides):
    with pytest.raises(UserError, match="lies outside its storage"):
        read(file_of({"w": tensor(FLOATS, offset, shape, strides)}, FLOATS))


def test_a_stride_that_is_never_taken_may_be_any_number(read):
    # PyTorch writes any stride for an axis of length one.
    found = read(file_of({"w": tensor(FLOATS, 0, (1, 3), (2**40, 1))}, FLOATS))["w"]
    np.testing.assert_array_equal(found, FLOATS.values[None, :3])


@pytest.mark.parametrize(
    ("shape", "strides"),
    [
        pytest.param((1, 3), (2**70, 1), id="a stride beyond 64 bits"),
        pytest.param((2**59,), (0,), id="one value repeated beyond memory"),
    ],
)
def test_a_tensor_that_no_memory_holds_is_refused(read, shape, strides):
    with pytest.raises(UserError, match="weights.pth: not a state dict"):
        read(file_of({"w": tensor(FLOATS, 0, shape, strides)}, FLOATS))


def test_a_damaged_file_is_refused_or_read_never_anything_else(read):
    data = a_state_dict()
    refused = 0
    for at in range(len(data)):
        try:
            state = read(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        except UserError:
            refused += 1
        else:
            assert all(isinstance(array, np.ndarray) for array in state.values())
    assert refused > len(data) // 4


@pytest.mark.parametrize("count", [23, 25, -1])
def test_a_storage_of_another_length_than_declared_is_refused(read, count):
    storage = Storage("94", FLOATS.values, count=count)
    with pytest.raises(UserError, match="storage 94 has another length than declared"):
        read(file_of({"w": tensor(storage, 0, (3,), (1,))}, storage))


@pytest.mark.parametrize(
    "tree",
    [
        pytest.param([1, 2], id="no dict"),
        pytest.param({"w": 3}, id="no tensor"),
        pytest.param({"w": FLOATS}, id="a bare storage"),
        pytest.param({"w": Global("torch._utils", "_rebuild_tensor_v2", 1)}, id="too few arguments"),
        pytest.param({"w": tensor(FLOATS, 0, "ab", (1, 1))}, id="a shape of text"),
        pytest.param({"w": tensor(FLOATS, 0, (4, 6), (1,))}, id="too few strides"),
        pytest.param({"w": tensor(FLOATS, 0.5, (4,), (1,))}, id="half an offset"),
    ],
)
def test_what_is_no_dict_of_tensors_is_refused(read, tree):
    with pytest.raises(UserError, match="weights.pth: not a state dict"):
        read(file_of(tree, FLOATS))


def test_a_tensor_without_its_storage_is_refused(read):
    with pytest.raises(UserError, match="weights.pth: not a state dict"):
        read(file_of({"w": tensor(FLOATS, 0, (3,), (1,))}))


@pytest.mark.parametrize(
    "reference", [Path("x").name, ("module", 1), ("storage", 1, "0", "cpu", 3, None), ("storage",)], ids=repr
)
def test_an_unexpected_reference_is_refused(read, reference):
    class Referring(Writer):
        def persistent_id(self, obj):
            return reference if obj == "here" else None

    file = io.BytesIO()
    Referring(file, protocol=2).dump({"w": "here"})
    head = b"".join(map(pickled, [MAGIC_NUMBER, 1001, {}]))
    with pytest.raises(UserError, match="unexpected reference"):
        read(head + file.getvalue() + pickled([]))
