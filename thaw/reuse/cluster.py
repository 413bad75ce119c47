"""A Ray cluster that computes missing rows: chunks go out, rows come back in order, with the bits of one machine.

The environment says where it is, and never which bytes come: nodes that have another Thaw are refused, and nodes that
compute other bits are left out. Ray does the rest: it has a chunk computed again whose node is lost, and moves what is
in memory. This process holds a bounded number of chunks, and stores what comes before it takes more.
"""

import importlib.util
import logging
import os
import platform
import re
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from textwrap import shorten
from typing import Any

import numpy as np

from thaw.errors import UserError
from thaw.reuse.fingerprint import fingerprint

ADDRESS, ANY = "THAW_CLUSTER", "THAW_CLUSTER_ANY"
"""Where the cluster is: `auto`, or the head's host and port. And whether nodes are used that compute other bits."""
INSTALL = "python -m pip install --constraint constraints.txt --editable '.[cluster]'"
HINTS = {
    "Version mismatch": f"install what constraints.txt says on all machines, by `{INSTALL}`: ",
    "No node info found": "this machine is no node of it: `ray start --address=HOST:6379 --num-cpus=0` joins it: ",
}
"""What to do, by words of what Ray says."""
STAGES = ("stages.features", "stages.tensors")
"""Whose code nodes run."""
PACKAGES = {"cykooz-resizer", "jax", "keras", "keras-hub", "numpy", "openvino", "pillow", "ray", "tensorflow"}
"""Whose versions decide on bits."""
CHUNK_BYTES = 4 * 2**20
MOST_BYTES = 2 * 2**30
"""Of all chunks that are under way; they are in Ray's memory on this machine."""
RETRIES = 5
"""Times that a chunk is computed again because its node or its process was lost."""
PATIENCE = 60.0
"""Seconds for a node to say what it has."""
REASON = 400
"""Characters of what Ray says."""
LOOK = 5.0
"""Seconds without a result until it is looked whether any node is left."""

