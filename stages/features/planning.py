"""Which rows are wanted of a frozen part, and who computes them: this machine, or the nodes of a cluster."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from stages.features.frozen import frozen
from stages.features.views import Views
from thaw.engines.engine import Engine, finite
from thaw.engines.kept import Graph
from thaw.engines.openvino import OpenVinoEngine
from thaw.files.reading import sha256
from thaw.formats.row_file import Index, Origin, RowFile
from thaw.images.normalization import Normalization
from thaw.machine import processor, versions
from thaw.params.features import Features
from thaw.params.reading import read_entry
from thaw.reuse.cluster import connected
from thaw.reuse.fingerprint import fingerprint
from thaw.reuse.row_store import Plan, RowStore
from thaw.stage import announce


def planned(params: Path, entry: str, tensors: Path, backbone: Path) -> tuple[Plan, Index, Origin]:
    """Return the rows of an entry of `features`, and what their file says of them; announces them.

    Raises:
        UserError: a file cannot be read, the backbone cannot be cut there, or the cluster cannot be used.
    """
    wanted = read_entry(params, entry, Features)
    images = RowFile(tensors)
    digest, normalization = sha256(backbone), images.origin.normalization
    height, width, _ = images.row_shape
    part, engine = frozen(entry, backbone, digest, wanted, (height, width), normalization)
    name, computers, where = engine.name, [processor()], engine.device
    cluster = connected()
    if cluster:
        mine, on_gpu = kind_of(engine), cluster.gpus > 0 and (is_on_gpu(engine) or cluster.takes_any)
        graph = engine.graph if isinstance(engine, OpenVinoEngine) and not on_gpu else None
        content = None if graph else backbone.read_bytes()
        kinds = cluster.use(
            partial(extractor, entry, graph, content, digest, wanted, (height, width), normalization), mine, on_gpu
        )
        where = str(cluster)
        if kinds != [mine]:  # other bits, which the file says, and which are not stored as this machine's
            name, computers = " and ".join(kinds), kinds
    origin = Origin(
        tensors=images.origin.tensors,
        tensors_digest=images.digest,
        features=wanted.model_dump(),
        backbone=part.backbone,
        backbone_digest=digest,
        boundary=part.boundary,
        engine=name,
    )
    computed = [digest, part.boundary, wanted.pooling, normalization.to_json(), images.row_shape]
    packages = ["keras", "tensorflow", "jax", *(["keras-hub"] if part.backbone["architecture"] == "hub" else [])]
    computes = [name, wanted.batch_size, versions(*packages), *computers]
    store = RowStore(fingerprint("stages.features", computed, computes), tuple(part.row_shape), np.dtype(np.float32))
    views = Views(images, wanted)
    announce(
        f"{entry}: {len(images)} images through {part.network} up to {part.boundary}, with {name} ({where}); "
        f"{store.count(views.keys)} of {len(views.keys)} rows were computed before"
    )

    def compute(missing: np.ndarray) -> Iterator[np.ndarray]:
        batches = views.batches(missing)
        batch_bytes = wanted.batch_size * height * width * 3 * (4 if wanted.views > 1 else 1)
        return finite(cluster.stream(batches, batch_bytes) if cluster else engine.stream(batches), backbone)

    return Plan(views.keys, store, compute), images.index.with_views("train", wanted.views), origin


def extractor(
    entry: str,
    graph: Graph | None,
    backbone: bytes | None,
    digest: str,
    wanted: Features,
    pixels: tuple[int, int],
    normalization: Normalization,
) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
    """Return what a node of a cluster does with a batch of images, on one core or one GPU; see `frozen`.

    Args:
        graph: the network as OpenVINO has it, if that computes; else None.
        backbone: the content of its file, where there is no graph.
    """
    if graph:
        engine: Engine = OpenVinoEngine(graph, wanted.precision, cores=1)
        return kind_of(engine), engine
    assert backbone is not None
    with TemporaryDirectory() as folder:
        path = Path(folder, "backbone.keras")
        path.write_bytes(backbone)
        engine = frozen(entry, path, digest, wanted, pixels, normalization)[1]
    return kind_of(engine), engine


def kind_of(engine: Engine) -> str:
    """Return what decides on an engine's bits: on the CPU, the processor too."""
    return engine.name if is_on_gpu(engine) else f"{engine.name} on {processor()}"


def is_on_gpu(engine: Engine) -> bool:
    """Say whether an engine computes on a GPU."""
    if isinstance(engine, OpenVinoEngine):
        return False
    from thaw.networks.backend import has_gpu  # Keras is loaded

    return has_gpu()
