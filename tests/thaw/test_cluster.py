"""thaw.reuse.cluster, on Ray nodes of one core each on this machine: the same bytes, whatever happens to a node."""

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from stages.features import planning
from stages.features.frozen import FrozenPart
from stages.manifest.__main__ import main as write_manifest
from stages.tensors import planned as planned_tensors
from tests.conftest import PARAMS, draw_trees
from thaw.engines.openvino import OpenVinoEngine
from thaw.errors import UserError
from thaw.files.reading import sha256
from thaw.formats.row_writer import writing
from thaw.reuse import cluster as clusters
from thaw.reuse.cluster import ADDRESS, ANY, Cluster, Make, connected, difference, environment
from thaw.reuse.row_store import Plan, RowStore

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow

STORE_BYTES = 80_000_000
QUICK = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 3}
"""So that Ray notices within a second that a node is lost."""


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster of two nodes."""
    from ray.cluster_utils import Cluster as Nodes

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        head = {"num_cpus": 1, "object_store_memory": STORE_BYTES, "include_dashboard": False, "_system_config": QUICK}
        started = Nodes(initialize_head=True, head_node_args=head)
        started.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
        yield started
        started.shutdown()


@pytest.fixture(autouse=True)
def address(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where it is, which the environment says."""
    monkeypatch.setenv(ADDRESS, nodes.address)
    yield nodes.address
    ray.shutdown()


def maker(
    log: Path, seconds: float = 0.0, kind_there: Callable[[str], str] = lambda node: "ours", stuck: str = ""
) -> Make:
    """Return what has nodes compute rows of numbers, and note each chunk that they begin with; one may be stuck."""

    def make() -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
        import ray

        node = ray.get_runtime_context().get_node_id()

        def compute(chunk: np.ndarray) -> np.ndarray:
            if chunk[0] < 0:
                raise UserError("oak/7.jpg: changed")
            with log.open("a") as file:
                file.write(f"{chunk[0]} {node}\n")
            time.sleep(600 if node == stuck else seconds)
            return chunk[:, None] * np.ones(20_000, np.float32)  # more than Ray sends beside an answer

        return kind_there(node), compute

    return make


def begun(log: Path) -> list[tuple[int, str]]:
    """Return the chunks that nodes began with, and the nodes."""
    return [(int(number), node) for number, node in (line.split() for line in log.read_text().splitlines())]


def used(make: Make) -> Cluster:
    cluster = connected()
    assert cluster is not None
    cluster.use(make, "ours")
    return cluster


def in_chunks(count: int, rows: int = 2) -> Iterator[np.ndarray]:
    return (np.arange(first, first + rows) for first in range(0, count * rows, rows))


def written(path: Path, planned: tuple[Plan, Any, Any]) -> str:
    plan, index, origin = planned
    with writing(path, index, plan.store.shape, plan.store.dtype, origin) as file:
        file.write(plan.rows())
    return sha256(path)


def graph() -> tuple[bytes, bytes]:
    """Return a network: what is brighter than a half, and the mean of each channel."""
    pixels = ops.parameter([-1, 40, 40, 3], np.float32, "pixels")
    bright = ops.relu(ops.subtract(pixels, np.float32(127.5)))
    model = openvino.Model([ops.reduce_mean(bright, np.array([1, 2]))], [pixels], "network")
    path = Path("graph.xml")
    openvino.serialize(model, path)
    return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def test_tensors_and_features_are_the_bytes_of_one_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ruamel.yaml import YAML

    monkeypatch.chdir(tmp_path)
    draw_trees(Path("trees"))
    params = Path("params.yaml")
    with params.open("w") as file:
        YAML().dump(PARAMS, file)
    unread = {name: Path(name) for name in ("skipped", "near_duplicates", "distribution", "samples", "thumbnails")}
    write_manifest(params, "dataset", Path("trees"), Path("manifest.csv"), **unread)
    Path("backbone.keras").write_bytes(b"a backbone")
    engine = OpenVinoEngine(graph())
    part = FrozenPart("network", "mean", {"architecture": "none"}, [3])
    monkeypatch.setattr(planning, "frozen", lambda *_: (part, engine))

    def both() -> tuple[str, str]:
        tensors = written(Path("t.h5"), planned_tensors(params, "tensors.small", Path("trees"), Path("manifest.csv")))
        ray.shutdown()
        features = planning.planned(params, "features.bottleneck", Path("t.h5"), Path("backbone.keras"))
        return tensors, written(Path("f.h5"), features)

    monkeypatch.setenv("THAW_CACHE", "of the cluster")
    on_nodes = both()
    said = capsys.readouterr().out
    assert said.count(f"2 nodes of the cluster at {os.environ[ADDRESS]}, 2 CPU cores") == 2
    monkeypatch.delenv(ADDRESS)
    both_again = both()  # rows that the nodes computed are the store's
    assert "21 were decoded before" in capsys.readouterr().out
    monkeypatch.setenv("THAW_CACHE", "of one machine")
    assert both() == on_nodes == both_again
    Path("trees", "oak", "tree 3.png").write_bytes(b"")
    monkeypatch.setenv(ADDRESS, "127.0.0.1:1")
    with pytest.raises(UserError, match=r"^THAW_CLUSTER=127\.0\.0\.1:1: no cluster is there: .*ray start --head"):
        both()