Compute = Callable[[Any], np.ndarray]
Make = Callable[[], tuple[str, Compute]]
"""Run once in every process of a node: says what kind of bits it computes, and returns what computes a chunk's rows."""


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, as Ray knows it."""

    id: str
    name: str
    """Its host and address."""
    cpus: int
    gpus: int


def connected() -> "Cluster | None":
    """Return the cluster that the environment names; None if it names none.

    Raises:
        UserError: there is none at the address, or it is not one of this Ray and Python.
    """
    address = os.environ.get(ADDRESS)
    return Cluster(address) if address else None


class Cluster:
    """The nodes that compute; `use` has to be called before `stream`."""

    def __init__(self, address: str):
        self._ray, self._address = _connect(address), address
        self.nodes = [
            Node(
                one["NodeID"],
                f"{one['NodeManagerHostname']} ({one['NodeManagerAddress']})",
                int(one["Resources"].get("CPU", 0)),
                int(one["Resources"].get("GPU", 0)),
            )
            for one in self._ray.nodes()
            if one["Alive"]
        ]
        self.nodes.sort(key=lambda node: (node.name, node.id))

    @property
    def gpus(self) -> int:
        return sum(node.gpus for node in self.nodes)

    @property
    def takes_any(self) -> bool:
        """Whether nodes are used that compute other bits than this machine."""
        return os.environ.get(ANY, "0") not in ("", "0")

    def use(self, make: Make, kind: str, on_gpu: bool = False) -> list[str]:
        """Have nodes make what computes, and settle on those that compute the bits of this machine.

        Those that compute others are named and left out, unless the environment says that any will do.

        Args:
            make: what nodes are to do, sent to each of them.
            kind: the kind of bits that this machine computes.
            on_gpu: whether each chunk takes a GPU, or a CPU core.

        Returns:
            The kinds of bits that are computed, sorted.

        Raises:
            UserError: a node has another Thaw, Python or package than this machine, or lacks it; none can be used.
        """
        for node in self.nodes:
            if on_gpu and node.cpus and not node.gpus:
                _warn(f"node {node.name} is not used: it has no GPU")
        kinds = self.kinds(make, on_gpu)
        for node, there in kinds.items():
            if there != kind and not self.takes_any:
                _warn(f"node {node.name} is not used: it computes other bits, by {there}, and this machine by {kind}")
        self._used = [node for node, there in kinds.items() if there == kind or self.takes_any]
        if not self._used:
            wanted = "has a GPU" if on_gpu else "has CPU cores"
            raise UserError(
                f"{ADDRESS}={self._address}: no node of the cluster {wanted} and computes what this machine does; "
                f"start some with `ray start`, or have any node compute its own bits by {ANY}=1"
            )
        self._compute = self._remote(_compute, self._used, RETRIES, whole=True)
        return sorted({kinds[node] for node in self._used})

    def kinds(self, make: Make, on_gpu: bool = False) -> dict[Node, str]:
        """Have nodes compare themselves with this machine and make what computes; return the kind of bits of each.

        Raises:
            UserError: as `use` does.
        """
        self._boxed, self._on_gpu = [self._ray.put(make)], on_gpu
        here, look = environment(), _look()
        able = [node for node in self.nodes if (node.gpus if on_gpu else node.cpus)]
        answers = {node: self._remote(look, [node], 0, whole=False).remote(here, self._boxed) for node in able}
        return {node: self._kind(node, answer) for node, answer in answers.items()}

    def __str__(self) -> str:
        """Say how many nodes compute, and on how many devices."""
        devices = f"{self._slots} {'GPU' if self._on_gpu else 'CPU core'}{'s' if self._slots > 1 else ''}"
        return (
            f"{len(self._used)} node{'s' if len(self._used) > 1 else ''} of the cluster at {self._address}, {devices}"
        )

    @property
    def _slots(self) -> int:
        return sum(node.gpus if self._on_gpu else node.cpus for node in self._used)

    def stream(self, chunks: Iterable[Any], chunk_bytes: int = CHUNK_BYTES) -> Iterator[np.ndarray]:
        """Yield the rows of chunks, in their order; two chunks for each device are under way, if memory allows.

        Args:
            chunks: what the nodes compute from.
            chunk_bytes: of each, about.

        Raises:
            UserError: as nodes raise it; or a node ran out of memory or disk, or none is left.
        """
        most = max(2, min(2 * self._slots, MOST_BYTES // chunk_bytes))
        under_way: deque[Any] = deque()
        for chunk in chunks:
            under_way.append(self._compute.remote(self._boxed, self._ray.put(chunk)))
            if len(under_way) >= most:
                yield self._result(under_way.popleft())
        while under_way:
            yield self._result(under_way.popleft())

    def _result(self, reference: Any) -> np.ndarray:
        while True:
            try:
                rows: np.ndarray = self._ray.get(reference, timeout=LOOK)
                return rows
            except self._ray.exceptions.GetTimeoutError:
                alive = {one["NodeID"] for one in self._ray.nodes() if one["Alive"]}
                if not any(node.id in alive for node in self._used):
                    names = ", ".join(node.name for node in self._used)
                    raise UserError(
                        f"{ADDRESS}={self._address}: no node is left that computes; lost: {names}; start them again, "
                        "and the next run goes on behind the rows that came"
                    ) from None
            except self._ray.exceptions.RayError as error:
                where = re.search(r"\bip=([\w.:]+)", str(error))  # Ray says it in the traceback's head alone
                raise self._failed(f"node {where[1]}" if where else "a node", error) from None

    def _failed(self, who: str, error: Exception) -> UserError:
        """Return what to say of an error of Ray's, or of one that a node raised."""
        cause = getattr(error, "cause", None)
        if isinstance(cause, UserError):
            return UserError(str(cause))
        what = cause or error
        reason = shorten(f"{type(what).__name__}: {what}", REASON)
        return UserError(f"{ADDRESS}={self._address}: {who} failed: {reason}")

    def _remote(self, function: Callable[..., Any], nodes: list[Node], retries: int, whole: bool) -> Any:
        """Return a function that runs on one of some nodes, on a whole device or beside what runs there."""
        devices = {"num_cpus": 0, "num_gpus": 1 if whole else 0.01} if self._on_gpu else {"num_cpus": int(whole)}
        return self._ray.remote(
            **devices,
            max_retries=retries,
            max_calls=0,  # else a process that had a GPU ends with its first chunk
            scheduling_strategy="SPREAD",
            label_selector={"ray.io/node-id": f"in({','.join(node.id for node in nodes)})"},
        )(function)

    def _kind(self, node: Node, answer: Any) -> str:
        try:
            problem, kind = self._ray.get(answer, timeout=PATIENCE)
        except self._ray.exceptions.GetTimeoutError:
            raise UserError(
                f"{ADDRESS}={self._address}: node {node.name} does not answer within {PATIENCE:.0f} s; see what runs "
                "there, or take it out of the cluster by `ray stop`"
            ) from None
        except self._ray.exceptions.RayError as error:
            raise self._failed(f"node {node.name}", error) from None
        if problem:
            raise UserError(f"{ADDRESS}={self._address}: node {node.name} {problem}")
        return str(kind)