def test_a_node_that_computes_other_bits_is_named_and_not_used_unless_any_will_do(
    nodes: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = nodes.worker_nodes.copy().pop().node_id
    make = maker(tmp_path / "log", kind_there=lambda node: "theirs" if node == other else "ours")
    cluster = used(make)
    name = next(node.name for node in cluster.nodes if node.id == other)
    warning = f"warning: node {name} is not used: it computes other bits, by theirs, and this machine by ours\n"
    assert capsys.readouterr().out == warning
    assert str(cluster) == f"1 node of the cluster at {nodes.address}, 1 CPU core"
    list(cluster.stream(in_chunks(8)))
    assert other not in {node for _, node in begun(tmp_path / "log")}
    with pytest.raises(UserError, match=r"no node of the cluster has CPU cores and computes what this machine does"):
        cluster.use(make, "those of another machine")
    with pytest.raises(UserError, match="no node of the cluster has a GPU"):
        cluster.use(make, "ours", on_gpu=True)
    monkeypatch.setenv(ANY, "1")
    assert cluster.use(make, "ours") == ["ours", "theirs"]
    assert capsys.readouterr().out.count("is not used: it computes other bits") == 2
    # What a node raises for the user is the user's, and what else it raises says who raised it.
    with pytest.raises(UserError, match=r"^oak/7\.jpg: changed$"):
        list(cluster.stream([np.array([-1])]))
    with pytest.raises(UserError, match=r"^THAW_CLUSTER=.*: node [\d.]+ failed: IndexError: "):
        list(cluster.stream([np.array([], int)]))


def test_a_node_that_has_another_thaw_or_lacks_packages_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = environment()
    with (
        monkeypatch.context() as patch,
        pytest.raises(UserError, match=r"install what .*: Version mismatch: .*Ray: 0\.0 "),
    ):
        patch.setattr(ray, "__version__", "0.0")
        connected()
    monkeypatch.setattr(clusters, "environment", lambda: {**here, "numpy": "1.0"})
    with pytest.raises(UserError, match=rf"node .* has numpy {here['numpy']}, and this machine 1\.0; install"):
        used(maker(tmp_path / "log"))
    assert difference(here, here) is None
    for name, said in {
        "Thaw": "has another Thaw: `git pull`",
        "Python": "has no Python, and",
        "keras": "has no keras",
    }.items():
        assert said in str(difference(here, {key: value for key, value in here.items() if key != name}))
    assert "has jax 0, and this machine none" in str(difference({}, {"jax": "0"}))
    look = clusters._look()
    monkeypatch.setitem(sys.modules, "thaw.reuse.cluster", None)
    assert look(here, [])[0].startswith("cannot import thaw.reuse.cluster: there, install this commit by")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("ray://10.0.0.1:10001", "expected auto, or the head's host:port"),
        ("10.0.0.1", "expected auto, or the head's host:port"),
        ("no-such-host.invalid:6379", "no cluster is there"),
        ("head..local:6379", "no cluster is there"),
    ],
)
def test_an_address_without_a_cluster_is_named(address: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESS, address)
    with pytest.raises(UserError, match=said):
        connected()


def test_a_driver_that_ends_and_a_node_that_dies_cost_no_more_than_the_chunks_under_way(
    nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Last, since one node is left afterwards, and then none."""
    monkeypatch.setenv("THAW_CACHE", str(tmp_path / "cache"))
    count, log = 40, tmp_path / "log"
    keys = np.array([hashlib.sha256(b"%d" % number).hexdigest().encode() for number in range(2 * count)])

    def rows(cluster: Cluster) -> Iterator[np.ndarray]:
        plan = Plan(
            keys,
            RowStore("some", (20_000,), np.dtype(np.float32)),
            lambda missing: cluster.stream(missing[first : first + 2] for first in range(0, len(missing), 2)),
        )
        return plan.rows()

    with contextlib.closing(rows(used(maker(log, 0.05)))) as some:  # ends before they have come
        next(some)
    ray.shutdown()
    kept = RowStore("some", (20_000,), np.dtype(np.float32)).count(keys)
    assert 0 < kept < 2 * count
    before = len(begun(log))
    (lost,) = nodes.worker_nodes

    def lose() -> None:
        while all(node != lost.node_id for _, node in begun(log)[before:]):
            time.sleep(0.05)
        nodes.remove_node(lost, allow_graceful=False)

    losing = Thread(target=lose, daemon=True)
    losing.start()
    found = list(rows(used(maker(log, 0.05, stuck=lost.node_id))))
    losing.join()
    np.testing.assert_array_equal(np.concatenate(found)[:, 0], np.arange(2 * count))
    again = len(begun(log)) - before - (2 * count - kept) / 2
    under_way = 2 * 2  # for each core
    assert 0 < again <= under_way
    ray.shutdown()

    cluster = used(maker(log, 0.5))
    monkeypatch.setattr(cluster, "_used", [clusters.Node("gone", "oak (10.0.0.9)", 1, 0)])
    monkeypatch.setattr(clusters, "LOOK", 0.1)
    with pytest.raises(UserError, match=r"no node is left that computes; lost: oak \(10\.0\.0\.9\); start them again"):
        list(cluster.stream(in_chunks(2)))