def environment() -> dict[str, str]:
    """Return what has to be the same on all machines, in the order in which a difference is named."""
    packages = {one.name.lower(): one.version for one in distributions() if one.name.lower() in PACKAGES}
    code = fingerprint(STAGES[0], fingerprint(STAGES[1]))
    return {"Python": platform.python_version().rpartition(".")[0], **dict(sorted(packages.items())), "Thaw": code}


def difference(here: dict[str, str], there: dict[str, str]) -> str | None:
    """Return what another machine has that this one has not, and how to mend it; None if it has the same."""
    for name in [*here, *there]:
        if here.get(name) != there.get(name):
            if name == "Thaw":
                return "has another Thaw: `git pull` there or here, so that both are at the same commit"
            what = f"{name} {there[name]}" if name in there else f"no {name}"
            mine = here.get(name, "none")
            return f"has {what}, and this machine {mine}; install what constraints.txt says on both: `{INSTALL}`"
    return None


def examined(here: dict[str, str], boxed: list[Any]) -> tuple[str | None, str]:
    """Return, on a node, how it differs from the machine that asks; else what kind of bits it computes."""
    problem = difference(here, environment())
    return (problem, "") if problem else (None, _made(boxed)[0])


def _look() -> Callable[..., Any]:
    """Return a function that Ray sends with its code, and not by its name: a node may have no Thaw."""

    install = f"install this commit by `{INSTALL}`"

    def look(here: dict[str, str], boxed: list[Any]) -> tuple[str | None, str]:
        try:
            from thaw.reuse.cluster import examined
        except ImportError as error:
            return f"cannot import {error.name}: there, {install}, into the Python that runs `ray start`", ""
        return examined(here, boxed)

    return look


_MADE: dict[Any, tuple[str | None, tuple[str, Compute]]] = {}
"""By what it was made of: the GPUs that the process saw then, and what was made."""


def _made(boxed: list[Any]) -> tuple[str, Compute]:
    """Return what computes in this process, made when it is first asked for."""
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
    if boxed[0] not in _MADE:
        import ray

        _MADE[boxed[0]] = gpus, ray.get(boxed[0])()
    before, made = _MADE[boxed[0]]
    if gpus != before:
        os._exit(1)  # A process keeps the GPU that it began with: Ray has the chunk computed by another one.
    return made


def _compute(boxed: list[Any], chunk: Any) -> np.ndarray:
    return _made(boxed)[1](chunk)


def _connect(address: str) -> Any:
    """Return Ray, connected with a cluster that is there."""
    if importlib.util.find_spec("ray") is None:
        raise UserError(f"{ADDRESS}={address}: Ray is not installed: `{INSTALL}`")
    host, _, port = address.rpartition(":")
    if address != "auto":
        if not host or not port.isdecimal() or "/" in host:
            raise UserError(f"{ADDRESS}: expected auto, or the head's host:port such as 10.0.0.1:6379, got {address!r}")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except (OSError, OverflowError, UnicodeError) as error:
            raise UserError(
                f"{ADDRESS}={address}: no cluster is there: {error}; `ray start --head` starts one"
            ) from None
    # As everything here, it reports to nobody. And a chunk that never fits into a node's memory is not tried for ever.
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_task_oom_retries": str(RETRIES)}
    # What answers, but not as a head does, is asked once and not for minutes; and what is no node of it looks for one.
    os.environ |= {"RAY_gcs_server_port_wait_time_s": "1", "RAY_py_gcs_connect_timeout_s": "5"}
    os.environ |= {"RAY_gcs_server_request_timeout_seconds": "20"}
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, configure_logging=True)
    except ConnectionError as error:
        hint = "`ray start --head` starts one, and `ray start --address=HOST:6379` joins this machine to it"
        raise UserError(f"{ADDRESS}={address}: no cluster is there: {str(error).splitlines()[0]} ({hint})") from None
    except Exception as error:  # Ray raises nearly everything
        reason = " ".join(str(error).split())
        hint = next((hint for words, hint in HINTS.items() if words in reason), "")
        raise UserError(f"{ADDRESS}={address}: {hint}{reason}") from None
    return ray


def _warn(text: str) -> None:
    print(f"warning: {text}", flush=True)
